// SPDX-License-Identifier: Apache-2.0
// Closes what this program has inherited from its caller. A process that outlives the command must not hold these
// descriptors, because the caller waits for the end of its pipes.
#pragma once

namespace nacre::runtime {

// Notes the descriptors above stderr that this program was started with. Called before anything else is opened.
void note_inherited_fds();
// Closes these descriptors, in the stand-in.
void close_inherited_fds();
// Keeps an inherited descriptor open. Returns false if `fd` is not one of the inherited descriptors.
bool keep_inherited_fd(int fd);

// Lets go of the caller's stdio, which vmm holds by now, and of the caller's working directory. The caller sees an end
// of file as soon as the container closes its side.
void detach_from_caller();

}  // namespace nacre::runtime
