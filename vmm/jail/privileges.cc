#include "vmm/jail/privileges.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "base/fd.h"
#include "base/user_namespace.h"

namespace nacre::vmm {

namespace {

// What a file server needs to act for any user of the guest, within the jail's user namespace.
constexpr std::array kKept = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETGID, CAP_SETUID, CAP_SETFCAP};

// A child in a new user namespace, there only to hold it open until we have joined it. The id maps must be written by
// somebody outside with privilege over the ids: us.
Result<pid_t> start_namespace_holder(const Pipe& hold) {
  clone_args arguments{};
  arguments.flags = CLONE_NEWUSER;
  arguments.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &arguments, sizeof(arguments));
  if (pid < 0) return fail_errno("clone a user namespace");
  if (pid == 0) {
    ::close(hold.write.get());
    char byte;
    [[maybe_unused]] ssize_t n = ::read(hold.read.get(), &byte, 1);
    ::_exit(0);
  }
  return static_cast<pid_t>(pid);
}

Result<void> write_proc(const Fd& proc, pid_t pid, const char* file, const std::string& content) {
  Fd fd = TRY(open_at(proc.get(), std::to_string(pid) + "/" + file, O_WRONLY));
  TRY_CONTEXT(write_all(fd.get(), content), file);
  return {};
}

Result<Fd> open_mapped_namespace(const Fd& proc, pid_t pid) {
  IdMaps maps = TRY(identity_maps(proc));
  TRY(write_proc(proc, pid, "uid_map", maps.uids));
  TRY(write_proc(proc, pid, "gid_map", maps.gids));
  return open_at(proc.get(), std::to_string(pid) + "/ns/user", O_RDONLY);
}

Result<void> set_capabilities(uint64_t mask) {
  std::array<__user_cap_data_struct, 2> data{};
  for (size_t i = 0; i < data.size(); i++) {
    data[i].permitted = data[i].effective = static_cast<uint32_t>(mask >> (32 * i));
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  if (::syscall(SYS_capset, &header, data.data()) < 0) return fail_errno("capset");
  return {};
}

Result<void> keep_capabilities() {
  uint64_t kept = 0;
  for (int capability : kKept) kept |= 1ull << capability;
  for (int capability = 0; capability <= CAP_LAST_CAP; capability++) {
    if ((kept >> capability & 1) == 0) ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  // The file server's thread sets a securebit, which takes CAP_SETPCAP.
  kept |= 1ull << CAP_SETPCAP;
  return set_capabilities(kept);
}

}  // namespace

Result<void> drop_privileges(const Fd& host_proc) {
  Pipe hold = TRY(make_pipe());
  pid_t holder = TRY(start_namespace_holder(hold));
  Result<Fd> name_space = open_mapped_namespace(host_proc, holder);
  Result<void> joined;
  if (name_space && ::setns(name_space->get(), CLONE_NEWUSER) < 0) joined = fail_errno("join the user namespace");
  hold.write.reset();
  ::waitpid(holder, nullptr, 0);
  TRY(std::move(name_space));
  TRY(std::move(joined));
  TRY(keep_capabilities());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("no_new_privs");
  return {};
}

void drop_thread_capabilities() {
  // Fewer capabilities are always allowed.
  [[maybe_unused]] Result<void> result = set_capabilities(0);
}

}  // namespace nacre::vmm
