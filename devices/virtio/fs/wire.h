// SPDX-License-Identifier: Apache-2.0
// The FUSE protocol as it travels over virtio-fs (virtio 1.3, 5.11): linux/fuse.h of protocol 7.41, in types of our
// own.
//
// linux/fuse.h is not included for three reasons:
//
//  * The header of the machine that builds us may be older than the protocol that we speak: Debian 12's ends at 7.38,
//    before STATX and ALLOW_IDMAP.
//  * The compiler cannot check its macros and untyped opcodes. Here every structure is asserted to hold no padding, so
//    a reply that is zeroed and filled leaks nothing to the guest.
//  * A structure that grows with a newer header would silently change what a guest has to send. Here the protocol is
//    the one that we have tested.
//
// Integers are little endian, as the host is (virtio-fs leaves FUSE in native order, 5.11.6.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace nacre::virtio::fs::wire {

inline constexpr uint32_t kMajor = 7;
inline constexpr uint32_t kMinor = 41;        // the newest minor version that we answer with
inline constexpr uint32_t kOldestMinor = 27;  // Linux 4.19; virtio-fs came later, with 7.31 (Linux 5.4)
inline constexpr uint64_t kRootId = 1;

enum class Opcode : uint32_t {
  lookup = 1,
  forget = 2,
  getattr = 3,
  setattr = 4,
  readlink = 5,
  symlink = 6,
  mknod = 8,
  mkdir = 9,
  unlink = 10,
  rmdir = 11,
  rename = 12,
  link = 13,
  open = 14,
  read = 15,
  write = 16,
  statfs = 17,
  release = 18,
  fsync = 20,
  setxattr = 21,
  getxattr = 22,
  listxattr = 23,
  removexattr = 24,
  flush = 25,
  init = 26,
  opendir = 27,
  readdir = 28,
  releasedir = 29,
  fsyncdir = 30,
  getlk = 31,
  setlk = 32,
  setlkw = 33,
  access = 34,
  create = 35,
  interrupt = 36,
  bmap = 37,
  destroy = 38,
  ioctl = 39,
  poll = 40,
  notify_reply = 41,
  batch_forget = 42,
  fallocate = 43,
  readdirplus = 44,
  rename2 = 45,
  lseek = 46,
  copy_file_range = 47,
  setupmapping = 48,
  removemapping = 49,
  syncfs = 50,
  tmpfile = 51,
  statx = 52,
};
inline constexpr uint32_t kOpcodeCount = 53;

// InitIn.flags and InitOut.flags. Flags from bit 32 on travel in flags2.
inline constexpr uint64_t kInitAsyncRead = 1ull << 0;
inline constexpr uint64_t kInitPosixLocks = 1ull << 1;
inline constexpr uint64_t kInitAtomicOTrunc = 1ull << 3;
inline constexpr uint64_t kInitBigWrites = 1ull << 5;
inline constexpr uint64_t kInitDontMask = 1ull << 6;
inline constexpr uint64_t kInitFlockLocks = 1ull << 10;
inline constexpr uint64_t kInitAutoInvalData = 1ull << 12;
inline constexpr uint64_t kInitDoReaddirplus = 1ull << 13;
inline constexpr uint64_t kInitReaddirplusAuto = 1ull << 14;
inline constexpr uint64_t kInitAsyncDio = 1ull << 15;
inline constexpr uint64_t kInitParallelDirops = 1ull << 18;
inline constexpr uint64_t kInitPosixAcl = 1ull << 20;
inline constexpr uint64_t kInitMaxPages = 1ull << 22;
inline constexpr uint64_t kInitCacheSymlinks = 1ull << 23;
inline constexpr uint64_t kInitHandleKillprivV2 = 1ull << 28;
inline constexpr uint64_t kInitSetxattrExt = 1ull << 29;
inline constexpr uint64_t kInitExt = 1ull << 30;
inline constexpr uint64_t kInitAllowIdmap = 1ull << 40;

// SetattrIn.valid
inline constexpr uint32_t kSetMode = 1u << 0;
inline constexpr uint32_t kSetUid = 1u << 1;
inline constexpr uint32_t kSetGid = 1u << 2;
inline constexpr uint32_t kSetSize = 1u << 3;
inline constexpr uint32_t kSetAtime = 1u << 4;
inline constexpr uint32_t kSetMtime = 1u << 5;
inline constexpr uint32_t kSetHandle = 1u << 6;
inline constexpr uint32_t kSetAtimeNow = 1u << 7;
inline constexpr uint32_t kSetMtimeNow = 1u << 8;
inline constexpr uint32_t kSetKillSuidgid = 1u << 11;

// OpenOut.open_flags
inline constexpr uint32_t kOpenedKeepCache = 1u << 1;
inline constexpr uint32_t kOpenedCacheDir = 1u << 3;

inline constexpr uint32_t kOpenKillSuidgid = 1u << 0;      // OpenIn.open_flags
inline constexpr uint32_t kWriteCache = 1u << 0;           // WriteIn.write_flags
inline constexpr uint32_t kWriteKillSuidgid = 1u << 2;     // WriteIn.write_flags
inline constexpr uint32_t kReleaseFlockUnlock = 1u << 1;   // ReleaseIn.release_flags
inline constexpr uint32_t kGetattrHandle = 1u << 0;        // GetattrIn.getattr_flags
inline constexpr uint32_t kLockFlock = 1u << 0;            // LockIn.lk_flags
inline constexpr uint32_t kFsyncDatasync = 1u << 0;        // FsyncIn.fsync_flags
inline constexpr uint32_t kSetxattrAclKillSgid = 1u << 0;  // SetxattrIn.setxattr_flags

struct InHeader {
  uint32_t len;  // length of the whole request, this header included
  uint32_t opcode;
  uint64_t unique;
  uint64_t nodeid;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint16_t total_extlen;  // length of the extensions at the end, in units of 8 bytes
  uint16_t padding;
};

struct OutHeader {
  uint32_t len;
  int32_t error;  // 0 or a negative errno
  uint64_t unique;
};

struct Attr {
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atimensec;
  uint32_t mtimensec;
  uint32_t ctimensec;
  uint32_t mode;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint32_t rdev;
  uint32_t blksize;
  uint32_t flags;
};

struct EntryOut {
  uint64_t nodeid;
  uint64_t generation;
  uint64_t entry_valid;
  uint64_t attr_valid;
  uint32_t entry_valid_nsec;
  uint32_t attr_valid_nsec;
  Attr attr;
};

struct ForgetIn {
  uint64_t nlookup;
};

struct ForgetOne {
  uint64_t nodeid;
  uint64_t nlookup;
};

struct BatchForgetIn {
  uint32_t count;
  uint32_t dummy;
};

struct GetattrIn {
  uint32_t getattr_flags;
  uint32_t dummy;
  uint64_t fh;
};

struct AttrOut {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t dummy;
  Attr attr;
};

struct StatxTime {
  int64_t seconds;
  uint32_t nanoseconds;
  int32_t reserved;
};

struct Statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t spare0;
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  StatxTime atime;
  StatxTime btime;
  StatxTime ctime;
  StatxTime mtime;
  uint32_t rdev_major;
  uint32_t rdev_minor;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint64_t spare2[14];
};

struct StatxIn {
  uint32_t getattr_flags;
  uint32_t reserved;
  uint64_t fh;
  uint32_t sx_flags;
  uint32_t sx_mask;
};

struct StatxOut {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t flags;
  uint64_t spare[2];
  Statx stat;
};

struct MknodIn {
  uint32_t mode;
  uint32_t rdev;
  uint32_t umask;
  uint32_t padding;
};

struct MkdirIn {
  uint32_t mode;
  uint32_t umask;
};

struct RenameIn {
  uint64_t newdir;
};

struct Rename2In {
  uint64_t newdir;
  uint32_t flags;
  uint32_t padding;
};

struct LinkIn {
  uint64_t oldnodeid;
};

struct SetattrIn {
  uint32_t valid;
  uint32_t padding;
  uint64_t fh;
  uint64_t size;
  uint64_t lock_owner;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atimensec;
  uint32_t mtimensec;
  uint32_t ctimensec;
  uint32_t mode;
  uint32_t unused4;
  uint32_t uid;
  uint32_t gid;
  uint32_t unused5;
};

struct OpenIn {
  uint32_t flags;
  uint32_t open_flags;
};

struct CreateIn {
  uint32_t flags;
  uint32_t mode;
  uint32_t umask;
  uint32_t open_flags;
};

struct OpenOut {
  uint64_t fh;
  uint32_t open_flags;
  int32_t backing_id;
};

struct ReleaseIn {
  uint64_t fh;
  uint32_t flags;
  uint32_t release_flags;
  uint64_t lock_owner;
};

struct FlushIn {
  uint64_t fh;
  uint32_t unused;
  uint32_t padding;
  uint64_t lock_owner;
};

// For READ, READDIR and READDIRPLUS.
struct ReadIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t size;
  uint32_t read_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};

struct WriteIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t size;
  uint32_t write_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};

// For WRITE and COPY_FILE_RANGE.
struct WriteOut {
  uint32_t size;
  uint32_t padding;
};

struct StatfsOut {
  uint64_t blocks;
  uint64_t bfree;
  uint64_t bavail;
  uint64_t files;
  uint64_t ffree;
  uint32_t bsize;
  uint32_t namelen;
  uint32_t frsize;
  uint32_t padding;
  uint32_t spare[6];
};

// For FSYNC and FSYNCDIR.
struct FsyncIn {
  uint64_t fh;
  uint32_t fsync_flags;
  uint32_t padding;
};

// The last two fields are sent only if kInitSetxattrExt was negotiated.
struct SetxattrIn {
  uint32_t size;
  uint32_t flags;
  uint32_t setxattr_flags;
  uint32_t padding;
};
inline constexpr size_t kSetxattrInOldSize = 8;

// For GETXATTR and LISTXATTR.
struct GetxattrIn {
  uint32_t size;
  uint32_t padding;
};

struct GetxattrOut {
  uint32_t size;
  uint32_t padding;
};

struct FileLock {
  uint64_t start;
  uint64_t end;  // inclusive
  uint32_t type;
  uint32_t pid;
};

struct LockIn {
  uint64_t fh;
  uint64_t owner;
  FileLock lock;
  uint32_t lk_flags;
  uint32_t padding;
};

struct LockOut {
  FileLock lock;
};

struct AccessIn {
  uint32_t mask;
  uint32_t padding;
};

// The part of INIT that every kernel sends. InitInExt follows if kInitExt is set.
struct InitIn {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
};

struct InitInExt {
  uint32_t flags2;
  uint32_t unused[11];
};

struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  uint32_t unused[6];
};

struct InterruptIn {
  uint64_t unique;
};

struct FallocateIn {
  uint64_t fh;
  uint64_t offset;
  uint64_t length;
  uint32_t mode;
  uint32_t padding;
};

struct LseekIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t whence;
  uint32_t padding;
};

struct LseekOut {
  uint64_t offset;
};

struct CopyFileRangeIn {
  uint64_t fh_in;
  uint64_t off_in;
  uint64_t nodeid_out;
  uint64_t fh_out;
  uint64_t off_out;
  uint64_t len;
  uint64_t flags;
};

struct SyncfsIn {
  uint64_t padding;
};

// The name follows the structure, and then zeroes up to a multiple of 8 bytes.
struct Dirent {
  uint64_t ino;
  uint64_t off;
  uint32_t namelen;
  uint32_t type;
};

struct CreateOut {
  EntryOut entry;
  OpenOut open;
};

constexpr size_t align8(size_t size) {
  return (size + 7) & ~size_t{7};
}

template <typename T, size_t kSize>
inline constexpr bool kIsWire = sizeof(T) == kSize && std::has_unique_object_representations_v<T>;

static_assert(kIsWire<InHeader, 40> && kIsWire<OutHeader, 16>);
static_assert(kIsWire<Attr, 88> && kIsWire<EntryOut, 128> && kIsWire<AttrOut, 104>);
static_assert(kIsWire<Statx, 256> && kIsWire<StatxIn, 24> && kIsWire<StatxOut, 288>);
static_assert(kIsWire<SetattrIn, 88> && kIsWire<CreateIn, 16> && kIsWire<OpenIn, 8> && kIsWire<OpenOut, 16>);
static_assert(kIsWire<ReadIn, 40> && kIsWire<WriteIn, 40> && kIsWire<WriteOut, 8> && kIsWire<StatfsOut, 80>);
static_assert(kIsWire<ReleaseIn, 24> && kIsWire<FlushIn, 24> && kIsWire<FsyncIn, 16> && kIsWire<SetxattrIn, 16>);
static_assert(kIsWire<LockIn, 48> && kIsWire<LockOut, 24> && kIsWire<InitIn, 16> && kIsWire<InitInExt, 48>);
static_assert(kIsWire<InitOut, 64> && kIsWire<FallocateIn, 32> && kIsWire<LseekIn, 24>);
static_assert(kIsWire<CopyFileRangeIn, 56> && kIsWire<Dirent, 24> && kIsWire<CreateOut, 144>);
static_assert(offsetof(Statx, ino) == 32 && offsetof(Statx, atime) == 64 && offsetof(Statx, rdev_major) == 128);

}  // namespace nacre::virtio::fs::wire
