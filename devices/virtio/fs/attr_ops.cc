// SPDX-License-Identifier: Apache-2.0
// Serves the requests about attributes of inodes and of the file system.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <string>

#include "devices/virtio/fs/session.h"

namespace nacre::virtio::fs {
namespace {

timespec set_time(uint32_t valid, uint32_t given, uint32_t now, uint64_t seconds, uint32_t nanoseconds) {
  if ((valid & now) != 0) return {.tv_sec = 0, .tv_nsec = UTIME_NOW};
  if ((valid & given) == 0) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  return {.tv_sec = static_cast<time_t>(seconds), .tv_nsec = nanoseconds};
}

}  // namespace

OrErrno<void> Session::getattr(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  return reply.put(attr_out(TRY(stat_descriptor(inode->path.get()))));
}

OrErrno<void> Session::statx(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  struct statx stat = TRY(stat_descriptor(inode->path.get()));
  wire::AttrOut valid = attr_out(stat);
  wire::StatxOut out{};
  out.attr_valid = valid.attr_valid;
  out.attr_valid_nsec = valid.attr_valid_nsec;
  out.stat = to_statx(stat, inodes_.numbers());
  return reply.put(out);
}

OrErrno<void> Session::setattr(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  auto in = TRY(request.take<wire::SetattrIn>());
  int path = inode->path.get();
  if ((in.valid & (wire::kSetUid | wire::kSetGid)) != 0) {
    // The host's kernel clears set-id bits and security.capability here, whatever capabilities the caller has.
    uid_t uid = (in.valid & wire::kSetUid) != 0 ? in.uid : static_cast<uid_t>(-1);
    gid_t gid = (in.valid & wire::kSetGid) != 0 ? in.gid : static_cast<gid_t>(-1);
    TRY(check(::fchownat(path, "", uid, gid, AT_EMPTY_PATH)));
  }
  if ((in.valid & wire::kSetMode) != 0) {
    if (inode->type == S_IFLNK) return errno_of(EOPNOTSUPP);
    credentials_.set_keep_setid(true);
    // fchmodat(2) has no AT_EMPTY_PATH before Linux 6.6; the current directory is /proc/self/fd.
    TRY(check(::chmod(std::to_string(path).c_str(), in.mode & 07777)));
  }
  if ((in.valid & wire::kSetSize) != 0) TRY(set_size(*inode, in));
  if ((in.valid & (wire::kSetAtime | wire::kSetMtime | wire::kSetAtimeNow | wire::kSetMtimeNow)) != 0) {
    timespec times[2] = {set_time(in.valid, wire::kSetAtime, wire::kSetAtimeNow, in.atime, in.atimensec),
                         set_time(in.valid, wire::kSetMtime, wire::kSetMtimeNow, in.mtime, in.mtimensec)};
    TRY(check(::utimensat(path, "", times, AT_EMPTY_PATH)));
  }
  return reply.put(attr_out(TRY(stat_descriptor(path))));
}

OrErrno<void> Session::set_size(const Inode& inode, const wire::SetattrIn& in) {
  if (inode.is_directory()) return errno_of(EISDIR);
  if (!inode.is_regular() || in.size > INT64_MAX) return errno_of(EINVAL);
  bool kill_setid = (in.valid & wire::kSetKillSuidgid) != 0;
  if ((in.valid & wire::kSetHandle) != 0) {
    Handle* handle = TRY(handles_.find_file(in.fh));
    credentials_.set_keep_setid(!kill_setid);
    return check(::ftruncate(handle->fd.get(), static_cast<off_t>(in.size)));
  }
  Fd file = TRY(open_inode(inode, O_WRONLY, kill_setid));
  credentials_.set_keep_setid(!kill_setid);
  return check(::ftruncate(file.get(), static_cast<off_t>(in.size)));
}

OrErrno<void> Session::statfs(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  struct statfs stat{};
  TRY(check(::fstatfs(inode->path.get(), &stat)));
  wire::StatfsOut out{};
  out.blocks = stat.f_blocks;
  out.bfree = stat.f_bfree;
  out.bavail = stat.f_bavail;
  out.files = stat.f_files;
  out.ffree = stat.f_ffree;
  out.bsize = static_cast<uint32_t>(stat.f_bsize);
  out.namelen = static_cast<uint32_t>(stat.f_namelen);
  out.frsize = static_cast<uint32_t>(stat.f_frsize);
  return reply.put(out);
}

// Checks access by mode bits alone. Linux sends ACCESS only for mounts without default_permissions, and virtio-fs
// mounts always have that option.
OrErrno<void> Session::access(Request& request, Reply&) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  auto in = TRY(request.take<wire::AccessIn>());
  if ((in.mask & ~static_cast<uint32_t>(R_OK | W_OK | X_OK)) != 0) return errno_of(EINVAL);
  struct statx stat = TRY(stat_descriptor(inode->path.get()));
  if ((in.mask & W_OK) != 0 && options_.readonly) return errno_of(EROFS);
  uint32_t granted = stat.stx_mode & 7;
  if (request.header().uid == 0) {
    granted = R_OK | W_OK;
    if (inode->is_directory() || (stat.stx_mode & 0111) != 0) granted |= X_OK;
  } else if (request.header().uid == stat.stx_uid) {
    granted = stat.stx_mode >> 6 & 7;
  } else if (request.header().gid == stat.stx_gid) {
    granted = stat.stx_mode >> 3 & 7;
  }
  if ((in.mask & ~granted) != 0) return errno_of(EACCES);
  return {};
}

}  // namespace nacre::virtio::fs
