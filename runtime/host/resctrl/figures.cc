// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/resctrl/figures.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <vector>

#include "base/directory.h"
#include "base/fd.h"

namespace nacre::resctrl {

namespace {

using OrderedJson = nlohmann::ordered_json;

std::string trimmed(const std::string& text) {
  size_t first = text.find_first_not_of(" \n"), last = text.find_last_not_of(" \n");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

Result<uint64_t> read_number(const std::string& path) {
  std::string text = trimmed(TRY(read_file(path)));
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  // A counter may read "Unavailable".
  if (error != std::errc() || end != text.data() + text.size())
    return fail(path + ": \"" + text + "\" is no number", EINVAL);
  return number;
}

// Adds the line about a resource, "L3" or "MB".
void add_line(OrderedJson& data, const char* name, const std::vector<std::string>& lines, const char* resource) {
  for (const auto& line : lines) {
    if (line.contains(resource)) data[name] = trimmed(line);
  }
}

Result<OrderedJson> cache_info(const std::string& directory) {
  OrderedJson info;
  info["cbm_mask"] = trimmed(TRY(read_file(directory + "/cbm_mask")));
  for (const char* name : {"min_cbm_bits", "num_closids"}) info[name] = TRY(read_number(directory + "/" + name));
  return info;
}

Result<OrderedJson> bandwidth_info(const std::string& directory) {
  OrderedJson info;
  for (const char* name : {"bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"}) {
    info[name] = TRY(read_number(directory + "/" + name));
  }
  return info;
}

// Returns an object for each cache, with the counters that the CPU has.
Result<OrderedJson> counters(const std::string& group, const std::vector<std::string>& names) {
  OrderedJson all = OrderedJson::array();
  auto caches = directories_in(group + "/mon_data");
  std::ranges::sort(caches);
  for (const auto& cache : caches) {
    OrderedJson of_cache;
    for (const auto& name : names) of_cache[name] = TRY(read_number(cache + "/" + name));
    all.push_back(std::move(of_cache));
  }
  return all;
}

}  // namespace

Result<OrderedJson> figures(const std::string& root, const Group& group) {
  OrderedJson data = OrderedJson::object();
  auto common = lines_of(TRY(read_file(root + "/schemata")));
  auto own = lines_of(TRY(read_file(group.path + "/schemata")));
  if (has_cache_allocation(root)) {
    data["l3_cache_info"] = TRY(cache_info(root + "/info/L3"));
    add_line(data, "l3_cache_schema_root", common, "L3");
    add_line(data, "l3_cache_schema", own, "L3");
  }
  if (has_bandwidth_allocation(root)) {
    data["mem_bw_info"] = TRY(bandwidth_info(root + "/info/MB"));
    add_line(data, "mem_bw_schema_root", common, "MB");
    add_line(data, "mem_bw_schema", own, "MB");
  }
  data["schemata"] = own;
  if (!has_monitoring(root)) return data;
  auto features = lines_of(TRY(read_file(root + "/info/L3_MON/mon_features")));
  auto has = [&features](const char* name) { return std::ranges::find(features, name) != features.end(); };
  const std::string& monitored = group.monitoring.empty() ? group.path : group.monitoring;
  std::vector<std::string> bandwidth;
  for (const char* name : {"mbm_total_bytes", "mbm_local_bytes"}) {
    if (has(name)) bandwidth.emplace_back(name);
  }
  if (!bandwidth.empty()) data["mbm_stats"] = TRY(counters(monitored, bandwidth));
  if (has("llc_occupancy")) data["cmt_stats"] = TRY(counters(monitored, {"llc_occupancy"}));
  return data;
}

}  // namespace nacre::resctrl
