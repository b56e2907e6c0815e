// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/files.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/log.h"
#include "runtime/host/cgroup/version.h"

namespace nacre::runtime {

namespace {

// Returns true for a file, of either version, that compares the container with others or concerns the host. In the
// guest alone such a limit has no effect.
bool needs_host(std::string_view file) {
  constexpr std::string_view kBeginnings[] = {
      "memory.low", "memory.min", "memory.soft_limit", "memory.swappiness", "memory.oom_control",
      "cpu.weight", "cpu.shares", "cpu.idle",          "cpu.rt_",           "io.weight",
      "blkio.",     "net_"};
  auto begins = [file](std::string_view beginning) { return file.starts_with(beginning); };
  return !oci::acts_on(oci::Side::guest, file) || std::ranges::any_of(kBeginnings, begins);
}

}  // namespace

using Files = std::vector<oci::CgroupFile>;

Result<Files> host_files(const nlohmann::json& resources, const std::string& cgroup, unsigned max_cpus) {
  return version_of(cgroup).files(resources, cgroup, max_cpus);
}

bool waits_for_boot(const oci::CgroupFile& file) {
  constexpr std::string_view kWaiting[] = {"pids.max",         "cpu.max",           "cpu.max.burst",
                                           "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us"};
  return std::ranges::find(kWaiting, file.name) != std::end(kWaiting);
}

Files backstop_files(const std::string& cgroup, const nlohmann::json& resources, std::optional<uint64_t> most) {
  if (cgroup.empty()) return {};
  return version_of(cgroup).backstop(resources, most);
}

std::optional<uint64_t> current_backstop(const std::string& cgroup) {
  if (cgroup.empty()) return std::nullopt;
  return version_of(cgroup).current_backstop(cgroup);
}

Result<Files> set_host_files(const std::string& cgroup, const Files& files) {
  if (!cgroup.empty()) return version_of(cgroup).set(cgroup, files);
  std::string names;
  for (const auto& file : files) {
    if (needs_host(file.name)) names += " " + file.name;
  }
  if (!names.empty()) log_warn("linux.resources: not applied, for want of a cgroup on the host:" + names);
  return Files();
}

}  // namespace nacre::runtime
