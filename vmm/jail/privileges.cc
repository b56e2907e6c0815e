// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/privileges.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/capabilities.h"
#include "base/confinement.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/user_namespace.h"
#include "vmm/jail/node_maker.h"

namespace nacre::vmm {

namespace {

// A file server needs these to act for any user of the guest, within the jail's user namespace.
constexpr std::array kKept = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETGID, CAP_SETUID, CAP_SETFCAP};

Result<void> write_proc(const Fd& directory, const char* file, std::string_view content) {
  Fd fd = TRY(open_at(directory.get(), file, O_WRONLY));
  TRY_CONTEXT(write_all(fd.get(), content), file);
  return {};
}

// Returns lines for a uid_map or gid_map.
std::string map_lines(const std::vector<IdRange>& ranges) {
  std::ostringstream lines;
  for (const IdRange& range : ranges) lines << range.first << " " << range.first << " " << range.count << "\n";
  return lines.str();
}

// `process` is a directory of /proc.
Result<void> write_id_maps(const Fd& host_proc, const Fd& process, const Jail& jail) {
  IdMaps maps;
  if (jail.uids.empty()) {
    maps = TRY(identity_maps(host_proc));
  } else {
    maps = {.uids = map_lines(jail.uids), .gids = map_lines(jail.gids)};
  }
  TRY(write_proc(process, "uid_map", maps.uids));
  return write_proc(process, "gid_map", maps.gids);
}

Confinement confinement_of(const Jail& jail) {
  return {.apparmor_profile = jail.apparmor_profile, .selinux_label = jail.selinux_label};
}

// vmm says this when it is in its namespace, and the helper when the namespace has its ids. Any other answer of the
// helper is the text of an error.
constexpr std::string_view kReady = "ready";

// Closes the machine's descriptors. Whoever waits until vmm has closed one would otherwise wait for the helper, too.
void close_all_but(const Fd& kept) {
  auto number = static_cast<unsigned>(kept.get());
  if (number > 0) ::close_range(0, number - 1, 0);
  ::close_range(number + 1, UINT_MAX, 0);
}

[[noreturn]] void run_helper(const Fd& host_proc, const Fd& vmm, const Fd& socket, const Jail& jail,
                             const ThreadStart& node_maker_start) {
  // Ignore signals that are sent to the whole service: when vmm exits, the socket closes and this helper follows.
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  std::array<std::byte, kReady.size()> word;
  if (!read_all(socket.get(), word)) ::_exit(EXIT_FAILURE);
  Result<void> done = write_id_maps(host_proc, vmm, jail);
  if (done && node_maker_start) done = confine(host_proc, confinement_of(jail));
  if (!write_all(socket.get(), done ? kReady : done.error().message())) ::_exit(EXIT_FAILURE);
  if (!done || !node_maker_start) ::_exit(EXIT_SUCCESS);
  close_all_but(socket);
  ::prctl(PR_SET_NAME, "vmm-nodes", 0, 0, 0);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  Result<Fd> root = open_file("/", O_PATH | O_DIRECTORY);
  if (root) (void)serve_node_requests(socket, *root, node_maker_start);
  ::_exit(EXIT_SUCCESS);
}

Result<void> enter_user_namespace(const Fd& helper) {
  if (::unshare(CLONE_NEWUSER) < 0) return fail_errno("unshare the user namespace");
  TRY(write_all(helper.get(), kReady));
  std::array<char, 1024> answer;
  ssize_t size = ::read(helper.get(), answer.data(), answer.size());
  if (size <= 0) return fail("the helper that writes the id maps has ended");
  std::string_view text(answer.data(), static_cast<size_t>(size));
  if (text != kReady) return fail(std::string(text));
  return {};
}

// In a user namespace of its own making, vmm would have every capability again, though not over the host. A host may
// have a read-only /proc/sys.
void forbid_user_namespaces(const Fd& host_proc) {
  auto limited = write_proc(host_proc, "sys/user/max_user_namespaces", "0");
  if (!limited) log_debug("jail: " + limited.error().message());
}

// Becomes a user that the jail has. Whoever started vmm may be none, and his rights to files would stay.
Result<void> take_own_ids(const Jail& jail) {
  if (jail.uids.empty()) return {};
  uid_t uid = jail.uids.front().first;
  gid_t gid = jail.gids.front().first;
  // A user without privilege cannot leave his groups (setgroups(2)).
  if (!jail.keep_groups && ::setgroups(0, nullptr) < 0 && errno != EPERM) return fail_errno("setgroups");
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return fail_errno("PR_SET_KEEPCAPS");
  if (::setresgid(gid, gid, gid) < 0) return fail_errno("setresgid");
  if (::setresuid(uid, uid, uid) < 0) return fail_errno("setresuid");
  // The files of vmm in /proc, which confine() writes to, belong to vmm's user only as long as it may be dumped.
  if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) return fail_errno("PR_SET_DUMPABLE");
  return {};
}

// A core file of vmm would hold the guest's memory.
Result<void> forbid_core_files() {
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  if (::setrlimit(RLIMIT_CORE, &none) < 0) return fail_errno("setrlimit");
  // A program that takes core files through a pipe gets them whatever the limit is.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return fail_errno("PR_SET_DUMPABLE");
  return {};
}

Result<void> keep_capabilities() {
  uint64_t kept = 0;
  for (int capability : kKept) kept |= capability_bit(capability);
  for (int capability = 0; capability <= CAP_LAST_CAP; capability++) {
    if ((kept & capability_bit(capability)) == 0) ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  // The file server's thread sets a securebit, which takes CAP_SETPCAP.
  kept |= capability_bit(CAP_SETPCAP);
  return set_capabilities(kept);
}

}  // namespace

Result<Fd> drop_privileges(const Fd& host_proc, const Jail& jail, const ThreadStart& node_maker_start) {
  auto [ours, theirs] = TRY(make_socketpair(SOCK_SEQPACKET));
  Fd vmm = TRY(open_at(host_proc.get(), "self", O_PATH | O_DIRECTORY));
  pid_t helper = ::fork();
  if (helper < 0) return fail_errno("fork");
  if (helper == 0) {
    ours.reset();
    run_helper(host_proc, vmm, theirs, jail, node_maker_start);
  }
  theirs.reset();
  Result<void> entered = enter_user_namespace(ours);
  if (!entered || !node_maker_start) {
    ours.reset();
    ::waitpid(helper, nullptr, 0);
  }
  TRY(std::move(entered));
  vmm.reset();
  forbid_user_namespaces(host_proc);
  TRY(take_own_ids(jail));
  TRY(keep_capabilities());
  // The last act that an administrator's profile may not foresee is behind. Under no_new_privs a profile could not be
  // left for another.
  TRY(confine(host_proc, confinement_of(jail)));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("no_new_privs");
  TRY(forbid_core_files());
  return std::move(ours);
}

Result<void> drop_thread_capabilities() {
  return set_capabilities(0);
}

}  // namespace nacre::vmm
