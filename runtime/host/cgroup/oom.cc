// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/oom.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mount.h"
#include "runtime/host/cgroup/oom_kill.h"
#include "runtime/host/cgroup/version.h"

namespace nacre::runtime {

namespace {

constexpr std::chrono::milliseconds kPause{100};
// After this many kills there are long pauses.
constexpr unsigned kMany = 100;
constexpr std::chrono::minutes kLongPause{1};

}  // namespace

Result<void> write_at(int directory, const std::string& name, std::string_view text) {
  Fd file = TRY(open_at(directory, name, O_WRONLY));
  return write_all(file.get(), text);
}

Fd open_directory(const std::string& path) {
  auto directory = clone_tree(AT_FDCWD, path, false);
  if (!directory) directory = open_file(path, O_PATH | O_DIRECTORY);
  return directory ? std::move(*directory) : Fd();
}

Fd open_panic_on_oom() {
  auto file = open_file("/proc/sys/vm/panic_on_oom", O_RDONLY);
  return file ? std::move(*file) : Fd();
}

Result<void> check_no_panic(const Fd& panic_on_oom) {
  char mode = '0';
  if (::pread(panic_on_oom.get(), &mode, 1, 0) == 1 && mode == '2') return fail("vm.panic_on_oom is 2", EPERM);
  return {};
}

void become_victim() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "oom-in-guest", 0, 0, 0);
}

void OomPace::count(Time now) {
  if (count_ < kMany) count_++;
  next_ = now + (count_ < kMany ? kPause : kLongPause);
}

OomSign::OomSign(const std::string& cgroup, pid_t vmm) {
  if (!cgroup.empty()) kill_ = version_of(cgroup).oom_kill(cgroup, vmm);
}

void OomSign::show() {
  if (kill_ == nullptr || !pace_.is_due(std::chrono::steady_clock::now())) return;
  if (auto shown = kill_->show_one(); !shown) {
    log_debug("an out-of-memory kill in the guest is not seen on the host: " + shown.error().message());
  }
  pace_.count(std::chrono::steady_clock::now());
}

}  // namespace nacre::runtime
