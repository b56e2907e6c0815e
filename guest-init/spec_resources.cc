#include <algorithm>
#include <limits>

#include "base/log.h"
#include "guest-init/spec.h"

namespace nacre::guest {

namespace {

using Files = std::vector<std::pair<std::string, std::string>>;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

// The configuration speaks of cgroup v1's values, the guest has v2; the conversions are those that every runtime
// makes (runtime-spec, config-linux.md, "control groups").
std::string limit_text(int64_t value) {
  return value < 0 ? "max" : std::to_string(value);
}

Result<void> memory_files(const Field& memory, Files& files) {
  int64_t limit = TRY(TRY(memory.member("limit")).integer(kMin, kMax, 0));
  int64_t swap = TRY(TRY(memory.member("swap")).integer(kMin, kMax, 0));
  int64_t reservation = TRY(TRY(memory.member("reservation")).integer(kMin, kMax, 0));
  Field no_killer = TRY(memory.member("disableOOMKiller"));
  if (no_killer.asks()) return fail(no_killer.path() + " is not possible with cgroup v2", ENOTSUP);
  // swappiness, kernel and kernelTCP have no meaning in v2, and every runtime says nothing.
  if (swap > 0) {
    // v1's figure is memory and swap together.
    if (limit <= 0) return fail(memory.path() + ".swap needs a memory limit beside it", EINVAL);
    if (swap < limit) return fail(memory.path() + ".swap is smaller than the memory limit", EINVAL);
    files.emplace_back("memory.swap.max", std::to_string(swap - limit));
  } else if (swap < 0) {
    files.emplace_back("memory.swap.max", "max");
  }
  if (limit != 0) files.emplace_back("memory.max", limit_text(limit));
  if (reservation != 0) files.emplace_back("memory.low", limit_text(reservation));
  return {};
}

Result<void> cpu_files(const Field& cpu, Files& files) {
  uint64_t shares = TRY(TRY(cpu.member("shares")).unsigned_integer(0));
  int64_t quota = TRY(TRY(cpu.member("quota")).integer(kMin, kMax, 0));
  uint64_t period = TRY(TRY(cpu.member("period")).unsigned_integer(0));
  uint64_t burst = TRY(TRY(cpu.member("burst")).unsigned_integer(0));
  Field idle = TRY(cpu.member("idle"));
  for (const char* name : {"realtimeRuntime", "realtimePeriod"}) {
    Field field = TRY(cpu.member(name));
    if (field.asks()) return fail(field.path() + " is not possible with cgroup v2", ENOTSUP);
  }
  if (shares != 0) {
    uint64_t clamped = std::clamp<uint64_t>(shares, 2, 262144);
    files.emplace_back("cpu.weight", std::to_string(1 + (clamped - 2) * 9999 / 262142));
  }
  if (quota != 0 || period != 0) {
    std::string text = quota > 0 ? std::to_string(quota) : "max";
    if (period != 0) text += " " + std::to_string(period);
    files.emplace_back("cpu.max", text);
  }
  if (burst != 0) files.emplace_back("cpu.max.burst", std::to_string(burst));
  if (idle.present()) files.emplace_back("cpu.idle", std::to_string(TRY(idle.integer(0, 1))));
  std::string cpus = TRY(TRY(cpu.member("cpus")).string(""));
  std::string mems = TRY(TRY(cpu.member("mems")).string(""));
  if (!cpus.empty()) files.emplace_back("cpuset.cpus", cpus);
  if (!mems.empty()) files.emplace_back("cpuset.mems", mems);
  return {};
}

}  // namespace

Result<std::vector<std::pair<std::string, std::string>>> parse_resources(const Field& resources) {
  Files files;
  for (const char* name : {"blockIO", "hugepageLimits", "network", "rdma"}) {
    Field field = TRY(resources.member(name));
    if (field.asks()) return fail(field.path() + " is not supported by this version", ENOTSUP);
  }
  // `devices` guards the host's devices; the virtual machine has only what was given to it.
  TRY(memory_files(TRY(resources.member("memory")), files));
  TRY(cpu_files(TRY(resources.member("cpu")), files));
  Field pids = TRY(TRY(resources.member("pids")).member("limit"));
  int64_t pids_limit = TRY(pids.integer(kMin, kMax, 0));
  if (pids_limit != 0) files.emplace_back("pids.max", limit_text(pids_limit));
  for (const auto& [name, value] : TRY(TRY(resources.member("unified")).members())) {
    if (name.find('/') != std::string::npos || name.find('.') == std::string::npos) {
      return value.fails("is not the name of a cgroup file");
    }
    files.emplace_back(name, TRY(value.string()));
  }
  return files;
}

}  // namespace nacre::guest
