// SPDX-License-Identifier: Apache-2.0
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <climits>

#include "guest-init/child/child.h"

namespace nacre::guest {

namespace {

// Returns the capabilities that this kernel knows: it refuses to be asked for others.
uint64_t known_capabilities() {
  uint64_t known = 0;
  for (unsigned long number = 0; number < 64 && ::prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++) {
    known |= 1ull << number;
  }
  return known;
}

Result<void> drop_bounding_set(uint64_t kept, uint64_t known) {
  for (unsigned long number = 0; number < 64; number++) {
    if (!(known >> number & 1) || (kept >> number & 1)) continue;
    if (::prctl(PR_CAPBSET_DROP, number, 0, 0, 0) < 0) return fail_errno("drop capability " + std::to_string(number));
  }
  return {};
}

Result<void> set_capabilities(const Capabilities& wanted, uint64_t known) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  for (unsigned half = 0; half < 2; half++) {
    data[half].effective = static_cast<uint32_t>((wanted.effective & known) >> (32 * half));
    data[half].permitted = static_cast<uint32_t>((wanted.permitted & known) >> (32 * half));
    data[half].inheritable = static_cast<uint32_t>((wanted.inheritable & known) >> (32 * half));
  }
  if (::syscall(SYS_capset, &header, data.data()) < 0) return fail_errno("set capabilities");
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return fail_errno("clear ambient capabilities");
  // The kernel raises only what is permitted and inheritable. Asking for more has no effect, as under runc, whose own
  // template asks for ambient capabilities without inheritable ones.
  uint64_t ambient = wanted.ambient & wanted.permitted & wanted.inheritable & known;
  for (unsigned long number = 0; number < 64; number++) {
    if (!(ambient >> number & 1)) continue;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0) {
      return fail_errno("raise ambient capability " + std::to_string(number));
    }
  }
  return {};
}

Result<void> set_ids(const ProcessSpec& process) {
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return fail_errno("keep capabilities");
  if (::setgroups(process.groups.size(), process.groups.data()) < 0) return fail_errno("setgroups");
  if (::setresgid(process.gid, process.gid, process.gid) < 0) return fail_errno("setgid");
  if (::setresuid(process.uid, process.uid, process.uid) < 0) return fail_errno("setuid");
  if (::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) return fail_errno("drop kept capabilities");
  return {};
}

// Checks that the working directory is in the container's root: one outside would be a way out.
Result<void> check_directory() {
  std::array<char, PATH_MAX> path;
  long length = ::syscall(SYS_getcwd, path.data(), path.size());
  // A seccomp filter may refuse the call. Even then no descriptor that leads out of the root is open (close_others).
  if (length < 0) return errno == EPERM || errno == ENOSYS ? Result<void>{} : fail_errno("getcwd");
  if (path[0] != '/') return fail("current directory is outside of the container's root", EPERM);
  return {};
}

}  // namespace

Result<void> become_user(const ProcessSpec& process) {
  uint64_t known = known_capabilities();
  TRY(drop_bounding_set(process.capabilities.bounding, known));
  // Tries with root's rights first and the user's own second: a directory may be open to only one of them.
  bool changed = ::chdir(process.cwd.c_str()) == 0;
  TRY(set_ids(process));
  if (!changed && ::chdir(process.cwd.c_str()) < 0)
    return fail_errno("chdir to cwd (\"" + process.cwd + "\") set in config.json failed");
  TRY(check_directory());
  ::umask(process.umask);
  TRY(set_capabilities(process.capabilities, known));
  if (process.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
    return fail_errno("set no_new_privs");
  }
  return {};
}

}  // namespace nacre::guest
