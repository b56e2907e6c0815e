// A FUSE server over a host directory: requests in, replies out, no virtio and no threads.
//
// How names become files: every step is an openat(2) of one component with O_PATH | O_NOFOLLOW beneath a descriptor
// that the guest already holds, so nothing outside the shared directory can be named, whatever host and guest move
// about meanwhile. What must be opened for real is opened again through /proc/self/fd/N, after its type is known: only
// regular files and directories ever are (special files are the guest's own; opening a host's FIFO or device would
// block, or act on the host).
//
// How fresh the guest's view is: names and attributes are good for the timeouts of SessionOptions; a change of a file's
// size or time that shows then makes the guest drop the file's cached pages (AUTO_INVAL_DATA). Pages stay cached over
// close and open (KEEP_CACHE), except for a file that changed in the last moments, when one more change could leave
// its times as they are.
#pragma once

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
#include "devices/virtio/chain.h"
#include "devices/virtio/fs/credentials.h"
#include "devices/virtio/fs/handle_table.h"
#include "devices/virtio/fs/inode_table.h"
#include "devices/virtio/fs/lock_table.h"
#include "devices/virtio/fs/node_maker.h"
#include "devices/virtio/fs/request.h"

namespace nacre::virtio::fs {

struct HostDirent;

struct SessionOptions {
  bool readonly = false;
  std::chrono::nanoseconds entry_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds attr_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds negative_timeout = std::chrono::seconds(1);
  // True: file locks are taken on the host's files, so that host and other guests see them. False: the guest's kernel
  // keeps its locks to itself, which is faster, and its blocking calls can be interrupted.
  bool host_locks = true;
  bool posix_acl = true;
  int proc_self_fd = -1;            // a descriptor of /proc/self/fd; not owned
  NodeMaker* node_maker = nullptr;  // makes device nodes; none: mknod(2) does
};

// Used by one thread, which has called enter_thread().
class Session {
 public:
  // Called for each request when it is done, with the bytes in its writable part.
  using Complete = std::function<void(size_t queue, Chain chain, uint32_t written)>;

  static constexpr uint32_t kMaxWrite = 1 << 20;
  static constexpr uint16_t kMaxPages = 256;  // of 4 KiB: kMaxWrite
  static constexpr size_t kMaxWaitingLocks = 256;

  static Result<std::unique_ptr<Session>> create(Fd root, const SessionOptions& options, Complete complete);

  // Makes the calling thread the session's.
  Result<void> enter_thread() { return credentials_.adopt_thread(options_.proc_self_fd); }

  // Serves one request. Completes it before returning, but for a blocking lock, which retry_locks() completes later.
  void submit(size_t queue, Chain chain);

  // When retry_locks() wants to be called next; nothing while no lock is waited for.
  std::optional<std::chrono::milliseconds> lock_retry_delay() const;
  void retry_locks();

  // Another tree of the host, which whoever looks for `name` in the root finds, though no list of the root shows it.
  // EEXIST where there is one of that name.
  Result<void> add_tree(const std::string& name, Fd root);
  // Closes all that the guest holds of it, too: nothing keeps the host from unmounting it.
  void remove_tree(const std::string& name);

  // Forgets the guest: its inodes, handles, locks, and requests that wait (which are not completed).
  void reset();

  size_t inode_count() const { return inodes_.size(); }
  size_t handle_count() const { return handles_.size(); }

 private:
  struct Operation;   // what an opcode needs and who serves it
  struct Operations;  // the table of them
  struct Waiting;

  Session(InodeTable inodes, const SessionOptions& options, Complete complete);

  uint32_t serve(Chain& chain, bool& deferred);
  OrErrno<void> run(const Operation* operation, const wire::InHeader& header, Reader& reader, Reply& reply);

  // session.cc
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
  OrErrno<void> reply_created(Fd file, TreeId tree, uint32_t flags, Reply& reply);
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
  void try_waiting();
  void finish_waiting(size_t index, int error);
  void fail_waiting(int error);
  void cancel_waiting(uint64_t unique);

  // Opens a name below a directory (O_PATH), and takes it in with one reference for the guest.
  OrErrno<wire::EntryOut> look_up(const Inode& parent, const char* name);
  OrErrno<wire::EntryOut> take_in(Fd path, TreeId tree);
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
  bool locks_released_ = false;  // by the request that is being served: those who wait may go on
  bool initialized_ = false;
  uint64_t negotiated_ = 0;      // kInit* flags
  std::vector<std::byte> body_;  // of the request that is being served
  std::vector<std::byte> scratch_;
  LogLimiter bad_requests_;
};

}  // namespace nacre::virtio::fs
