// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/sizing.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "oci/cpu_list.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr uint64_t kMemoryUnit = 2ull << 20;  // as in vmm
constexpr uint64_t kDefaultPeriod = 100'000;  // microseconds, the kernel's default

const Json& member(const Json& object, const char* name) {
  static const Json kNothing = Json::object();
  auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

std::string unified(const Json& resources, const char* file) {
  return member(resources, "unified").value(file, "");
}

// Parses a size as the kernel does: "64M". Returns nothing for "max" and for text that is not a size.
std::optional<uint64_t> parse_size(std::string_view text) {
  uint64_t number = 0;
  auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  constexpr std::string_view kUnits = "kmgtpe";
  size_t shift = 0;
  if (at != text.data() + text.size()) {
    size_t unit = kUnits.find(static_cast<char>(*at | 0x20));
    if (unit != std::string_view::npos) shift = 10 * (unit + 1);
  }
  return number > UINT64_MAX >> shift ? UINT64_MAX : number << shift;
}

// Returns the container's memory limit, if it has one.
std::optional<uint64_t> memory_limit(const Json& resources) {
  if (auto limit = parse_size(unified(resources, "memory.max"))) return limit;  // wins, since it is written last
  auto limit = member(resources, "memory").value("limit", int64_t{0});
  if (limit <= 0) return std::nullopt;
  return static_cast<uint64_t>(limit);
}

// Returns the number of CPUs that the quota fills; 0 without a quota.
uint64_t cpus_of_quota(const Json& resources) {
  const Json& cpu = member(resources, "cpu");
  auto quota = static_cast<uint64_t>(std::max(int64_t{0}, cpu.value("quota", int64_t{0})));
  uint64_t period = cpu.value("period", uint64_t{0});
  if (std::string text = unified(resources, "cpu.max"); !text.empty()) {  // "max 100000", "50000"
    quota = parse_size(text).value_or(0);
    size_t space = text.find(' ');
    period = space == std::string::npos ? 0 : parse_size(std::string_view(text).substr(space + 1)).value_or(0);
  }
  if (period == 0) period = kDefaultPeriod;
  return quota == 0 ? 0 : (quota - 1) / period + 1;
}

// Returns how many CPUs of the host the container may use; 0 if that is not limited.
unsigned cpus_in_set(const Json& resources) {
  std::string list = unified(resources, "cpuset.cpus");
  return oci::count_cpus(list.empty() ? member(resources, "cpu").value("cpus", "") : list, kMaxCpus);
}

uint64_t round_up(uint64_t size) {
  return (size + kMemoryUnit - 1) / kMemoryUnit * kMemoryUnit;
}

}  // namespace

HostSize host_size() {
  struct sysinfo info{};
  HostSize host;
  if (::sysinfo(&info) == 0) host.memory = (uint64_t{info.totalram} + info.totalswap) * info.mem_unit;
  host.cpus = static_cast<unsigned>(std::max(1l, ::sysconf(_SC_NPROCESSORS_ONLN)));
  return host;
}

bool limits_memory(const Json& resources) {
  return memory_limit(resources).has_value();
}

bool limits_cpus(const Json& resources) {
  return cpus_of_quota(resources) > 0 || cpus_in_set(resources) > 0;
}

VmSize largest_size(const VmSize& first, const HostSize& host) {
  return {.memory = std::max(first.memory, host.memory / kMemoryUnit * kMemoryUnit),
          .cpus = std::max(first.cpus, std::min(host.cpus, kMaxGrownCpus))};
}

VmSize size_for(const Json& resources, const HostSize& host) {
  VmSize size;
  if (auto limit = memory_limit(resources)) {
    uint64_t most = host.memory == 0 ? uint64_t{1} << 46 : host.memory / kMemoryUnit * kMemoryUnit;
    size.memory = *limit > most ? most : std::min(round_up(*limit + guest_overhead(*limit)), most);
  }
  uint64_t quota = cpus_of_quota(resources);
  uint64_t set = cpus_in_set(resources);
  uint64_t cpus = kDefaultCpus;
  if (quota > 0) cpus = std::min<uint64_t>(quota, host.cpus);
  if (set > 0) cpus = quota > 0 ? std::min(cpus, set) : set;
  size.cpus = static_cast<unsigned>(std::clamp<uint64_t>(cpus, 1, kMaxCpus));
  return size;
}

uint64_t guest_overhead(uint64_t limit) {
  constexpr uint64_t kFixed = 40ull << 20;
  return kFixed + limit / 32;
}

std::optional<uint64_t> host_backstop(const Json& resources, uint64_t vm_memory) {
  if (!memory_limit(resources)) return std::nullopt;
  constexpr uint64_t kFixed = 32ull << 20;
  return vm_memory + vm_memory / 4 + kFixed;
}

std::optional<uint64_t> annotated_backstop(const Json& resources, uint64_t now, const HostSize& host) {
  auto by_limit = host_backstop(resources, size_for(resources, host).memory);
  if (!by_limit) return std::nullopt;
  return std::max(*by_limit, now);
}

}  // namespace nacre::runtime
