// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/file_ids.h"

#include <algorithm>
#include <cstdint>

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;
using Ranges = std::vector<vmm::IdRange>;

uint64_t end_of(const vmm::IdRange& range) {
  return uint64_t{range.first} + range.count;
}

// Returns the range that has the id, or null.
const vmm::IdRange* find(const Ranges& ranges, uint64_t id) {
  auto found = std::ranges::find_if(ranges, [&](const auto& range) { return range.first <= id && id < end_of(range); });
  return found == ranges.end() ? nullptr : &*found;
}

// Adds the ids of the range that are not there yet, since the kernel takes no ranges that overlap.
void add(Ranges& ranges, const vmm::IdRange& more) {
  for (uint64_t id = more.first; id < end_of(more);) {
    if (const vmm::IdRange* range = find(ranges, id)) {
      id = end_of(*range);
      continue;
    }
    uint64_t end = end_of(more);
    for (const vmm::IdRange& range : ranges) {
      if (range.first > id) end = std::min<uint64_t>(end, range.first);
    }
    ranges.push_back({.first = static_cast<uint32_t>(id), .count = static_cast<uint32_t>(end - id)});
    id = end;
  }
}

void add_side(Ranges& ranges, const Json& list, const char* side) {
  for (const Json& range : list) add(ranges, {.first = range.at(side), .count = range.at("size")});
}

bool maps_ids(const Json& mount) {
  const Json options = mount.value("options", Json::array());
  return mount.contains("uidMappings") ||
         std::ranges::any_of(options, [](const Json& option) { return option == "idmap" || option == "ridmap"; });
}

Ranges ids_of(const char* name, const Json& mappings, const std::vector<oci::Mount>& mounts) {
  Ranges ranges;
  const Json& own = mappings.at(name);
  auto root = std::ranges::find_if(own, [](const Json& range) { return range.at("containerID") == 0; });
  if (root != own.end()) add(ranges, {.first = root->at("hostID"), .count = root->at("size")});
  add_side(ranges, own, "hostID");
  for (const oci::Mount& mount : mounts) {
    // In the mapping of a mount, "containerID" is the id in the file system (config.md, "mounts").
    if (mount.bind && maps_ids(mount.json)) add_side(ranges, mount.json.value(name, own), "containerID");
  }
  return ranges;
}

}  // namespace

FileIds file_ids(const Json& mappings, const std::vector<oci::Mount>& mounts) {
  if (mappings.is_null()) return {};
  return {.uids = ids_of("uidMappings", mappings, mounts), .gids = ids_of("gidMappings", mappings, mounts)};
}

bool covers(const Ranges& all, const Ranges& wanted) {
  if (all.empty()) return true;
  return !wanted.empty() && std::ranges::all_of(wanted, [&](const vmm::IdRange& range) {
    for (uint64_t id = range.first; id < end_of(range);) {
      const vmm::IdRange* found = find(all, id);
      if (found == nullptr) return false;
      id = end_of(*found);
    }
    return true;
  });
}

}  // namespace nacre::runtime
