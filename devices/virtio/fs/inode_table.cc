#include "devices/virtio/fs/inode_table.h"

#include <algorithm>
#include <unordered_set>

#include "devices/virtio/fs/wire.h"

namespace nacre::virtio::fs {
namespace {

InodeKey key_of(const struct statx& stat) {
  // Kernels before 5.8 know no mount ids and leave the field zero.
  return {.device = device_of(stat), .inode = stat.stx_ino, .mount = stat.stx_mnt_id};
}

}  // namespace

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
  table.by_key_.emplace(inode->key, inode.get());
  table.inodes_.emplace(wire::kRootId, std::move(inode));
  return table;
}

OrErrno<Inode*> InodeTable::find(uint64_t nodeid) {
  auto found = inodes_.find(nodeid);
  if (found == inodes_.end()) return errno_of(ENOENT);
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
  by_key_.emplace(key, result);
  inodes_.emplace(result->nodeid, std::move(inode));
  return result;
}

void InodeTable::forget(uint64_t nodeid, uint64_t lookups) {
  if (nodeid == wire::kRootId) return;
  auto found = inodes_.find(nodeid);
  if (found == inodes_.end()) return;
  Inode& inode = *found->second;
  inode.lookups -= std::min(inode.lookups, lookups);
  if (inode.lookups > 0) return;
  by_key_.erase(inode.key);
  inodes_.erase(found);
}

std::unordered_set<uint64_t> InodeTable::remove_tree(TreeId tree) {
  std::unordered_set<uint64_t> removed;
  for (const auto& [nodeid, inode] : inodes_) {
    if (inode->tree == tree) removed.insert(nodeid);
  }
  for (uint64_t nodeid : removed) forget(nodeid, UINT64_MAX);
  return removed;
}

void InodeTable::clear() {
  std::erase_if(by_key_, [](const auto& entry) { return entry.second->nodeid != wire::kRootId; });
  std::erase_if(inodes_, [](const auto& entry) { return entry.first != wire::kRootId; });
}

std::vector<int> InodeTable::one_per_device() const {
  std::unordered_set<uint64_t> seen;
  std::vector<int> descriptors;
  for (const auto& [nodeid, inode] : inodes_) {
    if (!inode->is_directory() && !inode->is_regular()) continue;
    if (seen.insert(inode->key.device).second) descriptors.push_back(inode->path.get());
  }
  return descriptors;
}

}  // namespace nacre::virtio::fs
