// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/v2_files.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "runtime/host/cgroup/version.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;
using Files = std::vector<oci::CgroupFile>;

const Json& member(const Json& object, const char* name) {
  static const Json kNothing;
  auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

bool is_set(const Json& value) {
  return value.is_number() && value != 0;
}

void leave_threads(std::string& pids, unsigned max_cpus) {
  if (auto limit = number_in(pids)) pids = std::to_string(std::max(*limit, least_tasks(max_cpus)));
}

void leave_time(std::string& text) {
  auto cpu_max = parse_cpu_max(text);
  if (!cpu_max) return;
  cpu_max->quota = std::max(cpu_max->quota, least_quota(cpu_max->period));
  text = to_text(*cpu_max);
}

}  // namespace

std::optional<uint64_t> number_in(std::string_view text) {
  uint64_t number = 0;
  auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || at != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<CpuMax> parse_cpu_max(std::string_view text) {
  size_t space = std::min(text.find(' '), text.size());
  auto quota = number_in(text.substr(0, space)), period = number_in(text.substr(std::min(space + 1, text.size())));
  if (!quota || !period || *period == 0) return std::nullopt;
  return CpuMax{.quota = *quota, .period = *period};
}

std::string to_text(const CpuMax& cpu_max) {
  return std::to_string(cpu_max.quota) + " " + std::to_string(cpu_max.period);
}

Result<Files> v2_files(const Json& resources, const std::string& directory, unsigned max_cpus) {
  bool bfq = ::access((directory + "/io.bfq.weight").c_str(), F_OK) == 0;
  Files files = TRY(oci::cgroup_files(oci::JsonField(&resources, "linux.resources"), bfq));
  for (auto& file : files) {
    if (file.name == "pids.max") leave_threads(file.value, max_cpus);
    if (file.name == "cpu.max") leave_time(file.value);
  }
  return oci::files_on(oci::Side::host, std::move(files));
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
