// SPDX-License-Identifier: Apache-2.0
// Opens, creates and closes files and directories.
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "devices/virtio/fs/session.h"

namespace nacre::virtio::fs {
namespace {

// The kernel stamps files with the time of its last tick, up to 10 ms ago. Two changes within one tick get the same
// time.
constexpr int64_t kTimeStepNs = 20'000'000;

}  // namespace

// Opens the file that `fd` refers to once more. The caller has checked that the file is a regular file or a directory:
// opening anything else would act on the host.
OrErrno<Fd> Session::reopen(int fd, int flags) {
  Fd file(::openat(options_.proc_self_fd, std::to_string(fd).c_str(), flags | O_CLOEXEC | O_NOCTTY));
  if (!file) return last_errno();
  return file;
}

OrErrno<Fd> Session::open_inode(const Inode& inode, uint32_t flags, bool kill_setid) {
  if (inode.is_directory()) return errno_of(EISDIR);
  if (inode.type == S_IFLNK) return errno_of(ELOOP);
  if (!inode.is_regular()) return errno_of(ENXIO);
  if ((flags & O_ACCMODE) == O_ACCMODE) return errno_of(EINVAL);
  bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  if (writes && options_.readonly) return errno_of(EROFS);
  if ((flags & O_TRUNC) != 0) credentials_.set_keep_setid(!kill_setid);
  return reopen(inode.path.get(), static_cast<int>(flags & kHostFlags));
}

// Returns the flags that say whether the guest may keep cached pages or entries (session.h, "How fresh").
uint32_t Session::cache_flags(int fd, bool directory) const {
  auto stat = stat_descriptor(fd);
  timespec now{};
  if (!stat || clock_gettime(CLOCK_REALTIME, &now) < 0) return 0;
  int64_t seconds = now.tv_sec - stat->stx_mtime.tv_sec;
  if (seconds >= -1 && seconds <= 1) {
    int64_t age = seconds * 1'000'000'000 + now.tv_nsec - stat->stx_mtime.tv_nsec;
    if (std::abs(age) < kTimeStepNs) return 0;
  }
  return wire::kOpenedKeepCache | (directory ? wire::kOpenedCacheDir : 0);
}

OrErrno<void> Session::open(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  auto in = TRY(request.take<wire::OpenIn>());
  Fd file = TRY(open_inode(*inode, in.flags, (in.open_flags & wire::kOpenKillSuidgid) != 0));
  wire::OpenOut out{};
  out.open_flags = cache_flags(file.get(), false);
  out.fh = TRY(handles_.add(std::move(file), *inode, static_cast<int>(in.flags & kHandleFlags), false));
  return reply.put(out);
}

OrErrno<void> Session::opendir(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find_directory(request.nodeid()));
  Fd directory(::openat(inode->path.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return last_errno();
  wire::OpenOut out{};
  out.open_flags = cache_flags(directory.get(), true);
  out.fh = TRY(handles_.add(std::move(directory), *inode, O_RDONLY, true));
  return reply.put(out);
}

OrErrno<Fd> Session::create_file(const Inode& parent, const char* name, const wire::CreateIn& in,
                                 const wire::InHeader& caller) {
  auto as_caller = TRY(credentials_.as_caller(caller.uid, caller.gid, in.umask));
  int flags = static_cast<int>(in.flags & kHostFlags & ~uint32_t{O_TRUNC});
  Fd file(::openat(parent.path.get(), name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, in.mode & 07777));
  if (!file) return last_errno();
  return file;
}

OrErrno<void> Session::create(Request& request, Reply& reply) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  auto in = TRY(request.take<wire::CreateIn>());
  const char* name = TRY(request.take_name());
  if ((in.flags & O_ACCMODE) == O_ACCMODE) return errno_of(EINVAL);
  auto created = create_file(*parent, name, in, request.header());
  if (created) return reply_created(std::move(*created), *parent, in.flags, reply);
  if (created.error() != EEXIST || (in.flags & O_EXCL) != 0) return errno_of(created.error());

  // Somebody else made the file after the guest had looked for it, so CREATE becomes an open.
  auto entry = TRY(look_up(*parent, name));
  auto open_entry = [&]() -> OrErrno<wire::OpenOut> {
    const Inode* inode = TRY(inodes_.find(entry.nodeid));
    Fd file = TRY(open_inode(*inode, in.flags, (in.open_flags & wire::kOpenKillSuidgid) != 0));
    uint64_t fh = TRY(handles_.add(std::move(file), *inode, static_cast<int>(in.flags & kHandleFlags), false));
    return wire::OpenOut{.fh = fh, .open_flags = 0, .backing_id = 0};
  };
  auto opened = open_entry();
  if (!opened) {
    inodes_.forget(entry.nodeid, 1);
    return errno_of(opened.error());
  }
  if (entry.attr.size > 0 && (in.flags & O_TRUNC) != 0) {
    if (auto stat = stat_descriptor(TRY(inodes_.find(entry.nodeid))->path.get())) {
      entry.attr = to_attr(*stat, inodes_.numbers());
    }
  }
  return reply.put(wire::CreateOut{.entry = entry, .open = *opened});
}

OrErrno<void> Session::tmpfile(Request& request, Reply& reply) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  auto in = TRY(request.take<wire::CreateIn>());  // the name that follows has no meaning
  if ((in.flags & O_ACCMODE) != O_WRONLY && (in.flags & O_ACCMODE) != O_RDWR) return errno_of(EINVAL);
  Fd file;
  {
    auto as_caller = TRY(credentials_.as_caller(request.header().uid, request.header().gid, in.umask));
    int flags = static_cast<int>(in.flags & (kHostFlags | O_EXCL) & ~uint32_t{O_TRUNC});
    file = Fd(::openat(parent->path.get(), ".", flags | O_TMPFILE | O_CLOEXEC, in.mode & 07777));
    if (!file) return last_errno();
  }
  return reply_created(std::move(file), *parent, in.flags, reply);
}

// Answers with the entry and the handle of a file that was just made. Takes the inode from the open file and not by
// name, since somebody may have renamed or replaced the file.
OrErrno<void> Session::reply_created(Fd file, const Inode& parent, uint32_t flags, Reply& reply) {
  Fd path = TRY(reopen(file.get(), O_PATH));
  auto entry = TRY(take_in(std::move(path), parent.tree, &parent));
  const Inode* inode = TRY(inodes_.find(entry.nodeid));
  auto fh = handles_.add(std::move(file), *inode, static_cast<int>(flags & kHandleFlags), false);
  if (!fh) {
    inodes_.forget(entry.nodeid, 1);
    return errno_of(fh.error());
  }
  return reply.put(wire::CreateOut{.entry = entry, .open = {.fh = *fh, .open_flags = 0, .backing_id = 0}});
}

// Closes a file, which also releases its flock(2) lock, and releases the POSIX locks of the owner that the request
// names.
OrErrno<void> Session::release(Request& request, Reply&) {
  auto in = TRY(request.take<wire::ReleaseIn>());
  auto handle = handles_.find_file(in.fh);
  if (!handle && handle.error() != ESTALE) return errno_of(handle.error());
  if (handle) locks_.remove((*handle)->nodeid, in.lock_owner);
  handles_.remove(in.fh);
  locks_released_ = !waiting_.empty();
  return {};
}

OrErrno<void> Session::releasedir(Request& request, Reply&) {
  auto in = TRY(request.take<wire::ReleaseIn>());
  auto handle = handles_.find_directory(in.fh);
  if (!handle && handle.error() != ESTALE) return errno_of(handle.error());
  handles_.remove(in.fh);
  return {};
}

// Releases the POSIX locks of a process of the guest that has closed a descriptor of the file.
OrErrno<void> Session::flush(Request& request, Reply&) {
  auto in = TRY(request.take<wire::FlushIn>());
  Handle* handle = TRY(handles_.find_file(in.fh));
  if (locks_.remove(handle->nodeid, in.lock_owner)) locks_released_ = true;
  if (handle->access == O_RDONLY) return {};
  // On a network file system, close(2) returns the errors of earlier writes. FLUSH can still report them to the guest,
  // so a copy of the descriptor is closed here.
  Fd copy(::fcntl(handle->fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return {};
  return check(::close(copy.release()));
}

}  // namespace nacre::virtio::fs
