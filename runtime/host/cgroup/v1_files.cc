// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/v1_files.h"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <string>

#include "oci/json_field.h"
#include "runtime/host/cgroup/version.h"

namespace nacre::runtime {

namespace {

using Files = std::vector<oci::CgroupFile>;
using oci::JsonField;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr const char* kMemoryAndSwap = "memory.memsw.limit_in_bytes";

Result<int64_t> signed_of(const JsonField& object, const char* name) {
  return TRY(object.member(name)).integer(kMin, kMax, 0);
}

Result<uint64_t> unsigned_of(const JsonField& object, const char* name) {
  return TRY(object.member(name)).unsigned_integer(0);
}

// Adds a file with a figure. A figure of 0 means not set, and adds nothing.
template <typename Number>
void add(Files& files, const char* name, Number value) {
  if (value != 0) files.push_back({.name = name, .value = std::to_string(value)});
}

Result<void> memory_files(const JsonField& memory, Files& files) {
  add(files, "memory.soft_limit_in_bytes", TRY(signed_of(memory, "reservation")));
  if (TRY(signed_of(memory, "swap")) == -1) {
    files.push_back({.name = kMemoryAndSwap, .value = "-1", .optional = true});
  }
  if (TRY(TRY(memory.member("disableOOMKiller")).boolean(false))) {
    files.push_back({.name = "memory.oom_control", .value = "1"});
  }
  JsonField swappiness = TRY(memory.member("swappiness"));
  if (!swappiness.present()) return {};
  uint64_t value = TRY(swappiness.unsigned_integer(0));
  if (value == std::numeric_limits<uint64_t>::max()) return {};  // some callers write -1 for the default
  if (value > 100) {
    return fail("invalid memory swappiness value: " + std::to_string(value) + " (valid range is 0-100)", EINVAL);
  }
  files.push_back({.name = "memory.swappiness", .value = std::to_string(value)});
  return {};
}

// Fails for shares that the kernel would silently replace by another figure.
Result<void> check_shares(uint64_t shares) {
  constexpr uint64_t kFewest = 2, kMost = 262144;
  if (shares != 0 && shares < kFewest) return fail("the minimum allowed cpu-shares is 2", EINVAL);
  if (shares > kMost) return fail("the maximum allowed cpu-shares is 262144", EINVAL);
  return {};
}

Result<void> cpu_files(const JsonField& cpu, Files& files) {
  uint64_t shares = TRY(unsigned_of(cpu, "shares"));
  TRY(check_shares(shares));
  add(files, "cpu.shares", shares);
  JsonField idle = TRY(cpu.member("idle"));
  if (idle.present()) files.push_back({.name = "cpu.idle", .value = std::to_string(TRY(idle.integer(kMin, kMax)))});
  int64_t quota = TRY(signed_of(cpu, "quota"));
  uint64_t period = TRY(unsigned_of(cpu, "period"));
  add(files, "cpu.cfs_period_us", period);
  constexpr uint64_t kDefaultPeriod = 100'000;  // sched-bwc.rst
  if (quota > 0) {
    quota = std::max(quota, static_cast<int64_t>(least_quota(period == 0 ? kDefaultPeriod : period)));
  }
  add(files, "cpu.cfs_quota_us", quota);
  JsonField burst = TRY(cpu.member("burst"));
  if (burst.present()) {
    files.push_back({.name = "cpu.cfs_burst_us", .value = std::to_string(TRY(burst.unsigned_integer(0)))});
  }
  add(files, "cpu.rt_period_us", TRY(unsigned_of(cpu, "realtimePeriod")));
  add(files, "cpu.rt_runtime_us", TRY(signed_of(cpu, "realtimeRuntime")));
  for (auto [name, file] : {std::pair("cpus", "cpuset.cpus"), std::pair("mems", "cpuset.mems")}) {
    std::string set = TRY(TRY(cpu.member(name)).string(""));
    if (!set.empty()) files.push_back({.name = file, .value = std::move(set)});
  }
  return {};
}

Result<void> pids_files(const JsonField& pids, unsigned max_cpus, Files& files) {
  int64_t limit = TRY(signed_of(pids, "limit"));
  if (limit == 0) return {};
  uint64_t most = std::max(static_cast<uint64_t>(std::max<int64_t>(limit, 0)), least_tasks(max_cpus));
  files.push_back({.name = "pids.max", .value = limit > 0 ? std::to_string(most) : "max"});
  return {};
}

Result<std::string> device_of(const JsonField& entry) {
  return std::to_string(TRY(signed_of(entry, "major"))) + ":" + std::to_string(TRY(signed_of(entry, "minor")));
}

// Returns the name of the weight file: older schedulers have "blkio.weight", BFQ has a name of its own.
std::string weight_file(const Directories& directories) {
  auto blkio = directories.find("blkio");
  bool plain = blkio != directories.end() && ::access((blkio->second + "/blkio.weight").c_str(), F_OK) == 0;
  return plain ? "blkio.weight" : "blkio.bfq.weight";
}

Result<void> block_files(const JsonField& block, const std::string& weight, Files& files) {
  add(files, weight.c_str(), TRY(unsigned_of(block, "weight")));
  add(files, "blkio.leaf_weight", TRY(unsigned_of(block, "leafWeight")));
  for (const JsonField& entry : TRY(TRY(block.member("weightDevice")).list())) {
    std::string device = TRY(device_of(entry)) + " ";
    uint64_t own = TRY(unsigned_of(entry, "weight")), leaf = TRY(unsigned_of(entry, "leafWeight"));
    if (own != 0) files.push_back({.name = weight + "_device", .value = device + std::to_string(own)});
    if (leaf != 0) files.push_back({.name = "blkio.leaf_weight_device", .value = device + std::to_string(leaf)});
  }
  for (auto [name, file] : {std::pair("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
                            std::pair("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
                            std::pair("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
                            std::pair("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device")}) {
    for (const JsonField& entry : TRY(TRY(block.member(name)).list())) {
      std::string rate = std::to_string(TRY(unsigned_of(entry, "rate")));
      files.push_back({.name = file, .value = TRY(device_of(entry)) + " " + rate});
    }
  }
  return {};
}

Result<void> hugepage_files(const JsonField& limits, Files& files) {
  for (const JsonField& entry : TRY(limits.list())) {
    std::string size = TRY(oci::page_size(entry));
    std::string limit = std::to_string(TRY(unsigned_of(entry, "limit")));
    files.push_back({.name = "hugetlb." + size + ".limit_in_bytes", .value = limit});
    files.push_back({.name = "hugetlb." + size + ".rsvd.limit_in_bytes", .value = limit, .optional = true});
  }
  return {};
}

Result<void> network_files(const JsonField& network, Files& files) {
  add(files, "net_cls.classid", TRY(unsigned_of(network, "classID")));
  for (const JsonField& entry : TRY(TRY(network.member("priorities")).list())) {
    std::string text =
        TRY(TRY(entry.member("name")).string()) + " " + std::to_string(TRY(unsigned_of(entry, "priority")));
    files.push_back({.name = "net_prio.ifpriomap", .value = std::move(text)});
  }
  return {};
}

}  // namespace

Result<Files> v1_files(const nlohmann::json& resources, const Directories& directories, unsigned max_cpus) {
  JsonField all(&resources, "linux.resources");
  Files files;
  TRY(memory_files(TRY(all.member("memory")), files));
  TRY(cpu_files(TRY(all.member("cpu")), files));
  TRY(pids_files(TRY(all.member("pids")), max_cpus, files));
  TRY(block_files(TRY(all.member("blockIO")), weight_file(directories), files));
  TRY(hugepage_files(TRY(all.member("hugepageLimits")), files));
  TRY(oci::rdma_files(TRY(all.member("rdma")), files));
  TRY(network_files(TRY(all.member("network")), files));
  return files;
}

Files v1_backstop(const nlohmann::json& resources, std::optional<uint64_t> most) {
  auto memory = resources.find("memory");
  int64_t limit = memory == resources.end() ? 0 : memory->value("limit", int64_t{0});
  int64_t swap = memory == resources.end() ? 0 : memory->value("swap", int64_t{0});
  bool swaps = most && limit > 0 && swap >= limit;
  std::string both = swaps ? std::to_string(*most + static_cast<uint64_t>(swap - limit)) : "-1";
  return {{.name = kMemoryLimit, .value = most ? std::to_string(*most) : "-1"},
          {.name = kMemoryAndSwap, .value = std::move(both), .optional = true}};
}

Result<Files> in_directories(const Directories& directories, Files files) {
  for (auto& file : files) {
    if (file.name.contains('/')) continue;
    std::string controller = file.name.substr(0, file.name.find('.'));
    auto found = directories.find(controller);
    if (found == directories.end()) {
      return fail("cannot set " + controller + " limit: container could not join or create cgroup", ENOENT);
    }
    file.name = found->second.substr(1) + "/" + file.name;
  }
  return files;
}

}  // namespace nacre::runtime
