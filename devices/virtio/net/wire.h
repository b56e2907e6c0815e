// SPDX-License-Identifier: Apache-2.0
// What virtio-net puts on its queues and in its configuration space (virtio 1.3, 5.1). All fields are little-endian.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace nacre::virtio::net {

// Both architectures that Nacre runs on are little-endian too, so the structures below need no conversion.
static_assert(std::endian::native == std::endian::little);

inline constexpr uint32_t kDeviceType = 1;

// Feature bits (5.1.3). CSUM and HOST_... say what the driver may leave to the device, and GUEST_... what the device
// may leave to the driver.
inline constexpr uint64_t kFeatureCsum = 1ull << 0;
inline constexpr uint64_t kFeatureGuestCsum = 1ull << 1;
inline constexpr uint64_t kFeatureMac = 1ull << 5;
inline constexpr uint64_t kFeatureGuestTso4 = 1ull << 7;
inline constexpr uint64_t kFeatureGuestTso6 = 1ull << 8;
inline constexpr uint64_t kFeatureGuestEcn = 1ull << 9;
inline constexpr uint64_t kFeatureHostTso4 = 1ull << 11;
inline constexpr uint64_t kFeatureHostTso6 = 1ull << 12;
inline constexpr uint64_t kFeatureHostEcn = 1ull << 13;
inline constexpr uint64_t kFeatureMrgRxbuf = 1ull << 15;
inline constexpr uint64_t kFeatureStatus = 1ull << 16;
inline constexpr uint64_t kFeatureGuestUso4 = 1ull << 54;
inline constexpr uint64_t kFeatureGuestUso6 = 1ull << 55;
inline constexpr uint64_t kFeatureHostUso = 1ull << 56;

using MacAddress = std::array<uint8_t, 6>;

// The part of struct virtio_net_config (5.1.4) that the features on offer give a meaning.
struct Config {
  MacAddress mac;
  uint16_t status;
};
static_assert(sizeof(Config) == 8);
inline constexpr uint16_t kStatusLinkUp = 1;

// struct virtio_net_hdr (5.1.6), before each frame on both queues.
struct Header {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;      // bytes of headers that each segment gets
  uint16_t gso_size;     // bytes of payload in each segment
  uint16_t csum_start;   // from here to the end of the frame the checksum is to be computed,
  uint16_t csum_offset;  // and so many bytes further on it is to be stored
  uint16_t num_buffers;  // receive only: over how many chains the frame is spread
};
static_assert(sizeof(Header) == 12);

inline constexpr uint8_t kNeedsCsum = 1;
inline constexpr uint8_t kDataValid = 2;

inline constexpr uint8_t kGsoNone = 0;
inline constexpr uint8_t kGsoTcp4 = 1;
inline constexpr uint8_t kGsoTcp6 = 4;
inline constexpr uint8_t kGsoUdp = 5;     // VIRTIO_NET_HDR_GSO_UDP_L4
inline constexpr uint8_t kGsoEcn = 0x80;  // set beside one of TCP's types

// Sizes of frames in bytes, without the header above. The largest is what segmentation starts from: 64 KiB of IP behind
// an Ethernet header with a VLAN tag.
inline constexpr size_t kMinFrame = 14;
inline constexpr size_t kMaxFrame = 14 + 4 + (64 << 10);

}  // namespace nacre::virtio::net
