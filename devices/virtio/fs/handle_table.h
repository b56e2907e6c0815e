// SPDX-License-Identifier: Apache-2.0
// Keeps the open files and directories of the guest.
#pragma once

#include <fcntl.h>
#include <sys/file.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/fd.h"
#include "devices/virtio/fs/errno_result.h"
#include "devices/virtio/fs/fd_budget.h"
#include "devices/virtio/fs/inode_table.h"

namespace nacre::virtio::fs {

struct Handle {
  Fd fd;
  uint64_t nodeid = 0;
  TreeId tree = kOwnTree;  // of the inode, which the guest may forget while the handle is open
  int access = 0;          // O_RDONLY, O_WRONLY or O_RDWR
  int flags = 0;           // flags of open(2), O_ACCMODE included
  int flock = LOCK_UN;     // the flock(2) lock that is held: LOCK_SH, LOCK_EX, or LOCK_UN for none
  bool is_directory = false;
  int64_t position = 0;  // of a directory: where the descriptor stands, as the host's cookie (getdents64(2), d_off)
  FdSlot slot;
};

class HandleTable {
 public:
  // Adds a handle for `fd`, an open file of `inode`, and returns its number. Returns ENFILE if the descriptor budget is
  // spent.
  OrErrno<uint64_t> add(Fd fd, const Inode& inode, int flags, bool is_directory) {
    auto handle = std::make_unique<Handle>();
    handle->slot = FdBudget::take();
    if (!handle->slot) return errno_of(ENFILE);
    handle->fd = std::move(fd);
    handle->nodeid = inode.nodeid;
    handle->tree = inode.tree;
    handle->access = flags & O_ACCMODE;
    handle->flags = flags;
    handle->is_directory = is_directory;
    handles_.emplace(next_, std::move(handle));
    return next_++;
  }

  // Finds an open handle. Returns EBADF if no such handle is open, or if it is of the other kind (file or directory).
  // Returns ESTALE if the file of the handle was not found again when the session was restored.
  OrErrno<Handle*> find_file(uint64_t fh) { return find(fh, false); }
  OrErrno<Handle*> find_directory(uint64_t fh) { return find(fh, true); }
  OrErrno<Handle*> find(uint64_t fh, bool directory) {
    auto found = handles_.find(fh);
    if (found == handles_.end() || found->second->is_directory != directory) return errno_of(EBADF);
    if (!found->second->fd) return errno_of(ESTALE);
    return found->second.get();
  }

  void remove(uint64_t fh) { handles_.erase(fh); }
  // Closes all handles of a tree.
  void remove_tree(TreeId tree) {
    std::erase_if(handles_, [&](const auto& entry) { return entry.second->tree == tree; });
  }
  void clear() { handles_.clear(); }

  // For save and restore.
  const auto& all() const { return handles_; }
  uint64_t next() const { return next_; }
  void set_next(uint64_t next) { next_ = next; }
  // Adds a handle under its former number. Returns false if the number is in use or not below next().
  bool adopt(uint64_t fh, Handle handle) {
    if (fh == 0 || fh >= next_) return false;
    return handles_.emplace(fh, std::make_unique<Handle>(std::move(handle))).second;
  }
  size_t size() const { return handles_.size(); }

 private:
  std::unordered_map<uint64_t, std::unique_ptr<Handle>> handles_;
  uint64_t next_ = 1;  // numbers are not reused: a late request for a closed handle meets no other handle
};

}  // namespace nacre::virtio::fs
