// SPDX-License-Identifier: Apache-2.0
// Keeps POSIX record locks of the guest's processes, as open file description locks on the host (fcntl(2),
// F_OFD_SETLK).
//
// A POSIX lock belongs to a process and a file. The server opens the file once more for each such pair: the locks of
// that open file description conflict with those of everybody else, and closing the description releases all of them.
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
  uint32_t pid = 0;        // the pid in the guest that took the last lock; 0 before the first lock
  TreeId tree = kOwnTree;  // of the inode, which the guest may forget while it holds locks on the file
  FdSlot slot;
  LockRanges ranges;
};

class LockTable {
 public:
  // Returns the entry of an owner for an inode, or null if there is none. A GETLK request makes an entry, too.
  LockOwner* find(uint64_t nodeid, uint64_t owner) {
    auto found = owners_.find({nodeid, owner});
    return found == owners_.end() ? nullptr : &found->second;
  }
  // Adds an entry for an owner who has none.
  LockOwner* add(uint64_t nodeid, uint64_t owner, LockOwner entry) {
    ranges_ += entry.ranges.size();
    return &owners_.emplace(std::pair(nodeid, owner), std::move(entry)).first->second;
  }
  // Notes that an owner of this table has locked or unlocked (F_UNLCK) bytes.
  void set(LockOwner& owner, uint64_t start, uint64_t end, short type) {
    ranges_ -= owner.ranges.size();
    owner.ranges.set(start, end, type);
    ranges_ += owner.ranges.size();
  }
  // Releases all locks of an owner on an inode and removes the entry. Returns false if there was no entry.
  bool remove(uint64_t nodeid, uint64_t owner) {
    auto found = owners_.find({nodeid, owner});
    if (found == owners_.end()) return false;
    ranges_ -= found->second.ranges.size();
    owners_.erase(found);
    return true;
  }
  // Releases all locks on files of a tree.
  void remove_tree(TreeId tree) {
    std::erase_if(owners_, [&](const auto& entry) {
      if (entry.second.tree != tree) return false;
      ranges_ -= entry.second.ranges.size();
      return true;
    });
  }
  void clear() {
    owners_.clear();
    ranges_ = 0;
  }
  // How many ranges all owners have locked: each is an object of the host's kernel.
  size_t ranges() const { return ranges_; }
  const auto& all() const { return owners_; }  // pairs of (node id, owner) and LockOwner
  size_t size() const { return owners_.size(); }

  // Returns the pid of a guest process, other than `owner`, that has locked one of these bytes of the inode; 0 if there
  // is none, so that it is the host that has locked them.
  uint32_t other_pid(uint64_t nodeid, uint64_t owner, uint64_t start, uint64_t end) const {
    for (auto it = owners_.lower_bound({nodeid, 0}); it != owners_.end() && it->first.first == nodeid; ++it) {
      if (it->first.second != owner && it->second.ranges.overlap(start, end)) return it->second.pid;
    }
    return 0;
  }

 private:
  std::map<std::pair<uint64_t, uint64_t>, LockOwner> owners_;  // (nodeid, owner)
  size_t ranges_ = 0;
};

}  // namespace nacre::virtio::fs
