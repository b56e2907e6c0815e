// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/unit_properties.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "runtime/host/cgroup/v2_files.h"

namespace nacre::runtime {

namespace {

std::optional<PropertyValue> number(const std::string& text) {
  if (text == "max") return UINT64_MAX;
  return number_in(text);
}

// Converts a list like "0-2,5" to a bit mask. Returns nullopt if the text is not a list.
std::optional<PropertyValue> bits(const std::string& list) {
  constexpr uint64_t kMost = 8192;
  constexpr size_t kMaxText = 4096;
  std::vector<uint8_t> bits;
  for (size_t at = 0; at < list.size();) {
    std::string_view part = std::string_view(list).substr(at, list.find(',', at) - at);
    at += part.size() + 1;
    size_t dash = std::min(part.find('-'), part.size());
    auto first = number_in(part.substr(0, dash));
    auto last = dash < part.size() ? number_in(part.substr(dash + 1)) : first;
    if (!first || !last || *last < *first || *last >= kMost || list.size() > kMaxText) return std::nullopt;
    for (uint64_t bit = *first; bit <= *last; bit++) {
      if (bits.size() <= bit / 8) bits.resize(bit / 8 + 1);
      bits[bit / 8] |= static_cast<uint8_t>(1u << (bit % 8));
    }
  }
  return bits;
}

struct Property {
  std::string_view file;
  const char* name;
  std::optional<PropertyValue> (*convert)(const std::string&);
};
constexpr Property kProperties[] = {
    {"memory.max", "MemoryMax", number},
    {"memory.high", "MemoryHigh", number},
    {"memory.low", "MemoryLow", number},
    {"memory.min", "MemoryMin", number},
    {"pids.max", "TasksMax", number},
    {"memory.swap.max", "MemorySwapMax", number},
    {"cpu.weight", "CPUWeight", number},
    {"cpuset.cpus", "AllowedCPUs", bits},
    {"cpuset.mems", "AllowedMemoryNodes", bits},
};

// Microseconds of CPU time in a second, and a percent of these.
constexpr uint64_t kSecond = 1'000'000, kPercent = kSecond / 100;

uint64_t quota_in_a_second(const CpuMax& cpu_max) {
  auto each = static_cast<unsigned __int128>(cpu_max.quota) * kSecond / cpu_max.period;
  each = (each + kPercent - 1) / kPercent * kPercent;
  return static_cast<uint64_t>(std::min<unsigned __int128>(each, UINT64_MAX));
}

void add_quota(const std::string& text, UnitProperties& properties) {
  auto cpu_max = parse_cpu_max(text);
  if (cpu_max) properties.push_back({"CPUQuotaPeriodUSec", cpu_max->period});
  if (cpu_max) properties.push_back({"CPUQuotaPerSecUSec", quota_in_a_second(*cpu_max)});
  if (text == "max" || text.starts_with("max ")) properties.push_back({"CPUQuotaPerSecUSec", UINT64_MAX});
}

}  // namespace

UnitProperties properties_of(const std::vector<oci::CgroupFile>& files) {
  UnitProperties properties;
  for (const auto& file : files) {
    if (file.name == "cpu.max") add_quota(file.value, properties);
    for (const auto& property : kProperties) {
      auto value = file.name == property.file ? property.convert(file.value) : std::nullopt;
      if (value) properties.push_back({property.name, std::move(*value)});
    }
  }
  return properties;
}

std::string in_percents(const std::string& text) {
  auto cpu_max = parse_cpu_max(text);
  if (!cpu_max) return text;
  auto quota = static_cast<unsigned __int128>(quota_in_a_second(*cpu_max)) * cpu_max->period / kSecond;
  return to_text(
      {.quota = static_cast<uint64_t>(std::min<unsigned __int128>(quota, UINT64_MAX)), .period = cpu_max->period});
}

}  // namespace nacre::runtime
