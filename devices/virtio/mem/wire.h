// SPDX-License-Identifier: Apache-2.0
// What virtio-mem puts on its queue and in its configuration space (virtio 1.3, 5.15). All fields are little-endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace nacre::virtio::mem {

// Both architectures that Nacre runs on are little-endian too, so the structures below need no conversion.
static_assert(std::endian::native == std::endian::little);

inline constexpr uint32_t kDeviceType = 24;
// VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE (5.15.3): the driver must not even read what is not plugged.
inline constexpr uint64_t kFeatureUnpluggedInaccessible = 1ull << 1;

// struct virtio_mem_config (5.15.4). Sizes and addresses in bytes.
struct Config {
  uint64_t block_size;  // the unit of plugging and unplugging; addresses are multiples of it
  uint16_t node_id;     // only with VIRTIO_MEM_F_ACPI_PXM
  uint8_t padding[6];
  uint64_t addr;                // the region's start in guest memory
  uint64_t region_size;         // the most memory that the guest can ever have
  uint64_t usable_region_size;  // blocks can be plugged below this size
  uint64_t plugged_size;        // what the driver has plugged
  uint64_t requested_size;      // what the driver should have plugged
};
static_assert(sizeof(Config) == 56);

// struct virtio_mem_req (5.15.6): a type, and a range for all types but UNPLUG_ALL.
enum class RequestType : uint16_t {
  plug = 0,
  unplug = 1,
  unplug_all = 2,
  state = 3,
};
struct Request {
  RequestType type;
  uint16_t padding[3];
  uint64_t addr;
  uint16_t nb_blocks;
  uint16_t padding2[3];
};
static_assert(sizeof(Request) == 24);

// struct virtio_mem_resp (5.15.6).
enum class ResponseType : uint16_t {
  ack = 0,
  nack = 1,   // not allowed now: more memory, or more open chunks, than the requested size allows
  busy = 2,   // not possible now: try again later
  error = 3,  // the request makes no sense
};
inline constexpr uint16_t kStatePlugged = 0;
inline constexpr uint16_t kStateUnplugged = 1;
inline constexpr uint16_t kStateMixed = 2;
struct Response {
  ResponseType type;
  uint16_t padding[3];
  uint16_t state;  // answers RequestType::state
};
static_assert(sizeof(Response) == 10);

}  // namespace nacre::virtio::mem
