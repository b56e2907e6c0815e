// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/resource_changes.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>

#include "runtime/config/config.h"

namespace nacre::oci {

namespace {

using Json = nlohmann::json;

template <typename T>
Result<T> parse_integer(const char* flag, const std::string& text) {
  T value{};
  const char* first = text.data() + (text.starts_with('+') ? 1 : 0);
  auto [end, error] = std::from_chars(first, text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return fail(std::string("invalid value for ") + flag + ": \"" + text + "\" is not a number in range", EINVAL);
}

struct NumberFlag {
  const char* name;
  std::string ResourceFlags::* text;
  bool is_signed;
  const char* group;
  const char* field;
};

constexpr NumberFlag kNumbers[] = {
    {"blkio-weight", &ResourceFlags::blkio_weight, false, "blockIO", "weight"},
    {"cpu-period", &ResourceFlags::cpu_period, false, "cpu", "period"},
    {"cpu-quota", &ResourceFlags::cpu_quota, true, "cpu", "quota"},
    {"cpu-burst", &ResourceFlags::cpu_burst, false, "cpu", "burst"},
    {"cpu-share", &ResourceFlags::cpu_share, false, "cpu", "shares"},
    {"cpu-rt-period", &ResourceFlags::cpu_rt_period, false, "cpu", "realtimePeriod"},
    {"cpu-rt-runtime", &ResourceFlags::cpu_rt_runtime, true, "cpu", "realtimeRuntime"},
    {"cpu-idle", &ResourceFlags::cpu_idle, true, "cpu", "idle"},
    {"pids-limit", &ResourceFlags::pids_limit, true, "pids", "limit"},
};

struct MemoryFlag {
  const char* name;
  std::string ResourceFlags::* text;
  const char* field;
};

constexpr MemoryFlag kMemoryFlags[] = {
    {"memory", &ResourceFlags::memory, "limit"},
    {"memory-swap", &ResourceFlags::memory_swap, "swap"},
    {"memory-reservation", &ResourceFlags::memory_reservation, "reservation"},
    {"kernel-memory", &ResourceFlags::kernel_memory, "kernel"},
    {"kernel-memory-tcp", &ResourceFlags::kernel_memory_tcp, "kernelTCP"},
};

bool is_unset(const std::string& name, const Json& value) {
  if (name == "idle" || name == "burst" || name == "checkBeforeUpdate") return false;  // runc: pointers, or a flag
  return value == 0 || value == "" || (value.is_structured() && value.empty());
}

int64_t integer(const Json& resources, const char* group, const char* field) {
  auto found = resources.find(group);
  if (found == resources.end() || !found->contains(field)) return 0;
  const Json& value = (*found)[field];
  // Checked; only values that no machine has are above.
  bool huge = value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX;
  return huge ? INT64_MAX : value.get<int64_t>();
}

// Two values that the guest must see together: the one that does not change comes from what is kept.
void complete(Json& apply, const Json& kept, const char* group, const char* one, const char* other) {
  if (!apply.contains(group)) return;
  for (auto [there, missing] : {std::pair(one, other), std::pair(other, one)}) {
    bool asked = apply[group].contains(there), complete = apply[group].contains(missing);
    if (asked && !complete && integer(kept, group, missing) != 0) apply[group][missing] = kept.at(group).at(missing);
  }
}

}  // namespace

Result<int64_t> parse_memory(const std::string& text) {
  auto wrong = [&text] { return fail("invalid size: '" + text + "'", EINVAL); };
  double number = 0;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || text.starts_with('-')) return wrong();
  std::string unit;
  for (; at < end; at++) unit += static_cast<char>(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
  if (unit.starts_with(' ')) unit.erase(0, 1);
  if (unit.ends_with('b')) unit.pop_back();
  constexpr std::string_view kUnits = "kmgtp";
  size_t power = 0;
  if (!unit.empty()) {
    power = kUnits.find(unit[0]) + 1;
    if (power == 0 || (unit.size() > 1 && unit.substr(1) != "i")) return wrong();
  }
  for (size_t i = 0; i < power; i++) number *= 1024;
  if (!(number >= 0 && number < 9e18)) return wrong();
  return static_cast<int64_t>(number);
}

Result<Json> from_flags(const ResourceFlags& flags) {
  Json resources = Json::object();
  for (const NumberFlag& flag : kNumbers) {
    const std::string& text = flags.*flag.text;
    if (text.empty()) continue;
    if (flag.is_signed) {
      resources[flag.group][flag.field] = TRY(parse_integer<int64_t>(flag.name, text));
    } else {
      resources[flag.group][flag.field] = TRY(parse_integer<uint64_t>(flag.name, text));
    }
  }
  for (const MemoryFlag& flag : kMemoryFlags) {
    const std::string& text = flags.*flag.text;
    if (text.empty()) continue;
    resources["memory"][flag.field] =
        text == "-1" ? int64_t{-1} : TRY_CONTEXT(parse_memory(text), std::string("invalid value for ") + flag.name);
  }
  if (!flags.cpuset_cpus.empty()) resources["cpu"]["cpus"] = flags.cpuset_cpus;
  if (!flags.cpuset_mems.empty()) resources["cpu"]["mems"] = flags.cpuset_mems;
  return resources;
}

Result<Json> check_changes(Json resources, std::vector<std::string>& warnings) {
  TRY(check_resources(resources, "resources"));
  resources.erase("devices");  // runc's update leaves them alone as well
  if (integer(resources, "memory", "kernel") != 0) {
    warnings.emplace_back("Kernel memory settings are ignored and will be removed");
  }
  if (integer(resources, "memory", "kernelTCP") != 0) {
    warnings.emplace_back("Kernel TCP memory settings are ignored and will be removed");
  }
  restrict_resources(resources, host_support(), "resources", warnings);
  Json changes = Json::object();
  for (const auto& [group, values] : resources.items()) {
    if (!values.is_object()) continue;
    for (const auto& [name, value] : values.items()) {
      if (group == "memory" && (name == "kernel" || name == "kernelTCP")) continue;
      if (!is_unset(name, value)) changes[group][name] = value;
    }
  }
  // "No limit" includes the swap, as it did with cgroup v1.
  if (integer(changes, "memory", "limit") == -1 && integer(changes, "memory", "swap") == 0) {
    changes["memory"]["swap"] = -1;
  }
  return changes;
}

Merged merge(const Json& kept, const Json& changes) {
  Merged merged{.apply = changes, .keep = kept};
  merged.keep.merge_patch(changes);
  if (merged.keep.contains("memory")) merged.keep["memory"].erase("checkBeforeUpdate");
  complete(merged.apply, kept, "cpu", "quota", "period");
  // `swap` counts memory and swap together. A new limit alone leaves the swap as it is, and moves the sum.
  int64_t swap = integer(kept, "memory", "swap"), limit = integer(kept, "memory", "limit");
  int64_t new_swap = integer(changes, "memory", "swap"), new_limit = integer(changes, "memory", "limit");
  if (new_limit > 0 && new_swap == 0 && swap > 0 && limit > 0 && swap >= limit) {
    bool fits = new_limit <= INT64_MAX - (swap - limit);
    merged.keep["memory"]["swap"] = fits ? swap - limit + new_limit : INT64_MAX;
  }
  if (new_swap > 0 && new_limit == 0 && limit > 0) merged.apply["memory"]["limit"] = limit;
  return merged;
}

}  // namespace nacre::oci
