// SPDX-License-Identifier: Apache-2.0
#include "guest-init/kernel/cpus.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace nacre::guest {

namespace {

std::string online_file(const std::string& path, unsigned cpu) {
  return path + "/cpu" + std::to_string(cpu) + "/online";
}

// Switches a CPU; returns whether that changed anything.
Result<bool> set_online(const std::string& path, unsigned cpu, bool online) {
  std::string name = online_file(path, cpu);
  if (TRY(read_file(name)).starts_with(online ? '1' : '0')) return false;
  Fd file = TRY(open_file(name, O_WRONLY));
  auto written = write_all(file.get(), online ? "1" : "0");
  if (written) return true;
  return fail_errno("bring CPU " + std::to_string(cpu) + (online ? " online" : " offline"), written.error().code());
}

}  // namespace

unsigned count_cpus(const std::string& path) {
  unsigned count = 1;
  while (::access(online_file(path, count).c_str(), F_OK) == 0) count++;
  return count;
}

unsigned count_online_cpus(const std::string& path) {
  unsigned online = 1;
  for (unsigned cpu = 1;; cpu++) {
    auto text = read_file(online_file(path, cpu));
    if (!text) return online;
    if (text->starts_with('1')) online++;
  }
}

Result<void> set_online_cpus(const std::string& path, unsigned count) {
  unsigned cpu = 1;
  std::vector<unsigned> brought;
  for (; cpu < count; cpu++) {
    auto set = set_online(path, cpu, true);
    if (set && *set) brought.push_back(cpu);
    if (set) continue;
    for (unsigned back : brought) (void)set_online(path, back, false);
    return std::unexpected(set.error());
  }
  // Goes through the CPUs that are left, whichever they are.
  for (;; cpu++) {
    auto set = set_online(path, cpu, false);
    if (!set && set.error().code() == ENOENT) return {};
    if (!set) return std::unexpected(set.error());
  }
}

std::vector<unsigned> choose_cpus(unsigned count, unsigned machine, const std::vector<std::vector<unsigned>>& others) {
  std::vector<unsigned> users(machine);
  for (const auto& cpus : others) {
    for (unsigned cpu : cpus) {
      if (cpu < machine) users[cpu]++;
    }
  }
  std::vector<unsigned> chosen(machine);
  std::iota(chosen.begin(), chosen.end(), 0);
  std::ranges::sort(chosen, {}, [&](unsigned cpu) { return std::pair(users[cpu], cpu); });
  chosen.resize(std::min(count, machine));
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace nacre::guest
