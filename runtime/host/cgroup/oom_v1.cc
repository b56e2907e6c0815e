// SPDX-License-Identifier: Apache-2.0
// Shows a kill to engines that have an eventfd on memory.oom_control.
//
// The kernel signals the eventfds of the cgroup that runs out of memory and of the cgroups below, not of those above.
// It counts the kill in the victim's cgroup alone. So the container's own cgroup has to run out, for a moment and
// without danger for the VM. vmm is stopped, and the limit is lowered to a little above the usage. Then a victim takes
// memory until the kernel kills it. The kernel chooses the victim, because its oom_score_adj of 1000 outweighs all
// memory that a cgroup can hold. The cgroup loses its page cache first, as any container does that runs out of memory.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/fd.h"
#include "base/subprocess.h"
#include "runtime/host/cgroup/oom_kill.h"
#include "runtime/host/cgroup/v1.h"
#include "runtime/host/cgroup/v1_files.h"

namespace nacre::runtime {

namespace {

// Bytes left to the other processes of the cgroup meanwhile: the stand-ins.
constexpr uint64_t kRoom = 8 << 20;
constexpr int kStopAttempts = 1'000;
constexpr useconds_t kStopPauseUs = 1'000;
constexpr size_t kPage = 4096;

Result<std::string> read_at(int directory, const std::string& name) {
  Fd file = TRY(open_at(directory, name, O_RDONLY));
  return TRY(read_fd(file.get()));
}

// Sets a value in a kernel file until the end of the scope. If somebody else has changed the value by then, the change
// stays.
class Setting {
 public:
  static Result<Setting> change(int directory, const std::string& name, const std::string& value) {
    std::string before = TRY(read_at(directory, name));
    TRY(write_at(directory, name, value));
    Setting setting(directory, name, before);
    setting.now_ = TRY(read_at(directory, name));
    return setting;
  }
  Setting(Setting&& other) noexcept
      : directory_(std::exchange(other.directory_, -1)),
        name_(std::move(other.name_)),
        before_(std::move(other.before_)),
        now_(std::move(other.now_)) {}
  ~Setting() {
    if (directory_ < 0) return;
    auto now = read_at(directory_, name_);
    if (!now || now_.empty() || *now == now_) (void)write_at(directory_, name_, before_);
  }

 private:
  Setting(int directory, std::string name, std::string before)
      : directory_(directory), name_(std::move(name)), before_(std::move(before)) {}
  int directory_;
  std::string name_, before_, now_;
};

// Stops a child of this process (SIGSTOP) until the end of the scope.
class Stopped {
 public:
  static Result<Stopped> stop(int pidfd) {
    TRY(signal_pidfd(pidfd, SIGSTOP));
    Stopped stopped(pidfd);
    for (int i = 0; i < kStopAttempts; i++) {
      siginfo_t info{};
      if (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WSTOPPED | WEXITED | WNOWAIT | WNOHANG) < 0) {
        return fail_errno("waitid");
      }
      if (info.si_pid != 0 && info.si_code == CLD_STOPPED) return stopped;
      if (info.si_pid != 0) return fail("vmm has ended", ESRCH);
      ::usleep(kStopPauseUs);
    }
    return fail("vmm does not stop", ETIMEDOUT);
  }
  Stopped(Stopped&& other) noexcept : pidfd_(std::exchange(other.pidfd_, -1)) {}
  ~Stopped() {
    if (pidfd_ >= 0) (void)signal_pidfd(pidfd_, SIGCONT);
  }

 private:
  explicit Stopped(int pidfd) : pidfd_(pidfd) {}
  int pidfd_;
};

// Takes memory until it is killed. It cannot get more than the limit.
[[noreturn]] void run_victim(int proc, uint64_t limit) {
  become_victim();
  if (!write_at(proc, "self/oom_score_adj", "1000")) ::_exit(1);
  ::signal(SIGALRM, SIG_DFL);
  sigset_t none;  // the stand-in has all signals blocked
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::alarm(kOomPatienceMs / 1000);
  size_t size = limit + kRoom;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) ::_exit(1);
  ::madvise(memory, size, MADV_NOHUGEPAGE);
  for (size_t at = 0; at < size; at += kPage) static_cast<volatile char*>(memory)[at] = 1;
  ::_exit(1);
}

class OomKillV1 : public OomKill {
 public:
  OomKillV1(const std::string& directory, pid_t vmm)
      : memory_(open_directory(directory)),
        proc_(open_directory("/proc")),
        panic_on_oom_(open_panic_on_oom()),
        vmm_(vmm),
        pidfd_(vmm > 0 ? open_pidfd(vmm).value_or(Fd()) : Fd()) {}

  Result<void> show_one() const override {
    if (!memory_) return fail("the host's cgroup has no memory controller", ENOENT);
    TRY(check_no_panic(panic_on_oom_));
    if (TRY(read_at(memory_.get(), "memory.oom_control")).starts_with("oom_kill_disable 1")) {
      return fail("the host's kernel is to kill nothing", EPERM);
    }
    // Otherwise the kernel could swap vmm out, or kill vmm.
    std::optional<Stopped> stopped;
    std::optional<Setting> score;
    if (vmm_ > 0) {
      stopped.emplace(TRY(Stopped::stop(pidfd_.get())));
      score.emplace(TRY(Setting::change(proc_.get(), std::to_string(vmm_) + "/oom_score_adj", TRY(vmm_score()))));
    }
    auto swappiness = TRY(Setting::change(memory_.get(), "memory.swappiness", "0"));
    uint64_t limit = std::min(TRY(bytes("memory.usage_in_bytes")) + kRoom, TRY(bytes(kMemoryLimit)));
    auto lowered = TRY(Setting::change(memory_.get(), kMemoryLimit, std::to_string(limit)));
    return kill_one(limit);
  }

 private:
  Result<uint64_t> bytes(const char* name) const {
    return std::strtoull(TRY(read_at(memory_.get(), name)).c_str(), nullptr, 10);
  }

  Result<std::string> vmm_score() const {
    long score = std::strtol(TRY(read_at(proc_.get(), std::to_string(vmm_) + "/oom_score_adj")).c_str(), nullptr, 10);
    return std::to_string(std::min(score, 0l));
  }

  Result<void> kill_one(uint64_t limit) const {
    pid_t victim = ::fork();
    if (victim < 0) return fail_errno("fork");
    if (victim == 0) run_victim(proc_.get(), limit);
    int status = 0;
    while (::waitpid(victim, &status, 0) < 0) {
      if (errno != EINTR) return fail_errno("waitpid");
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) return fail("the host's kernel killed nothing", EAGAIN);
    return {};
  }

  Fd memory_, proc_, panic_on_oom_;
  pid_t vmm_;
  Fd pidfd_;  // of vmm
};

}  // namespace

std::unique_ptr<OomKill> oom_kill_v1(const std::string& cgroup, pid_t vmm) {
  return std::make_unique<OomKillV1>(directories_of(cgroup)["memory"], vmm);
}

}  // namespace nacre::runtime
