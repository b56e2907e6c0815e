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
  char state;
  pid_t parent;
  uint64_t start_time;
};

// Reads /proc/PID/stat. Field 2, the command's name, is in parentheses and may contain anything, so it ends at the last
// ')'.
Result<Stat> read_stat(pid_t pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/stat";
  std::string text = TRY(read_file(path, 4096));
  size_t position = text.rfind(')');
  if (position == std::string::npos || position + 2 >= text.size()) return fail(path + " is not understood");
  std::string_view rest = std::string_view(text).substr(position + 2);
  Stat stat{.state = rest[0], .parent = 0, .start_time = 0};
  constexpr int kStateField = 3;
  constexpr int kParentField = 4;
  constexpr int kStartTimeField = 22;
  for (int field = kStateField; field < kStartTimeField; field++) {
    size_t space = rest.find(' ');
    if (space == std::string_view::npos) return fail(path + " is not understood");
    rest.remove_prefix(space + 1);
    if (field + 1 == kParentField) (void)std::from_chars(rest.data(), rest.data() + rest.size(), stat.parent);
  }
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), stat.start_time);
  if (error != std::errc()) return fail(path + " is not understood");
  return stat;
}

bool ended(char state) {
  return state == 'Z' || state == 'X' || state == 'x';
}

}  // namespace

std::chrono::milliseconds time_without_cpu(pid_t pid) {
  std::error_code error;
  std::chrono::nanoseconds longest{0};
  std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task", error);
  for (; !error && threads != std::filesystem::directory_iterator(); threads.increment(error)) {
    auto text = read_file((threads->path() / "schedstat").string(), 4096);
    size_t space = text ? text->find(' ') : std::string::npos;
    if (space == std::string::npos) continue;
    int64_t waited = 0;
    (void)std::from_chars(text->data() + space + 1, text->data() + text->size(), waited);
    longest = std::max(longest, std::chrono::nanoseconds(waited));
  }
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
  return stat && stat->start_time == process.start_time && !ended(stat->state);
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
    return fail("process " + std::to_string(process.pid) + " does not end", ETIMEDOUT);
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
