// SPDX-License-Identifier: Apache-2.0
// Takes file locks on the host's files, so that the host and other guests see them.
//
// If somebody else holds a lock that a request waits for, the server tries again. It does so at once if this guest
// releases a lock, and otherwise with growing pauses, in case the host or another guest has released one. So nothing
// blocks the worker, and no thread has to be interrupted in a system call. Linux sends no INTERRUPT over virtio-fs (as
// of 6.12), so a process of the guest cannot be killed while it waits. Deadlocks across open file descriptions are not
// detected (fcntl(2)).
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>

#include "devices/virtio/fs/session.h"

namespace nacre::virtio::fs {
namespace {

constexpr std::chrono::milliseconds kLongestDelay(64);

}  // namespace

OrErrno<struct flock> to_host(const wire::FileLock& lock) {
  bool known = lock.type == F_RDLCK || lock.type == F_WRLCK || lock.type == F_UNLCK;
  if (!known || lock.start > INT64_MAX || lock.end < lock.start) return errno_of(EINVAL);
  struct flock host{};
  host.l_type = static_cast<short>(lock.type);
  host.l_whence = SEEK_SET;
  host.l_start = static_cast<off_t>(lock.start);
  // Length 0 means to the end of the file, however much the file grows. FUSE expresses that by the largest offset.
  host.l_len = lock.end >= INT64_MAX ? 0 : static_cast<off_t>(lock.end - lock.start + 1);
  return host;
}

namespace {

wire::FileLock to_guest(const struct flock& host) {
  wire::FileLock lock{};
  lock.type = static_cast<uint32_t>(host.l_type);
  if (host.l_type == F_UNLCK) return lock;
  lock.start = static_cast<uint64_t>(host.l_start);
  lock.end = host.l_len == 0 ? INT64_MAX : static_cast<uint64_t>(host.l_start + host.l_len - 1);
  return lock;
}

bool is_taken(int error) {
  return error == EAGAIN || error == EACCES;
}

}  // namespace

// Returns the owner's entry for the file of the handle, whose open file description holds the owner's locks. Opens the
// file and adds the entry if there is none yet.
OrErrno<LockOwner*> Session::lock_owner(const wire::LockIn& in) {
  Handle* handle = TRY(handles_.find_file(in.fh));
  if (LockOwner* known = locks_.find(handle->nodeid, in.owner)) return known;
  LockOwner owner;
  owner.tree = handle->tree;
  owner.slot = FdBudget::take();
  if (!owner.slot) return errno_of(ENFILE);
  // The owner may take locks through several handles, some for reading and some for writing. One descriptor holds them
  // all, so it is opened for both if possible.
  owner.fd = TRY(open_for_locks(handle->fd.get(), handle->access));
  return locks_.add(handle->nodeid, in.owner, std::move(owner));
}

OrErrno<Fd> Session::open_for_locks(int fd, int access) {
  auto file = reopen(fd, options_.readonly ? O_RDONLY : O_RDWR);
  return file ? std::move(file) : reopen(fd, access);
}

OrErrno<void> Session::getlk(Request& request, Reply& reply) {
  auto in = TRY(request.take<wire::LockIn>());
  Handle* handle = TRY(handles_.find_file(in.fh));
  struct flock host = TRY(to_host(in.lock));
  if (host.l_type == F_UNLCK) return errno_of(EINVAL);
  LockOwner* owner = TRY(lock_owner(in));
  TRY(check(::fcntl(owner->fd.get(), F_OFD_GETLK, &host)));
  wire::LockOut out{.lock = to_guest(host)};
  if (host.l_type != F_UNLCK) {
    out.lock.pid = locks_.other_pid(handle->nodeid, in.owner, out.lock.start, out.lock.end);
  }
  return reply.put(out);
}

// Takes, changes or releases a lock. Returns EAGAIN or EACCES if somebody else holds it.
OrErrno<void> Session::set_lock(const wire::LockIn& in) {
  Handle* handle = TRY(handles_.find_file(in.fh));
  if ((in.lk_flags & wire::kLockFlock) != 0) {
    int operation = in.lock.type == F_RDLCK ? LOCK_SH : in.lock.type == F_WRLCK ? LOCK_EX : LOCK_UN;
    // A lock that is given up or converted lets others in.
    if (handle->flock != LOCK_UN) locks_released_ = true;
    // If flock(2) converts a lock, it releases the old lock first, and may then fail to take the new one.
    bool taken = ::flock(handle->fd.get(), operation | LOCK_NB) == 0;
    int error = errno;
    if (taken || is_taken(error)) handle->flock = taken ? operation : LOCK_UN;
    errno = error;
    return check(taken ? 0 : -1);
  }
  struct flock host = TRY(to_host(in.lock));
  // The owner's descriptor may allow more than the guest's handle does, so the access mode of the handle is checked
  // here (fcntl(2), EBADF).
  if (host.l_type == F_RDLCK && handle->access == O_WRONLY) return errno_of(EBADF);
  if (host.l_type == F_WRLCK && handle->access == O_RDONLY) return errno_of(EBADF);
  const bool is_full = locks_.ranges() >= kMaxLocks;
  if (host.l_type == F_UNLCK) {
    LockOwner* owner = locks_.find(handle->nodeid, in.owner);
    if (owner == nullptr) return {};
    // Who unlocks the middle of a range makes two of it.
    if (is_full && owner->ranges.within_one(in.lock.start, in.lock.end)) return errno_of(ENOLCK);
    locks_released_ = true;
    TRY(check(::fcntl(owner->fd.get(), F_OFD_SETLK, &host)));
    locks_.set(*owner, in.lock.start, in.lock.end, F_UNLCK);
    return {};
  }
  if (is_full) return errno_of(ENOLCK);
  LockOwner* owner = TRY(lock_owner(in));
  TRY(check(::fcntl(owner->fd.get(), F_OFD_SETLK, &host)));
  locks_.set(*owner, in.lock.start, std::min<uint64_t>(in.lock.end, INT64_MAX), host.l_type);
  owner->pid = in.lock.pid;
  if (host.l_type == F_RDLCK) locks_released_ = true;  // the owner may have held a write lock before
  return {};
}

OrErrno<void> Session::setlk(Request& request, Reply&) {
  auto in = TRY(request.take<wire::LockIn>());
  auto done = set_lock(in);
  if (!done && is_taken(done.error())) return errno_of(EAGAIN);
  return done;
}

OrErrno<void> Session::setlkw(Request& request, Reply& reply) {
  auto in = TRY(request.take<wire::LockIn>());
  auto done = set_lock(in);
  if (done || !is_taken(done.error())) return done;
  if (waiting_.size() >= kMaxWaitingLocks) return errno_of(ENOLCK);
  waiting_.push_back({.unique = request.header().unique, .lock = in, .delay = kFirstLockDelay});
  reply.defer();
  return {};
}

std::optional<std::chrono::milliseconds> Session::lock_retry_delay() const {
  std::optional<std::chrono::milliseconds> soonest;
  for (const Waiting& waiting : waiting_) soonest = std::min(soonest.value_or(waiting.delay), waiting.delay);
  return soonest;
}

void Session::retry_locks() {
  try_waiting();
  for (Waiting& waiting : waiting_) waiting.delay = std::min(waiting.delay * 2, kLongestDelay);
}

void Session::try_waiting() {
  for (size_t i = 0; i < waiting_.size();) {
    auto done = set_lock(waiting_[i].lock);
    if (!done && is_taken(done.error())) {
      i++;
    } else {
      finish_waiting(i, done ? 0 : done.error());
    }
  }
  locks_released_ = false;
}

void Session::finish_waiting(size_t index, int error) {
  Waiting waiting = std::move(waiting_[index]);
  waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(index));
  wire::OutHeader out{.len = sizeof(out), .error = -error, .unique = waiting.unique};
  bool written = waiting.chain.writer.write_object(out).has_value();
  complete_(waiting.queue, std::move(waiting.chain), written ? out.len : 0);
}

void Session::cancel_waiting(uint64_t unique) {
  for (size_t i = 0; i < waiting_.size(); i++) {
    if (waiting_[i].unique == unique) return finish_waiting(i, EINTR);
  }
}

void Session::fail_waiting(int error) {
  while (!waiting_.empty()) finish_waiting(waiting_.size() - 1, error);
}

}  // namespace nacre::virtio::fs
