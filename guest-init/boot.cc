// SPDX-License-Identifier: Apache-2.0
#include "guest-init/boot.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/fd.h"
#include "base/log.h"
#include "guest-init/kernel/loopback.h"
#include "guest-init/protocol/protocol.h"

namespace nacre::guest {

namespace {

struct MountEntry {
  const char *type, *target, *options;
  unsigned long flags;
};

constexpr unsigned long kSafe = MS_NOSUID | MS_NODEV | MS_NOEXEC;

constexpr MountEntry kMounts[] = {
    {"proc", "/proc", nullptr, kSafe},
    {"sysfs", "/sys", nullptr, kSafe},
    // Its nodes are bound in containers with a user namespace, which keep these flags as under runc.
    {"devtmpfs", "/dev", "mode=755", MS_NOSUID | MS_NOEXEC},
    {"devpts", "/dev/pts", "mode=620,ptmxmode=666,gid=5", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
    {"tmpfs", "/run", "mode=755", MS_NOSUID | MS_NODEV},
    {"cgroup2", "/sys/fs/cgroup", nullptr, kSafe},
};

constexpr rlim_t kOpenFiles = 1 << 20;
constexpr std::string_view kMostOpenFiles = "1073741816";  // systemd's value: a caller's own limit may be as high
constexpr const char* kHostname = "nacre";
constexpr int kDeathPolls = 100;
constexpr useconds_t kDeathPollMicroseconds = 10'000;

// Makes the initramfs read-only. A process that is about to run a container's program is still this program, so the
// container can reach its file as /proc/PID/exe.
Result<void> make_initramfs_readonly() {
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_RDONLY, nullptr) < 0) return fail_errno("make / read-only");
  return {};
}

// Mounts a second view of the initramfs on top of it. The initramfs itself is the root of all mounts, which nobody can
// pivot away from (pivot_root(2), "rootfs").
Result<void> make_pivotable_root() {
  constexpr const char* kView = "/root";
  if (::mount("/", kView, nullptr, MS_BIND, nullptr) < 0) return fail_errno("bind /");
  if (::chdir(kView) < 0) return fail_errno("chdir to the bound /");
  if (::mount(".", "/", nullptr, MS_MOVE, nullptr) < 0) return fail_errno("move the bound / to /");
  if (::chroot(".") < 0) return fail_errno("chroot");
  return {};
}

Result<void> enable_controllers() {
  std::string names = TRY(read_file("/sys/fs/cgroup/cgroup.controllers"));
  std::string words;
  for (size_t at = 0; at < names.size();) {
    size_t end = std::min(names.find_first_of(" \n", at), names.size());
    if (end > at) words += "+" + names.substr(at, end - at) + " ";
    at = end + 1;
  }
  Fd control = TRY(open_file("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY));
  return write_all(control.get(), words);
}

// Lets processes reserve memory as on a large host. The machine is about as large as its container's limit, and by its
// heuristic the kernel would refuse what the container merely reserves beyond that. The cgroup enforces the limit.
Result<void> allow_overcommit() {
  Fd file = TRY(open_file("/proc/sys/vm/overcommit_memory", O_WRONLY));
  return write_all(file.get(), "1");
}

// Reports the failure of a step that containers can do without; the machine goes on.
void try_step(const char* what, const Result<void>& result) {
  if (!result) log_warn(std::string(what) + ": " + result.error().message());
}

}  // namespace

void set_up_console() {
  // Without a console the kernel starts us with no descriptors at all; 0 to 2 must not become something else.
  bool console = ::fcntl(STDERR_FILENO, F_GETFD) >= 0;
  int null;
  do {
    null = ::open("/dev/null", O_RDWR);
    // No /dev/null before devtmpfs is there: any descriptor serves to fill the places.
    if (null < 0) null = ::open("/", O_PATH);
  } while (null >= 0 && null < 3);
  if (null > 2) ::close(null);
  set_log_sink([console](LogLevel level, std::string_view line) {
    if (level < LogLevel::info) return;
    std::string text = "guest-init: " + std::string(line) + "\n";
    Fd log(console ? ::dup(STDERR_FILENO) : ::open("/dev/kmsg", O_WRONLY | O_CLOEXEC));
    [[maybe_unused]] ssize_t n = ::write(log.get(), text.data(), text.size());
  });
}

Result<void> set_up_machine() {
  TRY(make_initramfs_readonly());
  TRY(make_pivotable_root());
  for (const auto& entry : kMounts) {
    ::mkdir(entry.target, 0755);  // in one of the mounts before it; the initramfs has its own
    if (::mount(entry.type, entry.target, entry.type, entry.flags, entry.options) < 0) {
      return fail_errno(std::string("mount ") + entry.type + " on " + entry.target);
    }
  }
  // An init on a host does the same.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) < 0) return fail_errno("make / shared");
  try_step("fs.nr_open", [] -> Result<void> {
    Fd file = TRY(open_file("/proc/sys/fs/nr_open", O_WRONLY));
    return write_all(file.get(), kMostOpenFiles);
  }());
  rlimit files{kOpenFiles, kOpenFiles};
  ::setrlimit(RLIMIT_NOFILE, &files);
  ::sethostname(kHostname, std::strlen(kHostname));
  try_step("cgroup controllers", enable_controllers());
  try_step("overcommit", allow_overcommit());
  try_step("loopback", raise_loopback());
  return {};
}

Result<void> mount_share() {
  ::mkdir("/run/nacre", 0755);
  ::mkdir(protocol::kShareMountPoint, 0755);
  if (::mount(protocol::kShareTag, protocol::kShareMountPoint, "virtiofs", 0, nullptr) < 0) {
    return fail_errno(std::string("no virtio-fs device with the tag \"") + protocol::kShareTag + "\"");
  }
  return {};
}

void power_off() {
  ::kill(-1, SIGKILL);
  // Processes get time to die, so that their writes are complete; but one that cannot die does not keep the machine up.
  for (int i = 0; i < kDeathPolls; i++) {
    pid_t pid;
    while ((pid = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (pid < 0) break;
    ::usleep(kDeathPollMicroseconds);
  }
  ::sync();
  ::reboot(RB_POWER_OFF);
  for (;;) ::pause();
}

}  // namespace nacre::guest
