// Gives up every privilege over the host.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace nacre::vmm {

// Enters a new user namespace that maps all ids that there are to themselves and keeps only the file server's
// capabilities there; sets no_new_privs. `host_proc` is a directory descriptor of the host's /proc. Single-threaded
// callers only.
Result<void> drop_privileges(const Fd& host_proc);

// Gives up what drop_privileges() kept, for the calling thread: threads that serve no files have no use for it.
void drop_thread_capabilities();

}  // namespace nacre::vmm
