// Gives up every privilege over the host.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace nacre::vmm {

// Enters a new user namespace that maps all ids that there are to themselves and keeps only the file server's
// capabilities there; sets no_new_privs. The maps are written by a child outside, with privilege over the ids;
// `host_proc` is a directory descriptor of the host's /proc. With `device_nodes` this child stays to make such nodes
// (vmm/jail/node_maker.h), and the socket to it is returned; else nothing is. Single-threaded callers only.
Result<Fd> drop_privileges(const Fd& host_proc, bool device_nodes);

// Gives up what drop_privileges() kept, for the calling thread: threads that serve no files have no use for it.
void drop_thread_capabilities();

}  // namespace nacre::vmm
