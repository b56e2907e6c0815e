// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/stats/statistics.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <map>
#include <string_view>

namespace nacre::stats {

namespace {

using Json = nlohmann::ordered_json;
using Figures = std::map<std::string, uint64_t, std::less<>>;

constexpr uint64_t kUnlimited = UINT64_MAX;
constexpr size_t kMaxEntries = 1024;  // at most, of one file
constexpr size_t kMaxName = 64;

// Finds files by name. A file whose content is not a string counts as empty.
class Files {
 public:
  explicit Files(const protocol::Texts& files) : files_(files) {}

  std::string_view text(std::string_view name) const {
    auto found = files_.find(std::string(name));
    return found == files_.end() ? std::string_view() : std::string_view(found->second);
  }
  const protocol::Texts& all() const { return files_; }

 private:
  const protocol::Texts& files_;
};

// Returns the part before `separator`, and leaves the rest in `text`.
std::string_view take(std::string_view& text, char separator) {
  size_t end = std::min(text.find(separator), text.size());
  std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

template <typename T>
bool parse_number(std::string_view text, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_name(std::string_view name) {
  constexpr std::string_view kGood = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
  return !name.empty() && name.size() <= kMaxName && name.find_first_not_of(kGood) == std::string_view::npos;
}

// Parses lines of the form "NAME NUMBER".
Figures flat_keyed(std::string_view text) {
  Figures figures;
  while (!text.empty() && figures.size() < kMaxEntries) {
    std::string_view line = take(text, '\n');
    std::string_view name = take(line, ' ');
    uint64_t value;
    if (is_name(name) && parse_number(line, value)) figures.emplace(name, value);
  }
  return figures;
}

uint64_t get(const Figures& figures, std::string_view name) {
  auto found = figures.find(name);
  return found == figures.end() ? 0 : found->second;
}

// Parses a file with one number. "max" gives `unlimited`.
uint64_t single(std::string_view text, uint64_t unlimited = kUnlimited) {
  std::string_view line = take(text, '\n');
  uint64_t value = 0;
  if (line == "max") return unlimited;
  return parse_number(line, value) ? value : 0;
}

uint64_t times_thousand(uint64_t value) {
  return value > UINT64_MAX / 1000 ? UINT64_MAX : value * 1000;
}

uint64_t sum(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

// Adds a value unless it is 0, like Go's omitempty.
void put_nonzero(Json& object, const char* name, uint64_t value) {
  if (value != 0) object[name] = value;
}

// Parses "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and a line for "full" in the same form.
void put_pressure(Json& object, std::string_view text) {
  Json pressure;
  while (!text.empty()) {
    std::string_view line = take(text, '\n');
    std::string_view kind = take(line, ' ');
    if (kind != "some" && kind != "full") continue;
    Json data = {{"avg10", 0}, {"avg60", 0}, {"avg300", 0}, {"total", 0}};
    while (!line.empty()) {
      std::string_view value = take(line, ' ');
      std::string name(take(value, '='));
      double average;
      uint64_t total;
      if (name == "total" && parse_number(value, total)) data[name] = total;
      if (name.starts_with("avg") && data.contains(name) && parse_number(value, average) && std::isfinite(average)) {
        data[name] = average;
      }
    }
    pressure[std::string(kind)] = data;
  }
  if (!pressure.is_null()) object["psi"] = pressure;
}

Json cpu(const Files& files) {
  Figures stat = flat_keyed(files.text("cpu.stat"));
  Json usage = Json::object(), throttling = Json::object();
  put_nonzero(usage, "total", times_thousand(get(stat, "usage_usec")));
  usage["kernel"] = times_thousand(get(stat, "system_usec"));
  usage["user"] = times_thousand(get(stat, "user_usec"));
  put_nonzero(throttling, "periods", get(stat, "nr_periods"));
  put_nonzero(throttling, "throttledPeriods", get(stat, "nr_throttled"));
  put_nonzero(throttling, "throttledTime", times_thousand(get(stat, "throttled_usec")));
  Json result = {{"usage", usage}, {"throttling", throttling}};
  put_pressure(result, files.text("cpu.pressure"));
  return result;
}

// Returns the cpuset figures of cgroup v1, all zero: cgroup v2 has no such figures.
Json cpuset() {
  Json result = Json::object();
  for (const char* name : {"cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
                           "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"}) {
    result[name] = 0;
  }
  return result;
}

Json memory_entry(uint64_t limit, uint64_t usage, uint64_t max) {
  Json entry = {{"limit", limit}};
  put_nonzero(entry, "usage", usage);
  put_nonzero(entry, "max", max);
  entry["failcnt"] = 0;
  return entry;
}

Json memory(const Files& files) {
  Figures stat = flat_keyed(files.text("memory.stat"));
  uint64_t usage = single(files.text("memory.current")), limit = single(files.text("memory.max"));
  // v1 counts memory and swap together.
  uint64_t swap_usage = sum(single(files.text("memory.swap.current")), usage);
  uint64_t swap_limit = single(files.text("memory.swap.max"));
  if (swap_limit != kUnlimited) swap_limit = sum(swap_limit, limit);
  Json result = Json::object();
  put_nonzero(result, "cache", get(stat, "file"));
  result["usage"] = memory_entry(limit, usage, single(files.text("memory.peak")));
  result["swap"] = memory_entry(swap_limit, swap_usage, 0);
  result["kernel"] = memory_entry(0, 0, 0);
  result["kernelTCP"] = memory_entry(0, 0, 0);
  if (!stat.empty()) result["raw"] = stat;
  put_pressure(result, files.text("memory.pressure"));
  return result;
}

Json pids(const Files& files) {
  Json result = Json::object();
  put_nonzero(result, "current", single(files.text("pids.current")));
  put_nonzero(result, "limit", single(files.text("pids.max"), 0));
  return result;
}

// Parses io.stat: "MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N ...".
Json blkio(const Files& files) {
  Json bytes = Json::array(), operations = Json::array();
  auto has_room = [&] { return bytes.size() < kMaxEntries && operations.size() < kMaxEntries; };
  std::string_view text = files.text("io.stat");
  while (!text.empty() && has_room()) {
    std::string_view line = take(text, '\n');
    std::string_view device = take(line, ' ');
    uint64_t major, minor;
    if (!parse_number(take(device, ':'), major) || !parse_number(device, minor)) continue;
    while (!line.empty() && has_room()) {
      std::string_view value = take(line, ' ');
      std::string_view name = take(value, '=');
      uint64_t number;
      bool known = name == "rbytes" || name == "wbytes" || name == "rios" || name == "wios";
      if (!known || !parse_number(value, number)) continue;
      Json entry = Json::object();
      put_nonzero(entry, "major", major);
      put_nonzero(entry, "minor", minor);
      entry["op"] = name[0] == 'r' ? "Read" : "Write";
      put_nonzero(entry, "value", number);
      (name.ends_with("bytes") ? bytes : operations).push_back(std::move(entry));
    }
  }
  Json result = Json::object();
  if (!bytes.empty()) result["ioServiceBytesRecursive"] = bytes;
  if (!operations.empty()) result["ioServicedRecursive"] = operations;
  put_pressure(result, files.text("io.pressure"));
  return result;
}

// Reads hugetlb.SIZE.current and hugetlb.SIZE.events.
Json hugetlb(const Files& files) {
  Json result = Json::object();
  for (const auto& [name, value] : files.all()) {
    constexpr std::string_view kPrefix = "hugetlb.", kSuffix = ".current";
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) continue;
    if (name.size() <= kPrefix.size() + kSuffix.size() || name.contains(".rsvd.")) continue;
    std::string size = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
    if (!is_name(size) || result.size() == kMaxEntries) continue;
    Json entry = Json::object();
    put_nonzero(entry, "usage", single(files.text(name)));
    entry["failcnt"] = get(flat_keyed(files.text("hugetlb." + size + ".events")), "max");
    result[size] = entry;
  }
  return result;
}

}  // namespace

Json from_guest(const protocol::StatisticsReply& reply) {
  Files files(reply.files);
  Json data;
  data["cpu"] = cpu(files);
  data["cpuset"] = cpuset();
  data["memory"] = memory(files);
  data["pids"] = pids(files);
  data["blkio"] = blkio(files);
  data["hugetlb"] = hugetlb(files);
  data["intel_rdt"] = Json::object();  // the caller fills in the host's figures
  data["network_interfaces"] = nullptr;
  return data;
}

std::string event_line(const std::string& type, const std::string& id, const Json* data) {
  Json event = {{"type", type}, {"id", id}};
  if (data != nullptr) event["data"] = *data;
  return event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace nacre::stats
