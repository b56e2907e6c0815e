// SPDX-License-Identifier: Apache-2.0
#include "base/user_namespace.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <sstream>

namespace nacre {

namespace {

Result<void> write_file(const char* path, const std::string& text) {
  Fd file = TRY(open_file(path, O_WRONLY));
  TRY_CONTEXT(write_all(file.get(), text), path);
  return {};
}

using Capabilities = std::array<__user_cap_data_struct, 2>;

Result<Capabilities> read_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  Capabilities data{};
  if (::syscall(SYS_capget, &header, data.data()) < 0) return fail_errno("capget");
  return data;
}

// Makes all capabilities ambient: execve(2) takes all others from everybody but uid 0 (capabilities(7)).
Result<void> keep_capabilities_at_execve() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  Capabilities data = TRY(read_capabilities());
  for (auto& part : data) part.inheritable = part.permitted;
  if (::syscall(SYS_capset, &header, data.data()) < 0) return fail_errno("capset");
  for (int capability = 0; capability <= CAP_LAST_CAP; capability++) {
    // EINVAL: the kernel knows fewer than its headers.
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0 && errno != EINVAL) {
      return fail_errno("raise an ambient capability");
    }
  }
  return {};
}

}  // namespace

bool is_host_root() {
  if (::geteuid() != 0) return false;
  auto map = read_file("/proc/self/uid_map");
  uint64_t inside = 0, outside = 0, count = 0;
  if (!map) return true;  // no /proc, or a kernel without user namespaces
  return std::istringstream(*map) >> inside >> outside >> count && outside == 0 && count == UINT32_MAX;
}

bool is_unprivileged() {
  auto capabilities = read_capabilities();
  return !capabilities || (capabilities->at(0).effective >> CAP_SYS_ADMIN & 1) == 0;
}

Result<void> enter_own_user_namespace() {
  std::string uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER) < 0) return fail_errno("unshare");
  TRY(write_file("/proc/self/setgroups", "deny"));
  TRY(write_file("/proc/self/uid_map", uid + " " + uid + " 1\n"));
  TRY(write_file("/proc/self/gid_map", gid + " " + gid + " 1\n"));
  return keep_capabilities_at_execve();
}

std::string to_identity(const std::string& map) {
  std::istringstream lines(map);
  std::ostringstream identity;
  for (uint64_t inside = 0, outside = 0, count = 0; lines >> inside >> outside >> count;) {
    identity << inside << " " << inside << " " << count << "\n";
  }
  return identity.str();
}

Result<IdMaps> identity_maps(const Fd& proc) {
  Fd uids = TRY(open_at(proc.get(), "self/uid_map", O_RDONLY)),
     gids = TRY(open_at(proc.get(), "self/gid_map", O_RDONLY));
  return IdMaps{.uids = to_identity(TRY(read_fd(uids.get()))), .gids = to_identity(TRY(read_fd(gids.get())))};
}

}  // namespace nacre
