// SPDX-License-Identifier: Apache-2.0
// Fuzzes which ids of the host a VM gets: from the mappings of a container's user namespace and of its mounts.
//
// The kernel must take the result as an id map, and it has each id that a mapping has, and no other.
#include <algorithm>

#include "runtime/plan/file_ids.h"
#include "tests/fuzz/input.h"
#include "vmm/api/config.h"

namespace {

using namespace nacre;
using Json = nlohmann::json;
using Ranges = std::vector<vmm::IdRange>;

constexpr uint32_t kIds = 1 << 15;  // few enough to look at each

// Takes ranges that do not overlap on either side, as check_mappings() wants them.
Json take_mappings(fuzz::Input& input) {
  Json list = Json::array();
  uint32_t inside = 0, outside = input.take<uint8_t>();
  for (int left = input.take<uint8_t>() % 5; left > 0; left--) {
    uint32_t size = 1 + input.take<uint8_t>();
    list.push_back({{"containerID", inside}, {"hostID", outside}, {"size", size}});
    inside += size + input.take<uint8_t>();
    outside += size + input.take<uint8_t>() * 16;
  }
  return list;
}

void mark(std::vector<bool>& ids, uint32_t first, uint32_t count) {
  std::fill_n(ids.begin() + first, count, true);
}

void mark(std::vector<bool>& ids, const Json& list, const char* side) {
  for (const Json& range : list) mark(ids, range[side], range["size"]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  Json own = take_mappings(input);
  if (own.empty()) return 0;
  std::vector<bool> wanted(kIds);
  mark(wanted, own, "hostID");
  std::vector<oci::Mount> mounts;
  for (int left = input.take<uint8_t>() % 4; left > 0; left--) {
    Json list = input.take<uint8_t>() % 2 == 0 ? own : take_mappings(input);
    mark(wanted, list, "containerID");
    mounts.push_back({.name = "mounts",
                      .destination = "/a",
                      .source = "/b",
                      .bind = true,
                      .json = {{"uidMappings", list}, {"gidMappings", list}}});
  }
  auto ids = runtime::file_ids({{"uidMappings", own}, {"gidMappings", own}}, mounts);
  fuzz::check(ids.uids == ids.gids, "users and groups differ");
  fuzz::check(ids.uids.front().first == own[0]["hostID"], "the first id is not that of the container's root");

  vmm::Config config;
  config.kernel = "k";
  config.jail.uids = config.jail.gids = ids.uids;
  fuzz::check(vmm::check(config).has_value(), "the kernel would not take the ids");
  std::vector<bool> got(kIds);
  for (const vmm::IdRange& range : ids.uids) mark(got, range.first, range.count);
  fuzz::check(got == wanted, "an id is too many, or is missing");
  vmm::IdRange some{.first = input.take<uint16_t>() % (kIds / 2), .count = 1u + input.take<uint8_t>()};
  bool has_all =
      std::all_of(got.begin() + some.first, got.begin() + some.first + some.count, [](bool id) { return id; });
  fuzz::check(runtime::covers(ids.uids, {some}) == has_all, "a VM does not know which ids it has");
  return 0;
}
