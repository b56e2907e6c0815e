// SPDX-License-Identifier: Apache-2.0
// The device configuration space (virtio 1.3, 2.5) of a device whose configuration is one plain structure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace nacre::virtio {

// Copies the part of `config` that begins at `offset` into `data`. Bytes beyond the structure read as zeroes.
template <typename Config>
void read_config_space(const Config& config, uint64_t offset, std::span<std::byte> data) {
  static_assert(std::is_trivially_copyable_v<Config>);
  std::ranges::fill(data, std::byte{0});
  auto bytes = std::as_bytes(std::span(&config, 1));
  if (offset >= bytes.size()) return;
  std::memcpy(data.data(), bytes.data() + offset, std::min<size_t>(data.size(), bytes.size() - offset));
}

}  // namespace nacre::virtio
