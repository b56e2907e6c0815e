// SPDX-License-Identifier: Apache-2.0
// A FUSE server over a host directory. It takes requests and gives replies; it knows no virtio and has no threads.
//
// How names become files: each step is an openat(2) of one component with O_PATH | O_NOFOLLOW below a descriptor that
// the guest already holds. So the guest can name nothing outside the shared directory, whatever the host and the guest
// rename meanwhile. To be read or written, a file is opened a second time through /proc/self/fd/N, once its type is
// known to be a regular file or a directory. Opening a FIFO or a device of the host would block or act on the host; in
// the guest, special files are those of the guest's own kernel.
//
// How fresh the guest's view is: names and attributes are good for the timeouts of SessionOptions. If the guest then
// sees another size or time of a file, it drops the file's cached pages (AUTO_INVAL_DATA). Pages stay cached after a
// close (KEEP_CACHE), except those of a file that changed a moment ago: one more change could leave the file's times as
// they are.
#pragma once

#include <fcntl.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "devices/state.h"
#include "devices/virtio/chain.h"
#include "devices/virtio/fs/credentials.h"
#include "devices/virtio/fs/handle_table.h"
#include "devices/virtio/fs/inode_table.h"
#include "devices/virtio/fs/lock_table.h"
#include "devices/virtio/fs/request.h"
#include "devices/virtio/fs/session_options.h"

namespace nacre::virtio::fs {

struct HostDirent;

// The open flags of the guest that apply to the host's file, too. O_APPEND does not: the guest's kernel writes cached
// pages at their offset through any handle, and each WRITE says whether it appends. O_DIRECT does not: guest memory
// need not be aligned as the host's disk requires.
inline constexpr uint32_t kHostFlags = O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME;
// The flags that an open file keeps.
inline constexpr uint32_t kHandleFlags = kHostFlags & ~uint32_t{O_TRUNC};

inline constexpr std::chrono::milliseconds kFirstLockDelay(1);

// Returns a lock in the form that fcntl(2) takes, or EINVAL if the type or the range is invalid.
OrErrno<struct flock> to_host(const wire::FileLock& lock);

// Serves one guest. A session belongs to the thread that has called enter_thread().
class Session {
 public:
  // Called once for each request when the request is done. `written` is the number of bytes of the reply, in the
  // writable part of the chain.
  using Complete = std::function<void(size_t queue, Chain chain, uint32_t written)>;

  static constexpr uint32_t kMaxWrite = 1 << 20;
  static constexpr uint16_t kMaxPages = 256;  // of 4 KiB: kMaxWrite
  static constexpr size_t kMaxWaitingLocks = 256;
  // Limits how many byte ranges the guest may have locked. Each takes memory of the host's kernel, and makes every
  // other lock on the same file slower.
  static constexpr size_t kMaxLocks = 16384;

  static Result<std::unique_ptr<Session>> create(Fd root, const SessionOptions& options, Complete complete);

  // Gives the calling thread the credentials and the current directory that all requests need.
  Result<void> enter_thread() { return credentials_.adopt_thread(options_.proc_self_fd); }

  // Serves one request and completes it before returning. The exception is SETLKW for a lock that somebody else holds:
  // a later submit() or retry_locks() completes that request.
  void submit(size_t queue, Chain chain);

  // Returns how long to wait until the next call of retry_locks(), or nothing if no request waits for a lock.
  std::optional<std::chrono::milliseconds> lock_retry_delay() const;
  void retry_locks();

  // Adds another tree of the host. Looking up `name` in the root finds the tree, but no listing of the root shows it.
  // Returns EEXIST if there is a tree of that name.
  Result<void> add_tree(const std::string& name, Fd root);
  // Removes a tree and closes all inodes, open files and locks that the guest holds in it, so that the host can unmount
  // the tree. An unknown name is no error. The next retry_locks() answers the requests that wait for a lock in the
  // tree.
  void remove_tree(const std::string& name);

  // Forgets the guest's inodes, handles, locks and waiting requests. The waiting requests are not completed.
  void reset();

  // Writes everything that the guest knows of this session: its inodes, open files, locks and waiting requests. The
  // chains of waiting requests are saved by their heads.
  Result<void> save(StateWriter& state) const;
  // Takes over a saved session, which is hostile input. The share and its trees must be those of the saved session,
  // under the same names and with the same options.
  //
  // Inodes are found again by their paths below the root of their tree. Each path is opened as a lookup opens it, so no
  // state can lead out of the tree. If a file is gone, or is another file now, the inode answers ESTALE. If somebody
  // else has taken one of the locks meanwhile, restore() fails. After an error the session is empty.
  struct Restored {
    size_t files = 0;  // inodes and open files of the saved session
    size_t lost = 0;   // how many of these answer ESTALE
  };
  Result<Restored> restore(StateReader& state);
  // Fetches the chains of the waiting requests again. Call this after restore().
  using Retake = std::function<Result<Chain>(size_t queue, uint16_t head)>;
  Result<void> retake_waiting(const Retake& retake);
  size_t waiting_count(size_t queue) const;

  size_t inode_count() const { return inodes_.size(); }
  size_t handle_count() const { return handles_.size(); }

 private:
  struct Operation;   // what a request of one opcode needs, and the function that serves it
  struct Operations;  // the table of operations
  struct Waiting;

  Session(InodeTable inodes, const SessionOptions& options, Complete complete);

  uint32_t serve(Chain& chain, bool& deferred);
  OrErrno<void> run(const Operation* operation, const wire::InHeader& header, Reader& reader, Reply& reply);

  // session.cc
  uint64_t wanted_flags() const;
  OrErrno<void> init(Request&, Reply&);
  OrErrno<void> destroy(Request&, Reply&);
  OrErrno<void> forget(Request&, Reply&);
  OrErrno<void> batch_forget(Request&, Reply&);
  OrErrno<void> interrupt(Request&, Reply&);

  // namespace_ops.cc: names
  OrErrno<void> lookup(Request&, Reply&);
  OrErrno<void> readlink(Request&, Reply&);
  OrErrno<void> symlink(Request&, Reply&);
  OrErrno<void> mknod(Request&, Reply&);
  OrErrno<void> mkdir(Request&, Reply&);
  OrErrno<void> unlink(Request&, Reply&);
  OrErrno<void> rmdir(Request&, Reply&);
  OrErrno<void> rename(Request&, Reply&);
  OrErrno<void> rename2(Request&, Reply&);
  OrErrno<void> link(Request&, Reply&);
  OrErrno<void> rename_entry(Request&, uint64_t newdir, uint32_t flags);

  // attr_ops.cc
  OrErrno<void> getattr(Request&, Reply&);
  OrErrno<void> setattr(Request&, Reply&);
  OrErrno<void> statx(Request&, Reply&);
  OrErrno<void> statfs(Request&, Reply&);
  OrErrno<void> access(Request&, Reply&);
  OrErrno<void> set_size(const Inode& inode, const wire::SetattrIn& in);

  // open_ops.cc
  OrErrno<void> open(Request&, Reply&);
  OrErrno<void> create(Request&, Reply&);
  OrErrno<void> tmpfile(Request&, Reply&);
  OrErrno<void> opendir(Request&, Reply&);
  OrErrno<void> release(Request&, Reply&);
  OrErrno<void> releasedir(Request&, Reply&);
  OrErrno<void> flush(Request&, Reply&);
  OrErrno<Fd> create_file(const Inode& parent, const char* name, const wire::CreateIn& in,
                          const wire::InHeader& caller);
  OrErrno<void> reply_created(Fd file, const Inode& parent, uint32_t flags, Reply& reply);
  OrErrno<Fd> reopen(int fd, int flags);
  OrErrno<Fd> open_inode(const Inode& inode, uint32_t flags, bool kill_setid);
  uint32_t cache_flags(int fd, bool directory) const;

  // file_ops.cc: open files
  OrErrno<void> read(Request&, Reply&);
  OrErrno<void> write(Request&, Reply&);
  OrErrno<void> fsync(Request&, Reply&);
  OrErrno<void> fsyncdir(Request&, Reply&);
  OrErrno<void> fallocate(Request&, Reply&);
  OrErrno<void> lseek(Request&, Reply&);
  OrErrno<void> copy_file_range(Request&, Reply&);
  OrErrno<void> syncfs(Request&, Reply&);

  // directory_ops.cc
  OrErrno<void> readdir(Request&, Reply&);
  OrErrno<void> readdirplus(Request&, Reply&);
  OrErrno<void> list(Request&, Reply&, bool plus);
  bool put_entry(const Inode& directory, const HostDirent& entry, bool plus, size_t limit, Reply& reply);

  // xattr_ops.cc
  OrErrno<void> setxattr(Request&, Reply&);
  OrErrno<void> getxattr(Request&, Reply&);
  OrErrno<void> listxattr(Request&, Reply&);
  OrErrno<void> removexattr(Request&, Reply&);
  OrErrno<void> reply_sized(const wire::GetxattrIn& in, size_t size, Reply& reply);

  // lock_ops.cc
  OrErrno<void> getlk(Request&, Reply&);
  OrErrno<void> setlk(Request&, Reply&);
  OrErrno<void> setlkw(Request&, Reply&);
  OrErrno<void> set_lock(const wire::LockIn& in);
  OrErrno<LockOwner*> lock_owner(const wire::LockIn& in);
  OrErrno<Fd> open_for_locks(int fd, int access);
  void try_waiting();
  void finish_waiting(size_t index, int error);
  void fail_waiting(int error);
  void cancel_waiting(uint64_t unique);

  // session_state.cc: save and restore
  struct Roots;
  void save_inodes(StateWriter& state, const Roots& roots) const;
  void save_locks(StateWriter& state) const;
  Result<void> check_options(StateReader& state) const;
  Result<Roots> restore_roots(StateReader& state);
  Result<void> restore_numbers(StateReader& state, const Roots& roots);
  Result<void> restore_inodes(StateReader& state, const Roots& roots, Restored& restored);
  Result<void> restore_handles(StateReader& state, Restored& restored);
  Result<void> restore_handle(StateReader& state, Restored& restored);
  Result<void> restore_owners(StateReader& state);
  Result<void> restore_owner(StateReader& state);
  Result<void> take_locks_again(const Inode& inode, LockOwner& owner, std::span<const wire::FileLock> locks);
  Result<void> restore_waiting(StateReader& state);
  Result<void> restore_all(StateReader& state, Restored& restored);

  // Opens a name in a directory (O_PATH), and adds one reference of the guest to its inode.
  OrErrno<wire::EntryOut> look_up(const Inode& parent, const char* name);
  // Adds one reference of the guest to an open inode. `parent` is null for the root of a tree. Fails with EACCES for
  // what lies on a /proc of the host.
  OrErrno<wire::EntryOut> take_in(Fd path, TreeId tree, const Inode* parent);
  wire::AttrOut attr_out(const struct statx& stat);

  // A request that waits for a lock.
  struct Waiting {
    uint64_t unique;
    wire::LockIn lock;
    std::chrono::milliseconds delay;
    size_t queue = 0;
    Chain chain{};
  };

  const SessionOptions options_;
  const Complete complete_;
  Credentials credentials_;
  InodeTable inodes_;
  HandleTable handles_;
  LockTable locks_;
  std::vector<Waiting> waiting_;
  struct Tree {
    TreeId id;
    Fd root;
  };
  std::map<std::string, Tree> trees_;
  TreeId next_tree_ = kOwnTree + 1;
  bool locks_released_ = false;  // the current request gave up a lock: try the waiting requests again
  bool initialized_ = false;
  uint64_t negotiated_ = 0;      // kInit* flags
  std::vector<std::byte> body_;  // the body of the request that is being served
  std::vector<std::byte> scratch_;
  LogLimiter bad_requests_;
};

}  // namespace nacre::virtio::fs
