// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net/headers.h"

namespace nacre::virtio::net {

namespace {

constexpr size_t kChecksumSize = 2;

// What a kind of segmentation takes, for frames of the driver and for frames to it. All kinds store checksums.
struct Segmentation {
  uint8_t gso_type;
  uint64_t host, guest;
};
constexpr Segmentation kSegmentations[] = {
    {kGsoTcp4, kFeatureHostTso4, kFeatureGuestTso4},
    {kGsoTcp6, kFeatureHostTso6, kFeatureGuestTso6},
    {kGsoTcp4 | kGsoEcn, kFeatureHostTso4 | kFeatureHostEcn, kFeatureGuestTso4 | kFeatureGuestEcn},
    {kGsoTcp6 | kGsoEcn, kFeatureHostTso6 | kFeatureHostEcn, kFeatureGuestTso6 | kFeatureGuestEcn},
    // The guest's features tell IPv4 from IPv6, and the header does not.
    {kGsoUdp, kFeatureHostUso, kFeatureGuestUso4 | kFeatureGuestUso6},
};

const Segmentation* find_segmentation(uint8_t gso_type) {
  for (const Segmentation& kind : kSegmentations) {
    if (kind.gso_type == gso_type) return &kind;
  }
  return nullptr;
}

bool has_all(uint64_t features, uint64_t wanted) {
  return (features & wanted) == wanted;
}

}  // namespace

bool prepare_to_send(Header& header, size_t size, uint64_t features) {
  if (size < kMinFrame || size > kMaxFrame) return false;
  // Flags that are not known are ignored (5.1.6.2.2), and so are fields that nothing gives a meaning.
  Header safe{};
  if (header.flags & kNeedsCsum) {
    if (!has_all(features, kFeatureCsum)) return false;
    if (size_t{header.csum_start} + header.csum_offset + kChecksumSize > size) return false;
    safe.flags = kNeedsCsum;
    safe.csum_start = header.csum_start;
    safe.csum_offset = header.csum_offset;
  }
  if (header.gso_type != kGsoNone) {
    const Segmentation* kind = find_segmentation(header.gso_type);
    if (kind == nullptr || !has_all(features, kind->host) || !(safe.flags & kNeedsCsum)) return false;
    if (header.gso_size == 0 || header.hdr_len > size) return false;
    safe.gso_type = header.gso_type;
    safe.gso_size = header.gso_size;
    safe.hdr_len = header.hdr_len;
  }
  header = safe;
  return true;
}

bool prepare_to_deliver(Header& header, uint64_t features) {
  const bool checksums = has_all(features, kFeatureGuestCsum);
  if (!checksums && header.flags & kNeedsCsum) return false;
  header.flags &= checksums ? kNeedsCsum | kDataValid : 0;
  if (header.gso_type == kGsoNone) return true;
  const Segmentation* kind = find_segmentation(header.gso_type);
  return kind != nullptr && checksums && has_all(features, kind->guest);
}

}  // namespace nacre::virtio::net
