#include "runtime/cgroup/files.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/log.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;
using Files = std::vector<protocol::CgroupFile>;

// The stand-in and the thread that shows its /proc, vmm with its loop and its file server, and some room.
constexpr uint64_t kVmTasks = 8;

const Json& member(const Json& object, const char* name) {
  static const Json kNothing;
  auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

bool is_set(const Json& value) {
  return value.is_number() && value != 0;
}

// A number that is all of `text`; what else it may be is the kernel's to judge.
std::optional<uint64_t> number_in(std::string_view text) {
  uint64_t number = 0;
  auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || at != text.data() + text.size()) return std::nullopt;
  return number;
}

// The VM's threads are not the container's processes: a limit for those must not keep the VM from running.
void leave_threads(std::string& pids, unsigned max_cpus) {
  if (auto limit = number_in(pids)) pids = std::to_string(std::max(*limit, kVmTasks + max_cpus));
}

// Nor must the quota of a container that may do little keep the guest from answering: its own cgroup there holds it to
// that. "QUOTA PERIOD": at least half a CPU.
void leave_time(std::string& cpu_max) {
  size_t space = std::min(cpu_max.find(' '), cpu_max.size());
  std::string_view rest = std::string_view(cpu_max).substr(std::min(space + 1, cpu_max.size()));
  auto quota = number_in(std::string_view(cpu_max).substr(0, space)), period = number_in(rest);
  if (quota && period) cpu_max = std::to_string(std::max(*quota, *period / 2)) + " " + std::to_string(*period);
}

// What compares the container with others, or speaks of the host: in the guest alone it does nothing.
bool needs_host(std::string_view file) {
  constexpr std::string_view kComparing[] = {"memory.low",      "memory.min", "cpu.weight",
                                             "cpu.weight.nice", "cpu.idle",   "io.weight"};
  return !protocol::acts_on(protocol::Side::guest, file) || std::ranges::find(kComparing, file) != std::end(kComparing);
}

}  // namespace

Result<Files> host_files(const Json& resources, const std::string& directory, unsigned max_cpus) {
  bool bfq = ::access((directory + "/io.bfq.weight").c_str(), F_OK) == 0;
  Files files = TRY(protocol::cgroup_files(protocol::Field(&resources, "linux.resources"), bfq));
  for (auto& file : files) {
    if (file.name == "pids.max") leave_threads(file.value, max_cpus);
    if (file.name == "cpu.max") leave_time(file.value);
  }
  return protocol::files_on(protocol::Side::host, std::move(files));
}

Result<Files> set_host_files(const std::string& directory, const Files& files) {
  if (!directory.empty()) return protocol::set_cgroup_files(directory, files);
  std::string names;
  for (const auto& file : files) {
    if (needs_host(file.name)) names += " " + file.name;
  }
  if (!names.empty()) log_warn("linux.resources: not applied, for want of a cgroup (version 2) on the host:" + names);
  return Files();
}

bool needs_domain(const Json& resources) {
  const Json& memory = member(resources, "memory");
  bool memory_set =
      is_set(member(memory, "limit")) || is_set(member(memory, "reservation")) || is_set(member(memory, "swap"));
  const Json& cpu = member(resources, "cpu");
  bool cpu_set = is_set(member(cpu, "shares")) || is_set(member(cpu, "quota")) || is_set(member(cpu, "period"));
  const Json& block = member(resources, "blockIO");
  bool block_set = is_set(member(block, "weight"));
  for (const char* name : {"weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice",
                           "throttleWriteIOPSDevice"}) {
    block_set |= !member(block, name).empty();
  }
  return memory_set || cpu_set || block_set || !member(resources, "hugepageLimits").empty();
}

}  // namespace nacre::runtime
