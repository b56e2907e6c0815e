// SPDX-License-Identifier: Apache-2.0
// Locks vmm in: a mount tree that holds what it serves and nothing else, no capability over the host, no new
// privileges.
//
// What is left after enter_jail():
//   * A mount namespace whose root is a read-only tmpfs with "/fs/N" for each share. Binds are made from descriptors of
//     the host's tree, nosuid, nodev, noexec and nosymfollow; "readonly" is a property of the mount, so no guest can
//     get round it.
//   * Network, IPC, host name and cgroup namespaces of its own, with nothing in them, and an empty session keyring. The
//     pid namespace is given by whoever starts vmm (runtime/vm/process.cc), because only a child can be in a new one.
//   * A user namespace that maps the ids of the configuration, or every existing one, to themselves. With ids of the
//     configuration vmm is one of their users, not whoever started it. In the namespace vmm keeps the few capabilities
//     that a file server needs to give files their owners; over the host it has none. The mount namespace belongs to
//     the user namespace above, and no further user namespace can be made, so nothing in the jail can mount or unmount.
//   * If the configuration says so, a process beside vmm that makes device nodes for it (vmm/jail/node_maker.h).
//   * No /proc. Files are re-opened through a mount of nothing but vmm's own descriptors.
//   * The supplementary groups of a user without privilege who starts vmm.
//   * The AppArmor profile and the SELinux label of the configuration, if there are any.
//   * No core files: they would hold the guest's memory.
// Each thread then locks itself in with a filter of system calls (vmm/jail/filters.h).
#pragma once

#include "base/result.h"
#include "vmm/api/config.h"
#include "vmm/host/host_files.h"
#include "vmm/jail/filters.h"

namespace nacre::vmm {

// Enters the jail and fills files.fs_roots, files.proc_self_fd and files.node_maker. The maker of nodes calls `lock`.
// Single-threaded callers only. A user without privilege has one id in the jail.
Result<void> enter_jail(const Config& config, HostFiles& files, const ThreadLock& lock);

}  // namespace nacre::vmm
