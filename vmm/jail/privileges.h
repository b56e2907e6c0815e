// SPDX-License-Identifier: Apache-2.0
// Gives up every privilege over the host.
#pragma once

#include "base/fd.h"
#include "base/loop_thread.h"
#include "base/result.h"
#include "vmm/api/config.h"

namespace nacre::vmm {

// Enters a new user namespace that maps the jail's ids, or every existing one, to themselves; keeps only the file
// server's capabilities there; enters the jail's profile and label; and sets no_new_privs. Below that namespace there
// can be no other, and no core file is made of vmm. A child outside, with privilege over the ids, writes the maps;
// `host_proc` is a directory descriptor of the host's /proc. If there is a `node_maker_start`, the child stays to make
// device nodes (vmm/jail/node_maker.h), in the same confinement, and the socket to it is returned. Otherwise no
// descriptor is. Single-threaded callers only.
Result<Fd> drop_privileges(const Fd& host_proc, const Jail& jail, const ThreadStart& node_maker_start);

// Gives up the capabilities that drop_privileges() kept, for the calling thread. Threads that serve no files have no
// use for them.
Result<void> drop_thread_capabilities();

}  // namespace nacre::vmm
