// SPDX-License-Identifier: Apache-2.0
// Serves the requests on names: looks them up, makes, moves and removes them.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <climits>
#include <string>

#include "devices/virtio/fs/session.h"

#ifndef RENAME_NOREPLACE
#include <linux/fs.h>
#endif

namespace nacre::virtio::fs {
namespace {

void set_timeout(std::chrono::nanoseconds timeout, uint64_t& seconds, uint32_t& nanoseconds) {
  seconds = static_cast<uint64_t>(timeout.count() / 1'000'000'000);
  nanoseconds = static_cast<uint32_t>(timeout.count() % 1'000'000'000);
}

// Returns whether making this node takes CAP_MKNOD. That is so for every device node except a whiteout (character
// device 0:0), which stands for a removed file in an overlay's upper layer.
bool takes_privilege(mode_t mode, dev_t device) {
  return S_ISBLK(mode) || (S_ISCHR(mode) && device != makedev(0, 0));
}

}  // namespace

OrErrno<wire::EntryOut> Session::take_in(Fd path, TreeId tree, const Inode* parent) {
  struct statx stat = TRY(stat_descriptor(path.get()));
  bool is_of_parents = parent != nullptr && parent->key.device == device_of(stat);
  if (!is_of_parents && is_on_proc(path.get())) return errno_of(EACCES);
  Inode* inode = TRY(inodes_.refer(std::move(path), stat, tree));
  wire::EntryOut entry{};
  entry.nodeid = inode->nodeid;
  entry.attr = to_attr(stat, inodes_.numbers());
  set_timeout(options_.entry_timeout, entry.entry_valid, entry.entry_valid_nsec);
  set_timeout(options_.attr_timeout, entry.attr_valid, entry.attr_valid_nsec);
  return entry;
}

OrErrno<wire::EntryOut> Session::look_up(const Inode& parent, const char* name) {
  if (parent.nodeid == wire::kRootId && !trees_.empty()) {
    auto tree = trees_.find(name);
    if (tree != trees_.end()) {
      auto root = tree->second.root.dup();
      if (!root) return errno_of(root.error().code());
      return take_in(std::move(*root), tree->second.id, nullptr);
    }
  }
  Fd path(::openat(parent.path.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!path) return last_errno();
  return take_in(std::move(path), parent.tree, &parent);
}

wire::AttrOut Session::attr_out(const struct statx& stat) {
  wire::AttrOut out{};
  set_timeout(options_.attr_timeout, out.attr_valid, out.attr_valid_nsec);
  out.attr = to_attr(stat, inodes_.numbers());
  return out;
}

OrErrno<void> Session::lookup(Request& request, Reply& reply) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  const char* name = TRY(request.take_name());
  auto entry = look_up(*parent, name);
  if (!entry && entry.error() == ENOENT && options_.negative_timeout.count() > 0) {
    wire::EntryOut negative{};  // node id 0: the guest may remember that the name does not exist
    set_timeout(options_.negative_timeout, negative.entry_valid, negative.entry_valid_nsec);
    return reply.put(negative);
  }
  if (!entry) return errno_of(entry.error());
  return reply.put(*entry);
}

OrErrno<void> Session::readlink(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  if (inode->type != S_IFLNK) return errno_of(EINVAL);
  char target[PATH_MAX];
  ssize_t size = ::readlinkat(inode->path.get(), "", target, sizeof(target));
  if (size < 0) return last_errno();
  size_t length = std::min(static_cast<size_t>(size), reply.room());
  return reply.put_bytes(std::as_bytes(std::span(target, length)));
}

OrErrno<void> Session::symlink(Request& request, Reply& reply) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  const char* name = TRY(request.take_name());
  const char* target = TRY(request.take_string(PATH_MAX - 1));
  {
    auto as_caller = TRY(credentials_.as_caller(request.header().uid, request.header().gid, 0));
    TRY(check(::symlinkat(target, parent->path.get(), name)));
  }
  return reply.put(TRY(look_up(*parent, name)));
}

OrErrno<void> Session::mknod(Request& request, Reply& reply) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  auto in = TRY(request.take<wire::MknodIn>());
  const char* name = TRY(request.take_name());
  const wire::InHeader& caller = request.header();
  dev_t device = decode_device(in.rdev);
  if (options_.node_maker != nullptr && takes_privilege(in.mode, device)) {
    const DeviceNode node{.mode = in.mode, .device = device, .uid = caller.uid, .gid = caller.gid, .umask = in.umask};
    TRY(options_.node_maker->make(parent->path.get(), name, node));
  } else {
    auto as_caller = TRY(credentials_.as_caller(caller.uid, caller.gid, in.umask));
    TRY(check(::mknodat(parent->path.get(), name, in.mode, device)));
  }
  return reply.put(TRY(look_up(*parent, name)));
}

OrErrno<void> Session::mkdir(Request& request, Reply& reply) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  auto in = TRY(request.take<wire::MkdirIn>());
  const char* name = TRY(request.take_name());
  {
    auto as_caller = TRY(credentials_.as_caller(request.header().uid, request.header().gid, in.umask));
    TRY(check(::mkdirat(parent->path.get(), name, in.mode)));
  }
  return reply.put(TRY(look_up(*parent, name)));
}

OrErrno<void> Session::unlink(Request& request, Reply&) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  const char* name = TRY(request.take_name());
  return check(::unlinkat(parent->path.get(), name, 0));
}

OrErrno<void> Session::rmdir(Request& request, Reply&) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  const char* name = TRY(request.take_name());
  return check(::unlinkat(parent->path.get(), name, AT_REMOVEDIR));
}

OrErrno<void> Session::rename(Request& request, Reply&) {
  auto in = TRY(request.take<wire::RenameIn>());
  return rename_entry(request, in.newdir, 0);
}

OrErrno<void> Session::rename2(Request& request, Reply&) {
  auto in = TRY(request.take<wire::Rename2In>());
  if ((in.flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0) return errno_of(EINVAL);
  return rename_entry(request, in.newdir, in.flags);
}

OrErrno<void> Session::rename_entry(Request& request, uint64_t newdir, uint32_t flags) {
  const Inode* from = TRY(inodes_.find_directory(request.nodeid()));
  const Inode* to = TRY(inodes_.find_directory(newdir));
  const char* old_name = TRY(request.take_name());
  const char* new_name = TRY(request.take_name());
  auto rename = [&] { return check(::renameat2(from->path.get(), old_name, to->path.get(), new_name, flags)); };
  if ((flags & RENAME_WHITEOUT) == 0) return rename();
  auto as_caller = TRY(credentials_.as_caller(request.header().uid, request.header().gid, 0));  // owns the whiteout
  return rename();
}

OrErrno<void> Session::link(Request& request, Reply& reply) {
  const Inode* parent = TRY(inodes_.find_directory(request.nodeid()));
  auto in = TRY(request.take<wire::LinkIn>());
  const char* name = TRY(request.take_name());
  const Inode* old = TRY(inodes_.find(in.oldnodeid));
  if (old->is_directory()) return errno_of(EPERM);
  // AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH in the initial user namespace. A link in /proc/self/fd needs no
  // capability.
  std::string descriptor = std::to_string(old->path.get());
  TRY(check(::linkat(options_.proc_self_fd, descriptor.c_str(), parent->path.get(), name, AT_SYMLINK_FOLLOW)));
  return reply.put(TRY(look_up(*parent, name)));
}

}  // namespace nacre::virtio::fs
