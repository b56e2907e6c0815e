// POSIX record locks of the guest's processes, as open file description locks on the host (fcntl(2), F_OFD_SETLK).
//
// A POSIX lock belongs to a process and a file. The server opens the file once more for each such pair: the locks of
// that open file description conflict with those of everybody else, and closing it releases all of them.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "base/fd.h"
#include "devices/virtio/fs/fd_budget.h"
#include "devices/virtio/fs/inode_table.h"
#include "devices/virtio/fs/lock_ranges.h"

namespace nacre::virtio::fs {

struct LockOwner {
  Fd fd;
  uint32_t pid = 0;        // in the guest, of the last request
  TreeId tree = kOwnTree;  // of the inode, which the guest may forget while it holds locks on the file
  FdSlot slot;
  LockRanges ranges;
};

class LockTable {
 public:
  // Returns null if that owner has never locked that inode.
  LockOwner* find(uint64_t nodeid, uint64_t owner) {
    auto found = owners_.find({nodeid, owner});
    return found == owners_.end() ? nullptr : &found->second;
  }
  LockOwner* add(uint64_t nodeid, uint64_t owner, LockOwner entry) {
    return &owners_.insert_or_assign({nodeid, owner}, std::move(entry)).first->second;
  }
  // Releases all locks of that owner on that inode. Returns false if there were none.
  bool remove(uint64_t nodeid, uint64_t owner) { return owners_.erase({nodeid, owner}) > 0; }
  // Releases all locks on files of a tree.
  void remove_tree(TreeId tree) {
    std::erase_if(owners_, [&](const auto& entry) { return entry.second.tree == tree; });
  }
  void clear() { owners_.clear(); }
  const auto& all() const { return owners_; }  // pairs of (node id, owner) and LockOwner
  size_t size() const { return owners_.size(); }

  // Returns the pid of the one other guest process that holds a lock on this inode; 0 if there are several, or if the
  // host holds it.
  uint32_t other_pid(uint64_t nodeid, uint64_t owner) const {
    uint32_t pid = 0;
    for (auto it = owners_.lower_bound({nodeid, 0}); it != owners_.end() && it->first.first == nodeid; ++it) {
      if (it->first.second == owner) continue;
      if (pid != 0) return 0;
      pid = it->second.pid;
    }
    return pid;
  }

 private:
  std::map<std::pair<uint64_t, uint64_t>, LockOwner> owners_;  // (nodeid, owner)
};

}  // namespace nacre::virtio::fs
