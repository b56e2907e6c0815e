// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/inode_table.h"

#include <algorithm>

#include "devices/virtio/fs/wire.h"

namespace nacre::virtio::fs {

InodeKey key_of(const struct statx& stat) {
  // Kernels before 5.8 have no mount ids and leave the field zero.
  return {.device = device_of(stat), .inode = stat.stx_ino, .mount = stat.stx_mnt_id};
}

Result<InodeTable> InodeTable::create(Fd root) {
  auto stat = stat_descriptor(root.get());
  if (!stat) return fail_errno("look at the shared directory", stat.error());
  if ((stat->stx_mode & S_IFMT) != S_IFDIR) return fail_errno("share a directory", ENOTDIR);
  InodeTable table(device_of(*stat));
  auto inode = std::make_unique<Inode>();
  inode->nodeid = wire::kRootId;
  inode->path = std::move(root);
  inode->type = S_IFDIR;
  inode->key = key_of(*stat);
  inode->lookups = 1;
  table.insert(std::move(inode));
  return table;
}

OrErrno<Inode*> InodeTable::find(uint64_t nodeid) {
  auto found = inodes_.find(nodeid);
  if (found == inodes_.end()) return errno_of(ENOENT);
  if (!found->second->path) return errno_of(ESTALE);
  return found->second.get();
}

OrErrno<Inode*> InodeTable::find_directory(uint64_t nodeid) {
  Inode* inode = TRY(find(nodeid));
  if (!inode->is_directory()) return errno_of(ENOTDIR);
  return inode;
}

OrErrno<Inode*> InodeTable::refer(Fd path, const struct statx& stat, TreeId tree) {
  InodeKey key = key_of(stat);
  if (auto found = by_key_.find(key); found != by_key_.end()) {
    if (found->second->lookups < UINT64_MAX) found->second->lookups++;
    return found->second;
  }
  auto inode = std::make_unique<Inode>();
  inode->slot = FdBudget::take();
  if (!inode->slot) return errno_of(ENFILE);
  inode->nodeid = next_nodeid_++;
  inode->path = std::move(path);
  inode->type = stat.stx_mode & S_IFMT;
  inode->key = key;
  inode->lookups = 1;
  inode->tree = tree;
  Inode* result = inode.get();
  insert(std::move(inode));
  return result;
}

void InodeTable::insert(std::unique_ptr<Inode> inode) {
  if (inode->path) {
    by_key_.emplace(inode->key, inode.get());
    if (inode->is_directory() || inode->is_regular()) by_device_[inode->key.device].insert(inode.get());
  }
  inodes_.emplace(inode->nodeid, std::move(inode));
}

bool InodeTable::adopt(Inode inode) {
  if (inode.nodeid <= wire::kRootId || inode.nodeid >= next_nodeid_ || inodes_.contains(inode.nodeid)) return false;
  if (inode.path && by_key_.contains(inode.key)) return false;
  insert(std::make_unique<Inode>(std::move(inode)));
  return true;
}

void InodeTable::erase(uint64_t nodeid) {
  auto found = inodes_.find(nodeid);
  const Inode& inode = *found->second;
  if (inode.path) by_key_.erase(inode.key);
  if (auto device = by_device_.find(inode.key.device); device != by_device_.end()) {
    device->second.erase(&inode);
    if (device->second.empty()) by_device_.erase(device);
  }
  inodes_.erase(found);
}

void InodeTable::forget(uint64_t nodeid, uint64_t lookups) {
  if (nodeid == wire::kRootId) return;
  auto found = inodes_.find(nodeid);
  if (found == inodes_.end()) return;
  Inode& inode = *found->second;
  inode.lookups -= std::min(inode.lookups, lookups);
  if (inode.lookups == 0) erase(nodeid);
}

void InodeTable::remove_tree(TreeId tree) {
  std::vector<uint64_t> removed;
  for (const auto& [nodeid, inode] : inodes_) {
    if (inode->tree == tree && nodeid != wire::kRootId) removed.push_back(nodeid);
  }
  for (uint64_t nodeid : removed) erase(nodeid);
}

void InodeTable::clear() {
  std::vector<uint64_t> removed;
  for (const auto& [nodeid, inode] : inodes_) {
    if (nodeid != wire::kRootId) removed.push_back(nodeid);
  }
  for (uint64_t nodeid : removed) erase(nodeid);
}

std::vector<int> InodeTable::one_per_device() const {
  std::vector<int> descriptors;
  for (const auto& [device, inodes] : by_device_) descriptors.push_back((*inodes.begin())->path.get());
  return descriptors;
}

}  // namespace nacre::virtio::fs
