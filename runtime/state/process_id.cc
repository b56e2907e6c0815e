// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/process_id.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/subprocess.h"

namespace nacre::runtime {

namespace {

struct Stat {
  char state = 0;
  pid_t parent = 0;
  int threads = 0;
  uint64_t start_time = 0;
};

// Reads a stat file of /proc (proc(5)). Field 2, the command's name, is in parentheses and may contain anything, so it
// ends at the last
// ')'.
Result<Stat> read_stat_file(const std::string& path) {
  std::string text = TRY(read_file(path, 4096));
  size_t position = text.rfind(')');
  if (position == std::string::npos || position + 2 >= text.size()) return fail(path + " is not understood");
  std::string_view rest = std::string_view(text).substr(position + 2);
  Stat stat;
  stat.state = rest[0];
  constexpr int kStateField = 3;
  constexpr int kParentField = 4;
  constexpr int kThreadsField = 20;
  constexpr int kStartTimeField = 22;
  for (int field = kStateField; field < kStartTimeField; field++) {
    size_t space = rest.find(' ');
    if (space == std::string_view::npos) return fail(path + " is not understood");
    rest.remove_prefix(space + 1);
    const char *start = rest.data(), *end = rest.data() + rest.size();
    if (field + 1 == kParentField) (void)std::from_chars(start, end, stat.parent);
    if (field + 1 == kThreadsField) (void)std::from_chars(start, end, stat.threads);
  }
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), stat.start_time);
  if (error != std::errc()) return fail(path + " is not understood");
  return stat;
}

Result<Stat> read_stat(pid_t pid) {
  return read_stat_file("/proc/" + std::to_string(pid) + "/stat");
}

// The first thread of a process may have ended before the others.
bool ended(const Stat& stat) {
  return (stat.state == 'Z' && stat.threads <= 1) || stat.state == 'X' || stat.state == 'x';
}

// Calls `visit` with the directory of each thread in /proc.
template <typename Visit>
void each_thread(pid_t pid, Visit visit) {
  std::error_code error;
  std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task", error);
  for (; !error && threads != std::filesystem::directory_iterator(); threads.increment(error)) {
    visit(threads->path().string());
  }
}

// Returns true if a thread waits in the kernel for what not even SIGKILL interrupts.
bool cannot_be_killed(pid_t pid) {
  bool found = false;
  each_thread(pid, [&](const std::string& thread) {
    auto stat = read_stat_file(thread + "/stat");
    found |= stat && stat->state == 'D';
  });
  return found;
}

}  // namespace

std::chrono::milliseconds time_without_cpu(pid_t pid) {
  std::chrono::nanoseconds longest{0};
  each_thread(pid, [&](const std::string& thread) {
    auto text = read_file(thread + "/schedstat", 4096);
    size_t space = text ? text->find(' ') : std::string::npos;
    if (space == std::string::npos) return;
    int64_t waited = 0;
    (void)std::from_chars(text->data() + space + 1, text->data() + text->size(), waited);
    longest = std::max(longest, std::chrono::nanoseconds(waited));
  });
  return std::chrono::duration_cast<std::chrono::milliseconds>(longest);
}

std::vector<pid_t> children_among(const std::vector<pid_t>& pids, pid_t parent) {
  std::vector<pid_t> children;
  for (pid_t pid : pids) {
    auto stat = read_stat(pid);
    if (stat && stat->parent == parent) children.push_back(pid);
  }
  return children;
}

Result<ProcessId> identify(pid_t pid) {
  Stat stat = TRY(read_stat(pid));
  return ProcessId{.pid = pid, .start_time = stat.start_time};
}

bool is_alive(const ProcessId& process) {
  if (process.pid <= 0) return false;
  auto stat = read_stat(process.pid);
  return stat && stat->start_time == process.start_time && !ended(*stat);
}

Result<Fd> open_process(const ProcessId& process) {
  if (process.pid <= 0) return fail("no such process", ESRCH);
  Fd pidfd = TRY(open_pidfd(process.pid));
  // The pid may have passed to another process before the descriptor was opened: check afterwards.
  if (!is_alive(process)) return fail("no such process", ESRCH);
  return pidfd;
}

Result<void> kill_and_wait(const ProcessId& process, int timeout_ms) {
  auto pidfd = open_process(process);
  if (!pidfd) return {};
  (void)signal_pidfd(pidfd->get(), SIGKILL);
  pollfd poll_fd{pidfd->get(), POLLIN, 0};
  if (::poll(&poll_fd, 1, timeout_ms) == 0) {
    std::string why = cannot_be_killed(process.pid) ? ": it waits for a device or a file system of the host" : "";
    return fail("process " + std::to_string(process.pid) + " does not end" + why, ETIMEDOUT);
  }
  return {};
}

bool wait_for_end(const ProcessId& process, int timeout_ms) {
  auto pidfd = open_process(process);
  if (!pidfd) return true;
  pollfd poll_fd{pidfd->get(), POLLIN, 0};
  return ::poll(&poll_fd, 1, timeout_ms) != 0;
}

}  // namespace nacre::runtime
