// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/mappings.h"

#include <cstdint>

#include <nlohmann/json.hpp>

#include "runtime/config/schema.h"

namespace nacre::oci {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxRanges = 340;     // user_namespaces(7)
constexpr uint64_t kIds = UINT32_MAX;  // the last 32-bit number is none

struct IdRanges {
  const char* name;
  const char* ids;  // in runc's errors
  const char* root;
};

constexpr IdRanges kLists[] = {{"uidMappings", "uid", "user"}, {"gidMappings", "gid", "group"}};

bool overlaps(const Json& one, const Json& other, const char* side) {
  auto begin = one[side].get<uint64_t>(), other_begin = other[side].get<uint64_t>();
  return begin < other_begin + other["size"].get<uint64_t>() && other_begin < begin + one["size"].get<uint64_t>();
}

bool maps_root(const Json& list) {
  for (const Json& range : list) {
    if (range["containerID"] == 0 && range["size"] != 0) return true;
  }
  return false;
}

const Json* user_namespace(const Json& linux) {
  auto list = linux.find("namespaces");
  for (size_t i = 0; list != linux.end() && i < list->size(); i++) {
    if ((*list)[i]["type"] == "user") return &(*list)[i];
  }
  return nullptr;
}

}  // namespace

Result<void> check_mappings(const Json& list, const std::string& path) {
  if (list.size() > kMaxRanges) return wrong(path, "has more than " + std::to_string(kMaxRanges) + " ranges");
  for (size_t i = 0; i < list.size(); i++) {
    std::string entry = path + "[" + std::to_string(i) + "]";
    auto size = list[i]["size"].get<uint64_t>();
    if (size == 0) return wrong(entry + ".size", "must not be 0");
    for (const char* side : {"containerID", "hostID"}) {
      if (list[i][side].get<uint64_t>() + size > kIds)
        return wrong(entry, std::string(side) + " and size go past the last id");
      for (size_t other = 0; other < i; other++) {
        if (!overlaps(list[i], list[other], side)) continue;
        return wrong(entry, "overlaps " + path + "[" + std::to_string(other) + "] in " + side);
      }
    }
  }
  return {};
}

Result<void> check_user_namespace(const Json& linux, std::vector<std::string>& warnings) {
  const Json* wanted = user_namespace(linux);
  if (wanted && !wanted->value("path", "").empty()) return {};  // whose mappings are its own
  for (const auto& [name, ids, root] : kLists) {
    auto list = linux.find(name);
    bool any = list != linux.end() && !list->empty();
    std::string path = std::string("linux.") + name;
    if (!wanted) {
      if (any) warnings.push_back(path + ": without effect, since linux.namespaces has no user namespace");
      continue;
    }
    if (!any) return wrong(path, std::string("User namespaces enabled, but no ") + ids + " mappings found.");
    if (!maps_root(*list))
      return wrong(path, std::string("User namespaces enabled, but no ") + root + " mapping found.");
    TRY(check_mappings(*list, path));
  }
  return {};
}

Result<void> check_own_ids(const Json& linux, uint32_t uid, uint32_t gid) {
  if (user_namespace(linux) == nullptr) return fail("rootless container requires user namespaces", EPERM);
  for (const auto& [name, own] : {std::pair("uidMappings", uid), std::pair("gidMappings", gid)}) {
    auto list = linux.find(name);
    if (list == linux.end()) continue;  // a namespace by its path
    for (const Json& range : *list) {
      if (range["hostID"] == own && range["size"] == 1) continue;
      return fail(std::string("linux.") + name + ": the only id that a user without privilege may map is his own, " +
                      std::to_string(own),
                  EPERM);
    }
  }
  return {};
}

}  // namespace nacre::oci
