// SPDX-License-Identifier: Apache-2.0
// Lists directories.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "devices/virtio/fs/session.h"

namespace nacre::virtio::fs {

// An entry of getdents64(2). `name` points into the buffer.
struct HostDirent {
  uint64_t inode;
  int64_t next;  // the cookie of the next entry
  uint8_t type;
  const char* name;
};

namespace {

constexpr size_t kMaxDirent = 280;  // struct linux_dirent64 with a name of 255 bytes, rounded up
constexpr size_t kMaxListing = 32 << 10;

// Decodes a struct linux_dirent64 (d_ino, d_off, d_reclen, d_type, d_name). Sets `length` to d_reclen.
HostDirent parse(const std::byte* at, size_t& length) {
  HostDirent entry{};
  uint16_t record;
  std::memcpy(&entry.inode, at, 8);
  std::memcpy(&entry.next, at + 8, 8);
  std::memcpy(&record, at + 16, 2);
  std::memcpy(&entry.type, at + 18, 1);
  entry.name = reinterpret_cast<const char*>(at + 19);
  length = record;
  return entry;
}

}  // namespace

OrErrno<void> Session::readdir(Request& request, Reply& reply) {
  return list(request, reply, false);
}

OrErrno<void> Session::readdirplus(Request& request, Reply& reply) {
  return list(request, reply, true);
}

OrErrno<void> Session::list(Request& request, Reply& reply, bool plus) {
  auto in = TRY(request.take<wire::ReadIn>());
  Handle* handle = TRY(handles_.find_directory(in.fh));
  const Inode* directory = TRY(inodes_.find_directory(handle->nodeid));
  size_t limit = std::min<size_t>(in.size, reply.room());
  // An entry takes more room in the reply than in the buffer. Entries that do not fit are read again for the next
  // request.
  size_t wanted = std::clamp(plus ? limit / 4 : limit, kMaxDirent, kMaxListing);
  if (scratch_.size() < wanted) scratch_.resize(wanted);

  if (static_cast<int64_t>(in.offset) != handle->position) {
    // A seek that fails leaves the position as it was.
    if (::lseek(handle->fd.get(), static_cast<off_t>(in.offset), SEEK_SET) < 0) return last_errno();
    handle->position = static_cast<int64_t>(in.offset);
  }
  long got = ::syscall(SYS_getdents64, handle->fd.get(), scratch_.data(), wanted);
  if (got < 0) return last_errno();
  bool full = false;
  for (size_t at = 0, length = 0; at < static_cast<size_t>(got); at += length) {
    HostDirent entry = parse(scratch_.data() + at, length);
    handle->position = entry.next;
    if (!full && !put_entry(*directory, entry, plus, limit, reply)) {
      if (reply.size() == 0) return errno_of(EINVAL);  // as getdents(2) does if the buffer is too small for one entry
      full = true;
    }
  }
  return {};
}

// Adds an entry to the reply. Returns false if it does not fit.
bool Session::put_entry(const Inode& directory, const HostDirent& entry, bool plus, size_t limit, Reply& reply) {
  std::string_view name(entry.name);
  size_t size = wire::align8((plus ? sizeof(wire::EntryOut) : 0) + sizeof(wire::Dirent) + name.size());
  if (reply.size() + size > limit) return false;
  bool is_parent = name == "..";
  bool is_dot = is_parent || name == ".";
  // The root is its own parent, so that the guest learns nothing of what lies above the share.
  uint64_t host_inode = is_parent && directory.nodeid == wire::kRootId ? directory.key.inode : entry.inode;
  wire::Dirent dirent{.ino = inodes_.numbers().map(directory.key.device, host_inode),
                      .off = static_cast<uint64_t>(entry.next),
                      .namelen = static_cast<uint32_t>(name.size()),
                      .type = entry.type};
  if (plus) {
    wire::EntryOut out{};  // node id 0: the entry has no attributes and adds no reference
    if (!is_dot && !FdBudget::is_scarce()) {
      auto found = look_up(directory, entry.name);
      if (!found && found.error() == ENOENT) return true;  // removed since it was listed
      if (found) out = *found;
    }
    if (!reply.put(out)) return false;
  }
  constexpr std::byte kPadding[8] = {};
  size_t padding = wire::align8(name.size()) - name.size();
  return reply.put(dirent) && reply.put_bytes(std::as_bytes(std::span(name))) &&
         reply.put_bytes(std::span(kPadding).first(padding));
}

}  // namespace nacre::virtio::fs
