// SPDX-License-Identifier: Apache-2.0
#include "oci/cpu_list.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace nacre::oci {

unsigned count_cpus(std::string_view list, unsigned most) {
  uint64_t count = 0;
  while (!list.empty()) {
    std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(part.size() + 1, list.size()));
    uint64_t first = 0, last = 0;
    const char* end = part.data() + part.size();
    auto [at, error] = std::from_chars(part.data(), end, first);
    last = first;
    if (error != std::errc()) continue;
    if (at != end && *at == '-') std::from_chars(at + 1, end, last);
    count = std::min<uint64_t>(count + (last < first ? 0 : std::min<uint64_t>(last - first, most) + 1), most);
  }
  return static_cast<unsigned>(count);
}

std::string cpu_list(const std::vector<unsigned>& cpus) {
  std::string list;
  for (size_t at = 0; at < cpus.size();) {
    size_t last = at;
    while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) last++;
    if (!list.empty()) list += ',';
    list += std::to_string(cpus[at]);
    if (last > at) list += '-' + std::to_string(cpus[last]);
    at = last + 1;
  }
  return list;
}

}  // namespace nacre::oci
