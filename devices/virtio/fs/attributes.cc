// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/attributes.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

namespace nacre::virtio::fs {
namespace {

constexpr int kUpperShift = 48;

wire::StatxTime to_time(const struct statx_timestamp& time) {
  return {.seconds = time.tv_sec, .nanoseconds = time.tv_nsec, .reserved = 0};
}

}  // namespace

OrErrno<struct statx> stat_descriptor(int fd) {
  struct statx stat{};
  TRY(check(statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &stat)));
  return stat;
}

bool is_on_proc(int fd) {
  struct statfs filesystem;
  return ::fstatfs(fd, &filesystem) == 0 && filesystem.f_type == PROC_SUPER_MAGIC;
}

InodeNumbers::InodeNumbers(uint64_t root_device) {
  spaces_.emplace(Space{root_device, 0}, 0);
}

uint64_t InodeNumbers::map(uint64_t device, uint64_t inode) {
  constexpr uint64_t kLowerMask = (1ull << kUpperShift) - 1;
  Space space{device, inode >> kUpperShift};
  auto found = spaces_.find(space);
  if (found == spaces_.end()) {
    // After 65,535 spaces no numbers are left. All further spaces then share the number UINT16_MAX.
    while (next_ < UINT16_MAX && used_.contains(static_cast<uint16_t>(next_))) next_++;
    if (next_ < UINT16_MAX) {
      used_.insert(static_cast<uint16_t>(next_));
      found = spaces_.emplace(space, static_cast<uint16_t>(next_++)).first;
    }
    uint64_t upper = found == spaces_.end() ? UINT16_MAX : found->second;
    return upper << kUpperShift | (inode & kLowerMask);
  }
  return uint64_t{found->second} << kUpperShift | (inode & kLowerMask);
}

bool InodeNumbers::adopt(const Space& space, uint16_t number) {
  if (auto found = spaces_.find(space); found != spaces_.end()) return found->second == number;
  if (number == UINT16_MAX || !used_.insert(number).second) return false;
  spaces_.emplace(space, number);
  return true;
}

wire::Attr to_attr(const struct statx& stat, InodeNumbers& numbers) {
  return {
      .ino = numbers.map(device_of(stat), stat.stx_ino),
      .size = stat.stx_size,
      .blocks = stat.stx_blocks,
      .atime = static_cast<uint64_t>(stat.stx_atime.tv_sec),
      .mtime = static_cast<uint64_t>(stat.stx_mtime.tv_sec),
      .ctime = static_cast<uint64_t>(stat.stx_ctime.tv_sec),
      .atimensec = stat.stx_atime.tv_nsec,
      .mtimensec = stat.stx_mtime.tv_nsec,
      .ctimensec = stat.stx_ctime.tv_nsec,
      .mode = stat.stx_mode,
      .nlink = stat.stx_nlink,
      .uid = stat.stx_uid,
      .gid = stat.stx_gid,
      .rdev = encode_device(stat.stx_rdev_major, stat.stx_rdev_minor),
      .blksize = stat.stx_blksize,
      .flags = 0,
  };
}

wire::Statx to_statx(const struct statx& stat, InodeNumbers& numbers) {
  wire::Statx out{};
  out.mask = stat.stx_mask & (STATX_BASIC_STATS | STATX_BTIME);
  out.blksize = stat.stx_blksize;
  out.attributes = stat.stx_attributes;
  out.nlink = stat.stx_nlink;
  out.uid = stat.stx_uid;
  out.gid = stat.stx_gid;
  out.mode = stat.stx_mode;
  out.ino = numbers.map(device_of(stat), stat.stx_ino);
  out.size = stat.stx_size;
  out.blocks = stat.stx_blocks;
  out.attributes_mask = stat.stx_attributes_mask;
  out.atime = to_time(stat.stx_atime);
  out.btime = to_time(stat.stx_btime);
  out.ctime = to_time(stat.stx_ctime);
  out.mtime = to_time(stat.stx_mtime);
  out.rdev_major = stat.stx_rdev_major;
  out.rdev_minor = stat.stx_rdev_minor;
  return out;  // stx_dev stays 0: the guest learns no device numbers of the host
}

uint32_t encode_device(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffu) << 12;
}

dev_t decode_device(uint32_t encoded) {
  return makedev((encoded >> 8) & 0xfff, (encoded & 0xff) | ((encoded >> 12) & 0xfff00));
}

}  // namespace nacre::virtio::fs
