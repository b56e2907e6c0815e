// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/container_id.h"

#include <algorithm>

namespace nacre::runtime {

namespace {

constexpr size_t kMaxFileName = 255;

bool allowed(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_+-.").contains(c);
}

}  // namespace

Result<void> check_container_id(std::string_view id) {
  if (id.empty()) return fail("container id cannot be empty", EINVAL);
  if (id == "." || id == ".." || id.size() > kMaxFileName || !std::ranges::all_of(id, allowed)) {
    return fail("invalid container ID format: \"" + std::string(id.substr(0, kMaxFileName)) + "\"", EINVAL);
  }
  return {};
}

}  // namespace nacre::runtime
