// SPDX-License-Identifier: Apache-2.0
// Serves the requests on extended attributes.
//
// The guest may use what a container without CAP_SYS_ADMIN on the host may use: user.*, access lists and file
// capabilities. Attributes named trusted.* do not exist in the guest, since overlayfs on the host acts on them. The
// guest can read but not set the labels of the host's security modules.
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "devices/virtio/fs/session.h"

namespace nacre::virtio::fs {
namespace {

constexpr std::string_view kAclAccess = "system.posix_acl_access";
constexpr std::string_view kAclDefault = "system.posix_acl_default";
constexpr std::string_view kCapability = "security.capability";

OrErrno<void> may_read(std::string_view name) {
  if (name.starts_with("trusted.")) return errno_of(ENODATA);
  if (name.starts_with("user.") || name.starts_with("security.") || name == kAclAccess || name == kAclDefault) {
    return {};
  }
  return errno_of(EOPNOTSUPP);
}

OrErrno<void> may_change(std::string_view name) {
  if (name.starts_with("user.") || name == kAclAccess || name == kAclDefault || name == kCapability) return {};
  if (name.starts_with("trusted.") || name.starts_with("security.")) return errno_of(EPERM);
  return errno_of(EOPNOTSUPP);
}

// Returns a path to the inode, for calls that take no O_PATH descriptor. The current directory of the thread is
// /proc/self/fd, and a link there leads to the inode itself, even if the inode is a symbolic link.
std::string path_of(const Inode& inode) {
  return std::to_string(inode.path.get());
}

}  // namespace

OrErrno<void> Session::setxattr(Request& request, Reply&) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  wire::SetxattrIn in{};
  if ((negotiated_ & wire::kInitSetxattrExt) != 0) {
    in = TRY(request.take<wire::SetxattrIn>());
  } else {
    in.size = TRY(request.take<uint32_t>());
    in.flags = TRY(request.take<uint32_t>());
  }
  const char* name = TRY(request.take_string(XATTR_NAME_MAX));
  if (in.size > XATTR_SIZE_MAX) return errno_of(E2BIG);
  auto value = TRY(request.take_bytes(in.size));
  TRY(may_change(name));
  std::string path = path_of(*inode);
  credentials_.set_keep_setid(true);
  TRY(check(::setxattr(path.c_str(), name, value.data(), value.size(), static_cast<int>(in.flags))));
  if (name == kAclAccess && (in.setxattr_flags & wire::kSetxattrAclKillSgid) != 0) {
    // The caller is not in the group of the file. A local file system then clears the set-gid bit with a new access
    // list.
    struct statx stat = TRY(stat_descriptor(inode->path.get()));
    if ((stat.stx_mode & S_ISGID) != 0) TRY(check(::chmod(path.c_str(), stat.stx_mode & 07777 & ~S_ISGID)));
  }
  return {};
}

// Answers with the size alone if the guest asks for that. Otherwise answers with the bytes in scratch_, or ERANGE if
// the guest asked for fewer bytes.
OrErrno<void> Session::reply_sized(const wire::GetxattrIn& in, size_t size, Reply& reply) {
  if (in.size == 0) return reply.put(wire::GetxattrOut{.size = static_cast<uint32_t>(size), .padding = 0});
  if (size > in.size) return errno_of(ERANGE);
  return reply.put_bytes(std::span(scratch_).first(size));
}

OrErrno<void> Session::getxattr(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  auto in = TRY(request.take<wire::GetxattrIn>());
  const char* name = TRY(request.take_string(XATTR_NAME_MAX));
  TRY(may_read(name));
  size_t limit = std::min<size_t>(in.size, XATTR_SIZE_MAX);
  if (scratch_.size() < limit) scratch_.resize(limit);
  ssize_t size = ::getxattr(path_of(*inode).c_str(), name, limit > 0 ? scratch_.data() : nullptr, limit);
  if (size < 0) return last_errno();
  return reply_sized(in, static_cast<size_t>(size), reply);
}

OrErrno<void> Session::listxattr(Request& request, Reply& reply) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  auto in = TRY(request.take<wire::GetxattrIn>());
  if (scratch_.size() < XATTR_LIST_MAX) scratch_.resize(XATTR_LIST_MAX);
  char* names = reinterpret_cast<char*>(scratch_.data());
  ssize_t size = ::listxattr(path_of(*inode).c_str(), names, XATTR_LIST_MAX);
  if (size < 0) return last_errno();
  size_t kept = 0;
  for (size_t at = 0; at < static_cast<size_t>(size);) {
    std::string_view name(names + at);
    size_t length = name.size() + 1;
    if (may_read(name)) {
      std::copy_n(names + at, length, names + kept);
      kept += length;
    }
    at += length;
  }
  return reply_sized(in, kept, reply);
}

OrErrno<void> Session::removexattr(Request& request, Reply&) {
  const Inode* inode = TRY(inodes_.find(request.nodeid()));
  const char* name = TRY(request.take_string(XATTR_NAME_MAX));
  TRY(may_change(name));
  return check(::removexattr(path_of(*inode).c_str(), name));
}

}  // namespace nacre::virtio::fs
