// SPDX-License-Identifier: Apache-2.0
// Translates the attributes of host files into those that the guest sees.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "devices/virtio/fs/errno_result.h"
#include "devices/virtio/fs/wire.h"

namespace nacre::virtio::fs {

// Returns the attributes of the file that a descriptor (O_PATH or open) refers to, with birth time and mount id.
OrErrno<struct statx> stat_descriptor(int fd);

// Returns whether the file lies on a /proc of the host. None is served: this process's own memory is a file there,
// which this process may open, and so are settings of the host.
bool is_on_proc(int fd);

inline uint64_t device_of(const struct statx& stat) {
  return uint64_t{stat.stx_dev_major} << 32 | stat.stx_dev_minor;
}

// Numbers inodes for the guest. The guest sees one file system, but the host may have several mounted below the share.
// Different (device, inode) pairs of the host therefore get different numbers, until there are no numbers left (see
// map() in attributes.cc). Inode numbers below 2^48 on the share's own device stay as they are.
//
// Each pair of a device and the upper 16 bits of an inode number is a space. A space gets upper 16 bits of its own.
// There are few spaces: file systems number inodes from 1 upwards, and overlayfs marks its layers in the topmost bits.
class InodeNumbers {
 public:
  explicit InodeNumbers(uint64_t root_device);
  uint64_t map(uint64_t device, uint64_t inode);

  struct Space {
    uint64_t device;
    uint64_t upper;
    bool operator==(const Space&) const = default;
  };

  // These two are for save and restore: the guest must see the same numbers again.
  const auto& spaces() const { return spaces_; }
  // Gives a space its former number. Returns false if the number is in use, or if the space has another number.
  bool adopt(const Space& space, uint16_t number);

 private:
  struct Hash {
    size_t operator()(const Space& space) const noexcept {
      return std::hash<uint64_t>()(space.device * 0x9e3779b97f4a7c15 + space.upper);
    }
  };

  std::unordered_map<Space, uint16_t, Hash> spaces_;
  std::unordered_set<uint16_t> used_{0};  // the numbers that spaces have
  uint32_t next_ = 1;
};

wire::Attr to_attr(const struct statx& stat, InodeNumbers& numbers);
wire::Statx to_statx(const struct statx& stat, InodeNumbers& numbers);

// Encodes or decodes a device number in the kernel's 32-bit form (new_encode_dev), which FUSE uses.
uint32_t encode_device(uint32_t major, uint32_t minor);
dev_t decode_device(uint32_t encoded);

}  // namespace nacre::virtio::fs
