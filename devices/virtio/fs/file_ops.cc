// SPDX-License-Identifier: Apache-2.0
// Serves the requests on open files. Data goes straight between the host's file and guest memory.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "devices/virtio/fs/session.h"

namespace nacre::virtio::fs {
namespace {

// Repeats `call`, which is preadv(2) or pwritev2(2), until all of `iovecs` is done or no more bytes move. An error
// after some progress ends the transfer with a short count: the next request of the guest meets the error.
template <typename Call>
OrErrno<size_t> transfer(std::vector<iovec> iovecs, uint64_t offset, Call call) {
  size_t done = 0;
  size_t first = 0;
  while (first < iovecs.size()) {
    int count = static_cast<int>(std::min<size_t>(iovecs.size() - first, IOV_MAX));
    ssize_t moved = call(&iovecs[first], count, static_cast<off_t>(offset + done));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0 && done == 0) return last_errno();
    if (moved <= 0) break;
    done += static_cast<size_t>(moved);
    size_t left = static_cast<size_t>(moved);
    while (left > 0 && left >= iovecs[first].iov_len) left -= iovecs[first++].iov_len;
    if (left > 0) {
      iovecs[first].iov_base = static_cast<std::byte*>(iovecs[first].iov_base) + left;
      iovecs[first].iov_len -= left;
    }
  }
  return done;
}

}  // namespace

OrErrno<void> Session::read(Request& request, Reply& reply) {
  auto in = TRY(request.take<wire::ReadIn>());
  Handle* handle = TRY(handles_.find_file(in.fh));
  if (in.offset > INT64_MAX) return errno_of(EINVAL);
  // Reads no more than INIT told the guest (max_pages), since the worker serves nobody else meanwhile.
  size_t most = std::min(in.size, kMaxWrite);
  size_t done = TRY(transfer(reply.iovecs(most), in.offset, [&](const iovec* iovecs, int count, off_t offset) {
    return ::preadv(handle->fd.get(), iovecs, count, offset);
  }));
  return reply.advance(done);
}

OrErrno<void> Session::write(Request& request, Reply& reply) {
  auto in = TRY(request.take<wire::WriteIn>());
  Handle* handle = TRY(handles_.find_file(in.fh));
  size_t payload =
      request.header().len - sizeof(wire::InHeader) - sizeof(wire::WriteIn) - size_t{request.header().total_extlen} * 8;
  if (in.size > payload || in.size > kMaxWrite || in.offset > INT64_MAX) return errno_of(EINVAL);
  // With O_APPEND, the host appends at the end of the file as the host knows it, which others may have moved. Cached
  // pages are written at their offset.
  bool append = (in.flags & O_APPEND) != 0 && (in.write_flags & wire::kWriteCache) == 0;
  credentials_.set_keep_setid((in.write_flags & wire::kWriteKillSuidgid) == 0);
  size_t done = TRY(transfer(request.payload().peek(in.size), in.offset, [&](const iovec* iovecs, int count, off_t at) {
    return ::pwritev2(handle->fd.get(), iovecs, count, at, append ? RWF_APPEND : 0);
  }));
  return reply.put(wire::WriteOut{.size = static_cast<uint32_t>(done), .padding = 0});
}

OrErrno<void> Session::fsync(Request& request, Reply&) {
  auto in = TRY(request.take<wire::FsyncIn>());
  Handle* handle = TRY(handles_.find_file(in.fh));
  bool data_only = (in.fsync_flags & wire::kFsyncDatasync) != 0;
  return check(data_only ? ::fdatasync(handle->fd.get()) : ::fsync(handle->fd.get()));
}

OrErrno<void> Session::fsyncdir(Request& request, Reply&) {
  auto in = TRY(request.take<wire::FsyncIn>());
  Handle* handle = TRY(handles_.find_directory(in.fh));
  bool data_only = (in.fsync_flags & wire::kFsyncDatasync) != 0;
  return check(data_only ? ::fdatasync(handle->fd.get()) : ::fsync(handle->fd.get()));
}

// FALLOCATE and COPY_FILE_RANGE, unlike WRITE, do not say whether the caller has CAP_FSETID. So set-id bits are cleared
// unless the caller is root. With ALLOW_IDMAP, Linux does not say who the caller is, and the bits are always cleared.
OrErrno<void> Session::fallocate(Request& request, Reply&) {
  auto in = TRY(request.take<wire::FallocateIn>());
  Handle* handle = TRY(handles_.find_file(in.fh));
  credentials_.set_keep_setid(request.header().uid == 0);
  return check(::fallocate(handle->fd.get(), static_cast<int>(in.mode), static_cast<off_t>(in.offset),
                           static_cast<off_t>(in.length)));
}

OrErrno<void> Session::copy_file_range(Request& request, Reply& reply) {
  auto in = TRY(request.take<wire::CopyFileRangeIn>());
  Handle* from = TRY(handles_.find_file(in.fh_in));
  Handle* to = TRY(handles_.find_file(in.fh_out));
  if (in.flags != 0 || in.off_in > INT64_MAX || in.off_out > INT64_MAX) return errno_of(EINVAL);
  credentials_.set_keep_setid(request.header().uid == 0);
  auto off_in = static_cast<off_t>(in.off_in);
  auto off_out = static_cast<off_t>(in.off_out);
  // Copies at most as much as one WRITE may carry, since the worker serves nobody else meanwhile. Callers continue
  // after a short count.
  size_t most = std::min<uint64_t>(in.len, kMaxWrite);
  ssize_t done = ::copy_file_range(from->fd.get(), &off_in, to->fd.get(), &off_out, most, 0);
  if (done < 0) return last_errno();
  return reply.put(wire::WriteOut{.size = static_cast<uint32_t>(done), .padding = 0});
}

// Finds data and holes. This moves the position of the descriptor, which nothing else uses: all reads and writes carry
// an offset.
OrErrno<void> Session::lseek(Request& request, Reply& reply) {
  auto in = TRY(request.take<wire::LseekIn>());
  Handle* handle = TRY(handles_.find_file(in.fh));
  if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE) return errno_of(EINVAL);
  off_t found = ::lseek(handle->fd.get(), static_cast<off_t>(in.offset), static_cast<int>(in.whence));
  if (found < 0) return last_errno();
  return reply.put(wire::LseekOut{.offset = static_cast<uint64_t>(found)});
}

OrErrno<void> Session::syncfs(Request& request, Reply&) {
  if (auto inode = inodes_.find(request.nodeid()); !inode) return errno_of(inode.error());
  OrErrno<void> result{};
  for (int path : inodes_.one_per_device()) {
    auto file = reopen(path, O_RDONLY);
    if (!file) continue;
    if (::syncfs(file->get()) < 0) result = last_errno();
  }
  return result;
}

}  // namespace nacre::virtio::fs
