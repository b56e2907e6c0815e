// SPDX-License-Identifier: Apache-2.0
// Keeps the inodes that the guest remembers, by node id. Each inode holds an O_PATH descriptor of its file.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/fd.h"
#include "devices/virtio/fs/attributes.h"
#include "devices/virtio/fs/errno_result.h"
#include "devices/virtio/fs/fd_budget.h"

namespace nacre::virtio::fs {

// Identifies an inode. The same file seen through two mounts is two inodes here: one of the mounts may be read-only, or
// have other mounts below it.
struct InodeKey {
  uint64_t device;
  uint64_t inode;
  uint64_t mount;
  bool operator==(const InodeKey&) const = default;
};

InodeKey key_of(const struct statx& stat);

// Names the tree of a share in which a file was found.
using TreeId = uint64_t;
inline constexpr TreeId kOwnTree = 0;

struct Inode {
  uint64_t nodeid = 0;
  // Opened with O_PATH | O_NOFOLLOW. The descriptor pins the inode, so `key` and `type` stay true. Empty if the inode
  // was not found again when the session was restored.
  Fd path;
  mode_t type = 0;  // S_IFREG, S_IFDIR, ...
  InodeKey key{};
  uint64_t lookups = 0;  // references that the guest holds and will FORGET
  TreeId tree = kOwnTree;
  FdSlot slot;

  bool is_directory() const { return type == S_IFDIR; }
  bool is_regular() const { return type == S_IFREG; }
};

class InodeTable {
 public:
  // `root` is an O_PATH descriptor of a directory.
  static Result<InodeTable> create(Fd root);

  // Finds an inode. Returns ENOENT if the guest does not hold the id, and ESTALE if the inode was not found again when
  // the session was restored.
  OrErrno<Inode*> find(uint64_t nodeid);
  // Like find(), but returns ENOTDIR if the inode is no directory.
  OrErrno<Inode*> find_directory(uint64_t nodeid);

  // Finds the inode that `path` refers to, or adds it to the table, and counts one more reference of the guest. Returns
  // ENFILE if the descriptor budget is spent.
  OrErrno<Inode*> refer(Fd path, const struct statx& stat, TreeId tree);
  // Drops references of the guest, and removes the inode with the last reference. An unknown id, or more references
  // than there are, is no error. The root stays.
  void forget(uint64_t nodeid, uint64_t lookups);
  // Forgets all inodes of a tree, however many references the guest holds.
  void remove_tree(TreeId tree);
  // Forgets all inodes but the root.
  void clear();

  // For save and restore.
  const auto& all() const { return inodes_; }
  uint64_t next_nodeid() const { return next_nodeid_; }
  void set_next_nodeid(uint64_t next) { next_nodeid_ = next; }
  // Adds an inode under its former node id. Returns false if the id is in use or not below next_nodeid(), or if that
  // file already has a node id.
  bool adopt(Inode inode);

  size_t size() const { return inodes_.size(); }
  InodeNumbers& numbers() { return numbers_; }
  const InodeNumbers& numbers() const { return numbers_; }
  // Returns one descriptor (O_PATH, a directory or regular file) for each file system on which the guest holds such an
  // inode. The time that this takes grows with the number of file systems, not with the number of inodes.
  std::vector<int> one_per_device() const;

 private:
  struct KeyHash {
    size_t operator()(const InodeKey& key) const noexcept {
      return std::hash<uint64_t>()((key.inode * 0x9e3779b97f4a7c15 + key.device) * 0x9e3779b97f4a7c15 + key.mount);
    }
  };
  explicit InodeTable(uint64_t root_device) : numbers_(root_device) {}
  void insert(std::unique_ptr<Inode> inode);
  void erase(uint64_t nodeid);

  std::unordered_map<uint64_t, std::unique_ptr<Inode>> inodes_;
  std::unordered_map<InodeKey, Inode*, KeyHash> by_key_;
  // Directories and regular files, by device. SYNCFS opens one of each device.
  std::unordered_map<uint64_t, std::unordered_set<const Inode*>> by_device_;
  uint64_t next_nodeid_ = 2;  // ids are not reused, so generations stay 0
  InodeNumbers numbers_;
};

}  // namespace nacre::virtio::fs
