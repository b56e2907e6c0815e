// SPDX-License-Identifier: Apache-2.0
// What virtio-vsock puts on its queues (virtio 1.3, 5.10.6). All fields are little-endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace nacre::virtio::vsock {

// Both architectures that Nacre runs on are little-endian too, so the structures below need no conversion.
static_assert(std::endian::native == std::endian::little);

inline constexpr uint32_t kDeviceType = 19;
inline constexpr uint64_t kFeatureStream = 1ull << 0;  // VIRTIO_VSOCK_F_STREAM

inline constexpr uint64_t kHostCid = 2;

// virtio_vsock_hdr.type
inline constexpr uint16_t kTypeStream = 1;

// virtio_vsock_hdr.op
enum class Op : uint16_t {
  invalid = 0,
  request = 1,
  response = 2,
  reset = 3,
  shutdown = 4,
  data = 5,  // VIRTIO_VSOCK_OP_RW
  credit_update = 6,
  credit_request = 7,
};

// virtio_vsock_hdr.flags of a shutdown: what its sender will no longer do.
inline constexpr uint32_t kShutdownReceive = 1u << 0;
inline constexpr uint32_t kShutdownSend = 1u << 1;
inline constexpr uint32_t kShutdownBoth = kShutdownReceive | kShutdownSend;

// struct virtio_vsock_hdr
struct [[gnu::packed]] Header {
  uint64_t src_cid;
  uint64_t dst_cid;
  uint32_t src_port;
  uint32_t dst_port;
  uint32_t len;  // bytes of payload after the header
  uint16_t type;
  Op op;
  uint32_t flags;
  uint32_t buf_alloc;  // the size of the sender's receive buffer for this stream, in bytes
  uint32_t fwd_cnt;    // bytes that the sender has taken out of that buffer so far, modulo 2^32
};
inline constexpr size_t kHeaderSize = 44;
static_assert(sizeof(Header) == kHeaderSize);

// struct virtio_vsock_event, on the event queue
struct Event {
  uint32_t id;
};
inline constexpr uint32_t kEventTransportReset = 0;

}  // namespace nacre::virtio::vsock
