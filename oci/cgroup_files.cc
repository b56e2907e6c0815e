// SPDX-License-Identifier: Apache-2.0
#include "oci/cgroup_files.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

namespace nacre::oci {

namespace {

using Files = std::vector<CgroupFile>;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

// A name that ends with '.' stands for all names that begin so. A file that is not in the table acts on both sides.
struct Exception {
  std::string_view file;
  Side only;
};
constexpr Exception kExceptions[] = {
    // The VM is larger than what runs in it.
    {"memory.max", Side::guest},
    {"memory.high", Side::guest},
    {"memory.oom.group", Side::guest},
    // Numbers of the host: its CPUs, memory nodes and devices.
    {"cpuset.", Side::host},
    {"io.max", Side::host},
    {"io.latency", Side::host},
    {"io.bfq.", Side::host},
    {"io.cost.", Side::host},
    {"rdma.", Side::host},
    {"misc.", Side::host},
};

// Returns the kernel's text for a limit; -1 means no limit. The kernel refuses other negative numbers, as it does under
// runc.
std::string limit_text(int64_t value) {
  return value == -1 ? "max" : std::to_string(value);
}

Result<int64_t> limit_of(const JsonField& object, const char* name) {
  return TRY(object.member(name)).integer(kMin, kMax, 0);
}

Result<void> memory_files(const JsonField& memory, Files& files) {
  int64_t limit = TRY(limit_of(memory, "limit"));
  int64_t swap = TRY(limit_of(memory, "swap"));
  // "Nothing is limited" includes the swap, as it did with cgroup v1.
  if (limit == -1 && swap == 0) swap = -1;
  // v1's figure is memory and swap together. The errors are runc's.
  if (swap > 0) {
    if (limit <= 0) return fail(memory.path() + ".swap: unable to set swap limit without memory limit", EINVAL);
    if (swap < limit) return fail(memory.path() + ".swap: memory+swap limit should be >= memory limit", EINVAL);
    swap -= limit;
    files.push_back({.name = "memory.swap.max", .value = std::to_string(swap), .optional = true});
  } else if (swap < 0) {
    files.push_back({.name = "memory.swap.max", .value = limit_text(swap), .optional = true});
  }
  if (limit != 0) files.push_back({.name = "memory.max", .value = limit_text(limit)});
  int64_t reservation = TRY(limit_of(memory, "reservation"));
  if (reservation != 0) files.push_back({.name = "memory.low", .value = limit_text(reservation)});
  return {};
}

// Turns 2 to 262144 shares, 1024 by default, into a weight of 1 to 10000, 100 by default, by the curve that runtimes
// have agreed on (kubernetes/enhancements, KEP 2254 as amended in 2025).
uint64_t weight_of_shares(uint64_t shares) {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  double log = std::log2(static_cast<double>(shares));
  double exponent = (log * log + 125 * log) / 612.0 - 7.0 / 34.0;
  return static_cast<uint64_t>(std::ceil(std::pow(10.0, exponent)));
}

Result<void> cpu_files(const JsonField& cpu, Files& files) {
  uint64_t shares = TRY(TRY(cpu.member("shares")).unsigned_integer(0));
  if (shares != 0) files.push_back({.name = "cpu.weight", .value = std::to_string(weight_of_shares(shares))});
  JsonField idle = TRY(cpu.member("idle"));
  if (idle.present()) files.push_back({.name = "cpu.idle", .value = std::to_string(TRY(idle.integer(kMin, kMax)))});
  int64_t quota = TRY(limit_of(cpu, "quota"));
  uint64_t period = TRY(TRY(cpu.member("period")).unsigned_integer(0));
  constexpr uint64_t kDefaultPeriod = 100'000;  // cgroup-v2.rst, "cpu.max"
  if (quota != 0 || period != 0) {
    files.push_back(
        {.name = "cpu.max",
         .value = limit_text(quota > 0 ? quota : -1) + " " + std::to_string(period == 0 ? kDefaultPeriod : period)});
  }
  JsonField burst = TRY(cpu.member("burst"));
  if (burst.present()) {
    files.push_back({.name = "cpu.max.burst", .value = std::to_string(TRY(burst.unsigned_integer(0)))});
  }
  for (auto [name, file] : {std::pair("cpus", "cpuset.cpus"), std::pair("mems", "cpuset.mems")}) {
    std::string set = TRY(TRY(cpu.member(name)).string(""));
    if (!set.empty()) files.push_back({.name = file, .value = std::move(set)});
  }
  return {};
}

}  // namespace

Result<std::string> page_size(const JsonField& limit) {
  std::string size = TRY(TRY(limit.member("pageSize")).string());
  bool is_name = !size.empty() && std::ranges::all_of(size, [](unsigned char c) { return std::isalnum(c) != 0; });
  if (!is_name) return limit.fails("has no size of pages");
  return size;
}

namespace {

Result<void> hugepage_files(const JsonField& limits, Files& files) {
  for (const JsonField& entry : TRY(limits.list())) {
    std::string size = TRY(page_size(entry));
    std::string limit = std::to_string(TRY(TRY(entry.member("limit")).unsigned_integer(0)));
    files.push_back({.name = "hugetlb." + size + ".max", .value = limit});
    files.push_back({.name = "hugetlb." + size + ".rsvd.max", .value = limit, .optional = true});
  }
  return {};
}

Result<std::string> device_of(const JsonField& entry) {
  int64_t major = TRY(limit_of(entry, "major")), minor = TRY(limit_of(entry, "minor"));
  return std::to_string(major) + ":" + std::to_string(minor);
}

Result<void> block_files(const JsonField& block, bool bfq, Files& files) {
  uint64_t weight = TRY(TRY(block.member("weight")).unsigned_integer(0));
  if (weight != 0 && bfq) files.push_back({.name = "io.bfq.weight", .value = std::to_string(weight)});
  if (weight != 0 && !bfq) {
    files.push_back({.name = "io.weight", .value = std::to_string(weight < 10 ? 1 : 1 + (weight - 10) * 9999 / 990)});
  }
  for (const JsonField& entry : TRY(TRY(block.member("weightDevice")).list())) {
    uint64_t own = TRY(TRY(entry.member("weight")).unsigned_integer(0));
    if (!bfq || own == 0) continue;
    files.push_back({.name = "io.bfq.weight", .value = TRY(device_of(entry)) + " " + std::to_string(own)});
  }
  for (auto [name, key] :
       {std::pair("throttleReadBpsDevice", "rbps"), std::pair("throttleWriteBpsDevice", "wbps"),
        std::pair("throttleReadIOPSDevice", "riops"), std::pair("throttleWriteIOPSDevice", "wiops")}) {
    for (const JsonField& entry : TRY(TRY(block.member(name)).list())) {
      uint64_t rate = TRY(TRY(entry.member("rate")).unsigned_integer(0));
      files.push_back({.name = "io.max",
                       .value = TRY(device_of(entry)) + " " + key + "=" + (rate == 0 ? "max" : std::to_string(rate))});
    }
  }
  return {};
}

Result<void> unified_files(const JsonField& unified, Files& files) {
  for (const auto& [name, value] : TRY(unified.members())) {
    // runc's words.
    std::string quoted = "unified resource \"" + name + "\"";
    if (name.find('/') != std::string::npos) return fail(quoted + " must be a file name (no slashes)", EINVAL);
    if (name.find('.') == std::string::npos || name[0] == '.') {
      return fail(quoted + " must be in the form CONTROLLER.PARAMETER", EINVAL);
    }
    files.push_back({.name = name, .value = TRY(value.string()), .unified = true});
  }
  return {};
}

}  // namespace

Result<void> rdma_files(const JsonField& rdma, Files& files) {
  for (const auto& [device, limits] : TRY(rdma.members())) {
    std::string text = device;
    for (auto [name, key] : {std::pair("hcaHandles", "hca_handle"), std::pair("hcaObjects", "hca_object")}) {
      JsonField limit = TRY(limits.member(name));
      if (limit.present()) text += std::string(" ") + key + "=" + std::to_string(TRY(limit.unsigned_integer(0)));
    }
    if (text != device) files.push_back({.name = "rdma.max", .value = std::move(text)});
  }
  return {};
}

Result<std::vector<CgroupFile>> cgroup_files(const JsonField& resources, bool bfq) {
  Files files;
  TRY(memory_files(TRY(resources.member("memory")), files));
  TRY(cpu_files(TRY(resources.member("cpu")), files));
  int64_t pids = TRY(limit_of(TRY(resources.member("pids")), "limit"));
  if (pids != 0) files.push_back({.name = "pids.max", .value = limit_text(pids)});
  TRY(block_files(TRY(resources.member("blockIO")), bfq, files));
  TRY(hugepage_files(TRY(resources.member("hugepageLimits")), files));
  TRY(rdma_files(TRY(resources.member("rdma")), files));
  TRY(unified_files(TRY(resources.member("unified")), files));
  return files;
}

bool acts_on(Side side, std::string_view file) {
  for (const Exception& exception : kExceptions) {
    bool is_it = exception.file.ends_with('.') ? file.starts_with(exception.file) : file == exception.file;
    if (is_it) return side == exception.only;
  }
  return true;
}

std::vector<CgroupFile> files_on(Side side, std::vector<CgroupFile> files) {
  std::erase_if(files, [side](const CgroupFile& file) { return !acts_on(side, file.name); });
  return files;
}

}  // namespace nacre::oci
