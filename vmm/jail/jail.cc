// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/jail.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/confinement.h"
#include "base/user_namespace.h"
#include "vmm/jail/mount_tree.h"
#include "vmm/jail/node_maker.h"
#include "vmm/jail/privileges.h"

namespace nacre::vmm {

namespace {

// Leaves the host's network, which has abstract sockets and services on the loopback address, its System V IPC, its
// host name, its cgroups' names, and the keys of the session.
Result<void> leave_host_namespaces(const Fd& host_proc, const Jail& jail) {
  if (::unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0) return fail_errno("unshare");
  if (!jail.selinux_label.empty()) TRY(label_new_keyrings(host_proc, jail.selinux_label));
  // A kernel without keys has none to take.
  if (::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0 && errno != ENOSYS) {
    return fail_errno("session keyring");
  }
  if (!jail.selinux_label.empty()) TRY(label_new_keyrings(host_proc, ""));
  return {};
}

}  // namespace

Result<void> enter_jail(const Config& config, HostFiles& files, const ThreadLock& lock) {
  if (is_unprivileged()) TRY_CONTEXT(enter_own_user_namespace(), "jail");
  // Only the host's root may create device nodes.
  ThreadStart node_maker_start;
  if (config.jail.device_nodes && is_host_root()) node_maker_start = [&lock] { return lock(ThreadKind::node_maker); };
  // Mounts first, with the host's privilege, so that the jail's own namespace has no power over them.
  Fd host_proc = TRY_CONTEXT(open_file("/proc", O_PATH | O_DIRECTORY), "jail");
  TRY_CONTEXT(leave_host_namespaces(host_proc, config.jail), "jail");
  MountTree tree = TRY_CONTEXT(enter_mount_tree(config), "jail");
  Fd node_maker = TRY_CONTEXT(drop_privileges(host_proc, config.jail, node_maker_start), "jail");
  if (node_maker) files.node_maker = std::make_unique<NodeMakerClient>(std::move(node_maker));
  files.fs_roots = std::move(tree.fs_roots);
  files.proc_self_fd = std::move(tree.proc_self_fd);
  // A directory of /proc gets the new SELinux label of its process when it is looked up. Nobody looks up the root of a
  // mount.
  if (!config.jail.selinux_label.empty()) TRY_CONTEXT(open_at(host_proc.get(), "self/fd", O_PATH), "jail");
  return {};
}

}  // namespace nacre::vmm
