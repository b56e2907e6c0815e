// SPDX-License-Identifier: Apache-2.0
// Makes the kernel count a kill in a cgroup without touching the limits of that cgroup.
//
// The kernel counts an out-of-memory kill in the cgroup of the victim's memory, not in the cgroup that ran out. The
// memory belongs to the task for which it was made (mm->owner). So two processes share memory. The holder is a fork of
// this process in the container's cgroup. The victim moves to a cgroup of its own beside that one, with memory.max 0.
// There the victim asks the kernel for a page that is charged to the asking task (a pipe's buffer). The victim's cgroup
// is out of memory at once. The victim is the only process there that can be killed, and both processes die. The VM is
// never in the victim's cgroup, so the kernel cannot choose the VM.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/fd.h"
#include "runtime/host/cgroup/oom_kill.h"
#include "runtime/host/cgroup/tree.h"

namespace nacre::runtime {

namespace {

constexpr size_t kStack = 64 << 10;

// Makes a cgroup, and removes it at the end of the scope.
class Scratch {
 public:
  static Result<Scratch> create(int parent, const std::string& name) {
    if (::mkdirat(parent, name.c_str(), 0755) < 0) return fail_errno("mkdir " + name);
    return Scratch(parent, name);
  }
  Scratch(Scratch&& other) noexcept : parent_(other.parent_), name_(std::exchange(other.name_, "")) {}
  ~Scratch() {
    if (name_.empty()) return;
    remove_patiently([this] { return ::unlinkat(parent_, name_.c_str(), AT_REMOVEDIR) == 0; });
  }

 private:
  Scratch(int parent, std::string name) : parent_(parent), name_(std::move(name)) {}
  int parent_;
  std::string name_;
};

struct Victim {
  int cgroup_procs;
  int pipe;
};

// Runs on the holder's memory, so it must not allocate, and may call async-signal-safe functions only.
int run_victim(void* argument) {
  const auto& victim = *static_cast<const Victim*>(argument);
  [[maybe_unused]] ssize_t moved = ::write(victim.cgroup_procs, "0", 1);
  [[maybe_unused]] ssize_t n = ::write(victim.pipe, "x", 1);
  ::_exit(1);  // still alive: not in the cgroup, or this kernel does not charge such pages
}

[[noreturn]] void run_holder(int cgroup_procs, const Pipe& pipe) {
  ::setpgid(0, 0);
  become_victim();
  static std::array<std::byte, kStack> stack;
  Victim victim{.cgroup_procs = cgroup_procs, .pipe = pipe.write.get()};
  // CLONE_PARENT: its parent is the stand-in, which reaps it.
  if (::clone(run_victim, stack.data() + stack.size(), CLONE_VM | CLONE_PARENT | SIGCHLD, &victim) >= 0) {
    pollfd survived{pipe.read.get(), POLLIN, 0};
    ::poll(&survived, 1, kOomPatienceMs);
  }
  ::_exit(1);
}

// The kernel never kills a process whose oom_score_adj is -1000. This process may have inherited that from an engine,
// and its children would inherit it from this process. With -999 it is the last to be killed.
void allow_kills() {
  constexpr const char* kScore = "/proc/self/oom_score_adj";
  auto score = read_file(kScore);
  if (score && score->starts_with("-1000")) (void)write_at(AT_FDCWD, kScore, "-999");
}

// Returns true if both processes were killed for want of memory, as far as can be seen.
bool reap_both(pid_t group) {
  bool killed = false;
  for (;;) {
    int status = 0;
    pid_t pid = ::waitpid(-group, &status, __WALL);
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) return killed;
    if (pid != group) killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
}

class OomKillV2 : public OomKill {
 public:
  explicit OomKillV2(const std::string& cgroup)
      : cgroup_(open_directory(cgroup)),
        parent_(open_directory(cgroup.substr(0, cgroup.rfind('/')))),
        panic_on_oom_(open_panic_on_oom()) {
    allow_kills();
  }

  Result<void> show_one() const override {
    if (!cgroup_ || ::faccessat(cgroup_.get(), "memory.events", F_OK, 0) < 0) {
      return fail("the host's cgroup has no memory controller", ENOENT);
    }
    TRY(check_no_panic(panic_on_oom_));
    std::string name = "nacre-oom-" + std::to_string(::getpid());
    auto scratch = TRY(Scratch::create(parent_.get(), name));
    TRY(write_at(parent_.get(), name + "/memory.max", "0"));
    Fd procs = TRY(open_at(parent_.get(), name + "/cgroup.procs", O_WRONLY));
    Pipe pipe = TRY(make_pipe());
    pid_t holder = ::fork();
    if (holder < 0) return fail_errno("fork");
    if (holder == 0) run_holder(procs.get(), pipe);
    ::setpgid(holder, holder);
    if (!reap_both(holder)) return fail("the host's kernel killed nothing", EAGAIN);
    return {};
  }

 private:
  Fd cgroup_, parent_, panic_on_oom_;
};

}  // namespace

std::unique_ptr<OomKill> oom_kill_v2(const std::string& cgroup) {
  return std::make_unique<OomKillV2>(cgroup);
}

}  // namespace nacre::runtime
