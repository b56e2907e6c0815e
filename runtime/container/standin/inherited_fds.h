// What this program has from its caller, and what a process that outlives the command must not hold: the caller waits
// for the end of its pipes.
#pragma once

namespace nacre::runtime {

// Notes the descriptors above stderr that this program was started with. Called before anything else is opened.
void note_inherited_fds();
// Closes them, in the stand-in.
void close_inherited_fds();
// Takes a descriptor out of them, so that it stays open. Returns false if it is none of them.
bool keep_inherited_fd(int fd);

// Leaves what the caller must get back when the container closes it or ends: its stdio, which vmm holds by now, and its
// working directory.
void detach_from_caller();

}  // namespace nacre::runtime
