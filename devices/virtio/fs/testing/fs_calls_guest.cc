// SPDX-License-Identifier: Apache-2.0
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "devices/virtio/fs/testing/fs_calls.h"

namespace nacre::virtio::fs {
namespace {

using wire::Opcode;

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

int64_t GuestCalls::simple(Opcode opcode, int64_t nodeid, const Bytes& body) {
  if (nodeid < 0) return nodeid;
  return -guest_.call(opcode, static_cast<uint64_t>(nodeid), body).error;
}

int64_t GuestCalls::entry(Opcode opcode, int64_t nodeid, const Bytes& body) {
  if (nodeid < 0) return nodeid;
  auto answer = guest_.call(opcode, static_cast<uint64_t>(nodeid), body);
  if (answer.error != 0) return -answer.error;
  auto out = answer.as<wire::EntryOut>();
  if (out.nodeid == 0) return -ENOENT;
  references_[out.nodeid]++;
  return static_cast<int64_t>(out.nodeid);
}

int64_t GuestCalls::node(const std::string& path) {
  int64_t at = wire::kRootId;
  for (size_t start = 0; start < path.size() && at >= 0;) {
    size_t end = std::min(path.find('/', start), path.size());
    std::string name = path.substr(start, end - start);
    if (name != "." && !name.empty()) at = entry(Opcode::lookup, at, string_bytes(name));
    start = end + 1;
  }
  return at;
}

GuestCalls::Place GuestCalls::place(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {wire::kRootId, path};
  return {node(path.substr(0, slash)), path.substr(slash + 1)};
}

void GuestCalls::forget_all() {
  for (auto [nodeid, count] : references_) {
    guest_.call(Opcode::forget, nodeid, object_bytes(wire::ForgetIn{.nlookup = count}));
  }
  references_.clear();
}

wire::Attr GuestCalls::attributes(const std::string& path) {
  auto answer = guest_.call(Opcode::getattr, static_cast<uint64_t>(node(path)), object_bytes(wire::GetattrIn{}));
  if (answer.error != 0) throw std::runtime_error("no attributes of " + path);
  return answer.as<wire::AttrOut>().attr;
}

void GuestCalls::become(uint32_t uid, uint32_t gid, uint32_t umask) {
  guest_.uid = uid;
  guest_.gid = gid;
  guest_.umask = umask;
}

int64_t GuestCalls::mkdir(const std::string& path, mode_t mode) {
  auto [parent, name] = place(path);
  wire::MkdirIn in{.mode = mode, .umask = guest_.umask};
  return std::min<int64_t>(entry(Opcode::mkdir, parent, object_bytes(in) + string_bytes(name)), 0);
}

int64_t GuestCalls::mknod(const std::string& path, mode_t mode, dev_t device) {
  auto [parent, name] = place(path);
  wire::MknodIn in{.mode = mode,
                   .rdev = encode_device(gnu_dev_major(device), gnu_dev_minor(device)),
                   .umask = guest_.umask,
                   .padding = 0};
  return std::min<int64_t>(entry(Opcode::mknod, parent, object_bytes(in) + string_bytes(name)), 0);
}

int64_t GuestCalls::symlink(const std::string& target, const std::string& path) {
  auto [parent, name] = place(path);
  return std::min<int64_t>(entry(Opcode::symlink, parent, string_bytes(name) + string_bytes(target)), 0);
}

int64_t GuestCalls::link(const std::string& from, const std::string& to) {
  int64_t old = node(from);
  if (old < 0) return old;
  auto [parent, name] = place(to);
  wire::LinkIn in{.oldnodeid = static_cast<uint64_t>(old)};
  return std::min<int64_t>(entry(Opcode::link, parent, object_bytes(in) + string_bytes(name)), 0);
}

int64_t GuestCalls::unlink(const std::string& path) {
  auto [parent, name] = place(path);
  return simple(Opcode::unlink, parent, string_bytes(name));
}

int64_t GuestCalls::rmdir(const std::string& path) {
  auto [parent, name] = place(path);
  return simple(Opcode::rmdir, parent, string_bytes(name));
}

int64_t GuestCalls::rename(const std::string& from, const std::string& to, unsigned flags) {
  auto [old_parent, old_name] = place(from);
  auto [new_parent, new_name] = place(to);
  if (new_parent < 0) return new_parent;
  Bytes names = string_bytes(old_name) + string_bytes(new_name);
  auto directory = static_cast<uint64_t>(new_parent);
  if (flags == 0) return simple(Opcode::rename, old_parent, object_bytes(wire::RenameIn{.newdir = directory}) + names);
  wire::Rename2In in{.newdir = directory, .flags = flags, .padding = 0};
  return simple(Opcode::rename2, old_parent, object_bytes(in) + names);
}

std::string GuestCalls::readlink(const std::string& path) {
  int64_t at = node(path);
  if (at < 0) return error_text(static_cast<int>(-at));
  auto answer = guest_.call(Opcode::readlink, static_cast<uint64_t>(at), {}, 4096);
  return answer.error != 0 ? error_text(answer.error) : text_of(answer.body);
}

int64_t GuestCalls::setattr(int64_t nodeid, wire::SetattrIn in) {
  return simple(Opcode::setattr, nodeid, object_bytes(in));
}

int64_t GuestCalls::chmod(const std::string& path, mode_t mode) {
  wire::SetattrIn in{};
  in.valid = wire::kSetMode;
  in.mode = mode;
  return setattr(node(path), in);
}

int64_t GuestCalls::chown(const std::string& path, uint32_t uid, uint32_t gid) {
  wire::SetattrIn in{};
  in.valid = wire::kSetKillSuidgid;
  if (uid != UINT32_MAX) in.valid |= wire::kSetUid;
  if (gid != UINT32_MAX) in.valid |= wire::kSetGid;
  in.uid = uid;
  in.gid = gid;
  return setattr(node(path), in);
}

int64_t GuestCalls::truncate(const std::string& path, int64_t size) {
  wire::SetattrIn in{};
  in.valid = wire::kSetSize | (has_fsetid() ? 0 : wire::kSetKillSuidgid);
  in.size = static_cast<uint64_t>(size);
  return setattr(node(path), in);
}

int64_t GuestCalls::utimens(const std::string& path, const timespec (&times)[2]) {
  wire::SetattrIn in{};
  if (times[0].tv_nsec == UTIME_NOW) in.valid |= wire::kSetAtime | wire::kSetAtimeNow;
  if (times[1].tv_nsec == UTIME_NOW) in.valid |= wire::kSetMtime | wire::kSetMtimeNow;
  if (times[0].tv_nsec < 1'000'000'000) in.valid |= wire::kSetAtime;
  if (times[1].tv_nsec < 1'000'000'000) in.valid |= wire::kSetMtime;
  in.atime = static_cast<uint64_t>(times[0].tv_sec);
  in.atimensec = static_cast<uint32_t>(times[0].tv_nsec);
  in.mtime = static_cast<uint64_t>(times[1].tv_sec);
  in.mtimensec = static_cast<uint32_t>(times[1].tv_nsec);
  return setattr(node(path), in);
}

int64_t GuestCalls::setxattr(const std::string& path, const std::string& name, const std::string& value, int flags) {
  wire::SetxattrIn in{.size = static_cast<uint32_t>(value.size()),
                      .flags = static_cast<uint32_t>(flags),
                      .setxattr_flags = 0,
                      .padding = 0};
  auto data = std::as_bytes(std::span(value));
  Bytes body = object_bytes(in) + string_bytes(name) + Bytes(data.begin(), data.end());
  return simple(Opcode::setxattr, node(path), body);
}

std::string GuestCalls::getxattr(const std::string& path, const std::string& name, size_t room) {
  int64_t at = node(path);
  if (at < 0) return error_text(static_cast<int>(-at));
  wire::GetxattrIn in{.size = static_cast<uint32_t>(room), .padding = 0};
  auto answer = guest_.call(Opcode::getxattr, static_cast<uint64_t>(at), object_bytes(in) + string_bytes(name),
                            std::max<size_t>(room, 8));
  if (answer.error != 0) return error_text(answer.error);
  if (room == 0) return "size " + std::to_string(answer.as<wire::GetxattrOut>().size);
  return text_of(answer.body);
}

std::string GuestCalls::listxattr(const std::string& path, size_t room) {
  int64_t at = node(path);
  if (at < 0) return error_text(static_cast<int>(-at));
  wire::GetxattrIn in{.size = static_cast<uint32_t>(room), .padding = 0};
  auto answer = guest_.call(Opcode::listxattr, static_cast<uint64_t>(at), object_bytes(in), std::max<size_t>(room, 8));
  if (answer.error != 0) return error_text(answer.error);
  if (room == 0) return "size " + std::to_string(answer.as<wire::GetxattrOut>().size);
  return text_of(answer.body);
}

int64_t GuestCalls::removexattr(const std::string& path, const std::string& name) {
  return simple(Opcode::removexattr, node(path), string_bytes(name));
}

// Lists a directory by READDIR and by READDIRPLUS, in small pieces, and checks that both agree.
std::vector<std::string> GuestCalls::list(const std::string& path) {
  int64_t at = node(path);
  if (at < 0) return {error_text(static_cast<int>(-at))};
  auto nodeid = static_cast<uint64_t>(at);
  std::vector<std::string> names[2];
  for (int plus = 0; plus < 2; plus++) {
    auto opened = guest_.call(Opcode::opendir, nodeid, object_bytes(wire::OpenIn{}));
    if (opened.error != 0) return {error_text(opened.error)};
    wire::ReadIn in{};
    in.fh = opened.as<wire::OpenOut>().fh;
    in.size = 700;
    for (;;) {
      auto answer = guest_.call(plus ? Opcode::readdirplus : Opcode::readdir, nodeid, object_bytes(in), in.size);
      if (answer.error != 0) return {error_text(answer.error)};
      if (answer.body.empty()) break;
      for (size_t i = 0; i < answer.body.size();) {
        if (plus) {
          auto found = answer.as<wire::EntryOut>(i);
          if (found.nodeid != 0) references_[found.nodeid]++;
          i += sizeof(wire::EntryOut);
        }
        auto dirent = answer.as<wire::Dirent>(i);
        i += sizeof(wire::Dirent);
        std::string name = text_of({answer.body.begin() + static_cast<ptrdiff_t>(i),
                                    answer.body.begin() + static_cast<ptrdiff_t>(i + dirent.namelen)});
        names[plus].push_back(name + " " + std::to_string(dirent.type));
        i += wire::align8(dirent.namelen);
        in.offset = dirent.off;
      }
    }
    simple(Opcode::releasedir, at, object_bytes(wire::ReleaseIn{in.fh, 0, 0, 0}));
    std::ranges::sort(names[plus]);
  }
  if (names[0] != names[1]) return {"READDIR and READDIRPLUS differ"};
  return names[0];
}

int64_t GuestCalls::create(Opcode opcode, const Place& at, int flags, mode_t mode) {
  if (at.parent < 0) return at.parent;
  wire::CreateIn in{
      .flags = static_cast<uint32_t>(flags), .mode = mode | S_IFREG, .umask = guest_.umask, .open_flags = 0};
  if ((flags & (O_TRUNC | O_EXCL)) == O_TRUNC && !has_fsetid()) in.open_flags |= wire::kOpenKillSuidgid;
  auto answer = guest_.call(opcode, static_cast<uint64_t>(at.parent), object_bytes(in) + string_bytes(at.name));
  if (answer.error != 0) return -answer.error;
  auto out = answer.as<wire::CreateOut>();
  references_[out.entry.nodeid]++;
  open_[next_fd_] = {out.entry.nodeid, out.open.fh, flags};
  return next_fd_++;
}

int64_t GuestCalls::open(const std::string& path, int flags, mode_t mode) {
  int64_t at = node(path);
  if (at >= 0 && (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return -EEXIST;
  if (at == -ENOENT && (flags & O_CREAT) != 0) return create(Opcode::create, place(path), flags, mode);
  if (at < 0) return at;
  wire::OpenIn in{.flags = static_cast<uint32_t>(flags & ~(O_CREAT | O_EXCL)), .open_flags = 0};
  if ((flags & O_TRUNC) != 0 && !has_fsetid()) in.open_flags |= wire::kOpenKillSuidgid;
  auto answer = guest_.call(Opcode::open, static_cast<uint64_t>(at), object_bytes(in));
  if (answer.error != 0) return -answer.error;
  open_[next_fd_] = {static_cast<uint64_t>(at), answer.as<wire::OpenOut>().fh, flags};
  return next_fd_++;
}

int64_t GuestCalls::tmpfile(const std::string& directory, int flags, mode_t mode) {
  return create(Opcode::tmpfile, {node(directory), "/"}, flags, mode);
}

int64_t GuestCalls::close(int64_t fd) {
  auto found = open_.find(fd);
  if (found == open_.end()) return -EBADF;
  Open file = found->second;
  open_.erase(found);
  auto nodeid = static_cast<int64_t>(file.nodeid);
  int64_t flushed = simple(Opcode::flush, nodeid, object_bytes(wire::FlushIn{file.fh, 0, 0, 1}));
  int64_t released = simple(Opcode::release, nodeid, object_bytes(wire::ReleaseIn{file.fh, 0, 0, 1}));
  return std::min(flushed, released);
}

std::string GuestCalls::read(int64_t fd, size_t size, int64_t offset) {
  auto found = open_.find(fd);
  if (found == open_.end()) return error_text(EBADF);
  wire::ReadIn in{};
  in.fh = found->second.fh;
  in.offset = static_cast<uint64_t>(offset);
  in.size = static_cast<uint32_t>(size);
  auto answer = guest_.call(Opcode::read, found->second.nodeid, object_bytes(in), size);
  return answer.error != 0 ? error_text(answer.error) : text_of(answer.body);
}

int64_t GuestCalls::write(int64_t fd, const std::string& data, int64_t offset) {
  auto found = open_.find(fd);
  if (found == open_.end()) return -EBADF;
  wire::WriteIn in{};
  in.fh = found->second.fh;
  in.offset = static_cast<uint64_t>(offset);
  in.size = static_cast<uint32_t>(data.size());
  in.flags = static_cast<uint32_t>(found->second.flags);
  if (!has_fsetid()) in.write_flags = wire::kWriteKillSuidgid;
  auto bytes = std::as_bytes(std::span(data));
  auto answer = guest_.call(Opcode::write, found->second.nodeid, object_bytes(in) + Bytes(bytes.begin(), bytes.end()));
  return answer.error != 0 ? -answer.error : int64_t{answer.as<wire::WriteOut>().size};
}

int64_t GuestCalls::ftruncate(int64_t fd, int64_t size) {
  auto found = open_.find(fd);
  if (found == open_.end()) return -EBADF;
  wire::SetattrIn in{};
  in.valid = wire::kSetSize | wire::kSetHandle | (has_fsetid() ? 0 : wire::kSetKillSuidgid);
  in.fh = found->second.fh;
  in.size = static_cast<uint64_t>(size);
  return setattr(static_cast<int64_t>(found->second.nodeid), in);
}

int64_t GuestCalls::fsync(int64_t fd, bool data_only) {
  auto found = open_.find(fd);
  if (found == open_.end()) return -EBADF;
  wire::FsyncIn in{.fh = found->second.fh, .fsync_flags = data_only ? wire::kFsyncDatasync : 0, .padding = 0};
  return simple(Opcode::fsync, static_cast<int64_t>(found->second.nodeid), object_bytes(in));
}

int64_t GuestCalls::fallocate(int64_t fd, int mode, int64_t offset, int64_t size) {
  auto found = open_.find(fd);
  if (found == open_.end()) return -EBADF;
  wire::FallocateIn in{.fh = found->second.fh,
                       .offset = static_cast<uint64_t>(offset),
                       .length = static_cast<uint64_t>(size),
                       .mode = static_cast<uint32_t>(mode),
                       .padding = 0};
  return simple(Opcode::fallocate, static_cast<int64_t>(found->second.nodeid), object_bytes(in));
}

int64_t GuestCalls::lseek(int64_t fd, int64_t offset, int whence) {
  auto found = open_.find(fd);
  if (found == open_.end()) return -EBADF;
  wire::LseekIn in{.fh = found->second.fh,
                   .offset = static_cast<uint64_t>(offset),
                   .whence = static_cast<uint32_t>(whence),
                   .padding = 0};
  auto answer = guest_.call(Opcode::lseek, found->second.nodeid, object_bytes(in));
  return answer.error != 0 ? -answer.error : static_cast<int64_t>(answer.as<wire::LseekOut>().offset);
}

int64_t GuestCalls::copy_range(int64_t from, int64_t offset, int64_t to, int64_t to_offset, size_t size) {
  if (!open_.contains(from) || !open_.contains(to)) return -EBADF;
  wire::CopyFileRangeIn in{.fh_in = open_[from].fh,
                           .off_in = static_cast<uint64_t>(offset),
                           .nodeid_out = open_[to].nodeid,
                           .fh_out = open_[to].fh,
                           .off_out = static_cast<uint64_t>(to_offset),
                           .len = size,
                           .flags = 0};
  auto answer = guest_.call(Opcode::copy_file_range, open_[from].nodeid, object_bytes(in));
  return answer.error != 0 ? -answer.error : int64_t{answer.as<wire::WriteOut>().size};
}

int64_t GuestCalls::link_open(int64_t fd, const std::string& to) {
  auto found = open_.find(fd);
  if (found == open_.end()) return -EBADF;
  auto [parent, name] = place(to);
  wire::LinkIn in{.oldnodeid = found->second.nodeid};
  return std::min<int64_t>(entry(Opcode::link, parent, object_bytes(in) + string_bytes(name)), 0);
}

}  // namespace nacre::virtio::fs
