// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/kept_resources.h"

#include "base/fd.h"
#include "runtime/config/config.h"

namespace nacre::runtime {

namespace {

constexpr const char* kName = "resources.json";

}  // namespace

Result<void> keep_resources(const ContainerDir& dir, const nlohmann::json& resources) {
  return replace_file(dir.file(kName), resources.dump() + "\n");
}

Result<nlohmann::json> kept_resources(const ContainerDir& dir) {
  auto text = read_file(dir.file(kName));
  if (!text && text.error().code() == ENOENT) return nlohmann::json::object();
  if (!text) return std::unexpected(text.error());
  nlohmann::json resources = TRY(oci::parse_json(*text, kName));
  TRY(oci::check_resources(resources, kName));
  return resources;
}

}  // namespace nacre::runtime
