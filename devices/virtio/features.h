// SPDX-License-Identifier: Apache-2.0
// Feature bits that the transport offers for every device (virtio 1.3, section 6).
#pragma once

#include <cstdint>

namespace nacre::virtio {

inline constexpr uint64_t kFeatureIndirectDesc = 1ull << 28;
inline constexpr uint64_t kFeatureEventIdx = 1ull << 29;
inline constexpr uint64_t kFeatureVersion1 = 1ull << 32;

}  // namespace nacre::virtio
