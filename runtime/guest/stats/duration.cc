// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/stats/duration.h"

#include <charconv>
#include <string>

namespace nacre::stats {

namespace {

struct Unit {
  std::string_view name;
  double nanoseconds;
};

constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3}, {"µs", 1e3}, {"μs", 1e3},
                           {"ms", 1e6}, {"s", 1e9},  {"m", 60e9}, {"h", 3600e9}};

}  // namespace

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  auto wrong = [text] { return fail("invalid duration \"" + std::string(text) + "\"", EINVAL); };
  std::string_view rest = text;
  double sign = rest.starts_with('-') ? -1 : 1;
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return std::chrono::nanoseconds(0);
  if (rest.empty()) return wrong();
  double total = 0;
  while (!rest.empty()) {
    double number = 0;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number, std::chars_format::fixed);
    if (error != std::errc() || number < 0 || !(number <= 1e18)) return wrong();
    rest.remove_prefix(static_cast<size_t>(end - rest.data()));
    std::string_view name = rest.substr(0, std::min(rest.find_first_of("0123456789.-+"), rest.size()));
    double unit = 0;
    for (const Unit& known : kUnits) {
      if (known.name == name) unit = known.nanoseconds;
    }
    if (unit == 0) return wrong();
    total += number * unit;
    rest.remove_prefix(name.size());
  }
  if (total > 9e18) return wrong();
  return std::chrono::nanoseconds(static_cast<int64_t>(sign * total));
}

}  // namespace nacre::stats
