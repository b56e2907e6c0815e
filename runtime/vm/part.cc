// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/part.h"

#include <cstdlib>

#include "base/fd.h"

namespace nacre::runtime {

namespace {

constexpr const char* kName = "vm.part";

}  // namespace

Result<void> keep_part(const ContainerDir& dir, uint64_t bytes) {
  return replace_file(dir.file(kName), std::to_string(bytes) + "\n");
}

uint64_t kept_part(const ContainerDir& dir) {
  auto text = read_file(dir.file(kName));
  return text ? std::strtoull(text->c_str(), nullptr, 10) : 0;
}

}  // namespace nacre::runtime
