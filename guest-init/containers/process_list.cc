// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/process_list.h"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "guest-init/kernel/text.h"

namespace nacre::guest {

namespace {

using protocol::ProcessEntry;

constexpr size_t kMaxStat = 4096;
constexpr size_t kMaxArguments = 4096;
// Of all processes together, as they are in the reply. Those after it are shown by name alone.
constexpr size_t kMaxAllArguments = 1 << 20;
constexpr size_t kMaxReply = protocol::ProcessesReply::kLimits.bytes - 4096;
constexpr size_t kMaxProcesses = 8192;
constexpr size_t kEntryRoom = 128;  // for the names of the fields, and the ids

// Finds "Uid:" or "Gid:" in /proc/PID/status.
protocol::Ids ids(const std::string& status, std::string_view key) {
  unsigned long real = 0, effective = 0;
  size_t at = status.find(key);
  if (at != std::string::npos) {
    char* end;
    real = std::strtoul(status.c_str() + at + key.size(), &end, 10);
    effective = std::strtoul(end, nullptr, 10);
  }
  return {.real = static_cast<uint32_t>(real), .effective = static_cast<uint32_t>(effective)};
}

// `room` is what is left for arguments.
std::optional<ProcessEntry> describe(pid_t pid, size_t& room) {
  std::string directory = "/proc/" + std::to_string(pid);
  auto stat = read_start(AT_FDCWD, directory + "/stat", kMaxStat);
  auto status = read_start(AT_FDCWD, directory + "/status", kMaxStat);
  if (!stat || stat->empty() || !status) return std::nullopt;
  std::string arguments;
  if (room > 0) arguments = read_start(AT_FDCWD, directory + "/cmdline", kMaxArguments).value_or("");
  while (!arguments.empty() && arguments.back() == '\0') arguments.pop_back();
  for (char& c : arguments) c = c == '\0' ? ' ' : c;
  room -= std::min(room, protocol::encoded_size(arguments));
  // A process may call itself "x\nUid: ...", but its name is in the first line, and escaped there.
  return ProcessEntry{.stat = std::move(*stat),
                      .uid = ids(*status, "\nUid:"),
                      .gid = ids(*status, "\nGid:"),
                      .args = std::move(arguments)};
}

}  // namespace

protocol::ProcessesReply list_processes(const std::vector<pid_t>& pids) {
  timespec up{};
  ::clock_gettime(CLOCK_BOOTTIME, &up);
  struct sysinfo machine{};
  ::sysinfo(&machine);
  protocol::ProcessesReply reply{.hertz = ::sysconf(_SC_CLK_TCK),
                                 .page = ::sysconf(_SC_PAGESIZE),
                                 .uptime = up.tv_sec * 1000 + up.tv_nsec / 1'000'000,
                                 .memory = static_cast<int64_t>(machine.totalram) * machine.mem_unit};
  size_t room = kMaxReply, arguments_room = kMaxAllArguments;
  for (pid_t pid : pids) {
    if (reply.processes.size() == kMaxProcesses) break;
    auto process = describe(pid, arguments_room);
    if (!process) continue;
    size_t size = protocol::encoded_size(process->stat) + protocol::encoded_size(process->args) + kEntryRoom;
    if (size > room) break;
    room -= size;
    reply.processes.push_back(std::move(*process));
  }
  return reply;
}

}  // namespace nacre::guest
