#include "guest-init/containers/process_list.h"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "guest-init/kernel/text.h"

namespace nacre::guest {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxStat = 4096;
constexpr size_t kMaxArguments = 4096;
// Of all processes together, so that the reply stays well below a frame; those after it are shown by name alone.
constexpr size_t kMaxAllArguments = 4 << 20;
constexpr size_t kMaxProcesses = 8192;

// "Uid:" or "Gid:" of /proc/PID/status: real and effective.
Json ids(const std::string& status, std::string_view key) {
  unsigned long real = 0, effective = 0;
  size_t at = status.find(key);
  if (at != std::string::npos) {
    char* end;
    real = std::strtoul(status.c_str() + at + key.size(), &end, 10);
    effective = std::strtoul(end, nullptr, 10);
  }
  return {real, effective};
}

std::optional<Json> describe(pid_t pid, size_t& room) {
  std::string directory = "/proc/" + std::to_string(pid);
  auto stat = read_start(AT_FDCWD, directory + "/stat", kMaxStat);
  auto status = read_start(AT_FDCWD, directory + "/status", kMaxStat);
  if (!stat || stat->empty() || !status) return std::nullopt;
  std::string arguments;
  if (room > kMaxArguments) arguments = read_start(AT_FDCWD, directory + "/cmdline", kMaxArguments).value_or("");
  room -= arguments.size();
  while (!arguments.empty() && arguments.back() == '\0') arguments.pop_back();
  for (char& c : arguments) c = c == '\0' ? ' ' : c;
  // A process may call itself "x\nUid: ...": the name is the first line, and escaped there.
  return Json{{"stat", std::move(*stat)},
              {"uid", ids(*status, "\nUid:")},
              {"gid", ids(*status, "\nGid:")},
              {"args", std::move(arguments)}};
}

}  // namespace

Json list_processes(const std::vector<pid_t>& pids) {
  timespec up{};
  ::clock_gettime(CLOCK_BOOTTIME, &up);
  struct sysinfo machine{};
  ::sysinfo(&machine);
  Json processes = Json::array();
  size_t room = kMaxAllArguments;
  for (pid_t pid : pids) {
    if (processes.size() == kMaxProcesses) break;
    if (auto process = describe(pid, room)) processes.push_back(std::move(*process));
  }
  return {{"type", "processes"},
          {"hertz", ::sysconf(_SC_CLK_TCK)},
          {"page", ::sysconf(_SC_PAGESIZE)},
          {"uptime", up.tv_sec * 1000 + up.tv_nsec / 1'000'000},
          {"memory", static_cast<uint64_t>(machine.totalram) * machine.mem_unit},
          {"processes", std::move(processes)}};
}

}  // namespace nacre::guest
