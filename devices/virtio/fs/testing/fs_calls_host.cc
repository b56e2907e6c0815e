// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "devices/virtio/fs/testing/fs_calls.h"

namespace nacre::virtio::fs {

std::string error_text(int code) {
  return std::string("error ") + ::strerrorname_np(code);
}

HostCalls::HostCalls(const std::string& directory) {
  loop_ = EventLoop::create().value();
  thread_ = std::jthread([this, directory] {
    if (::unshare(CLONE_FS) < 0 || ::chdir(directory.c_str()) < 0) std::abort();
    ::umask(022);
    if (!loop_->run()) std::abort();
  });
}

HostCalls::~HostCalls() {
  loop_->stop();
}

int64_t HostCalls::run(const std::function<int64_t()>& call) {
  int64_t result = 0;
  wait_for(*loop_, [&] {
    result = call();
    if (result < 0) result = -errno;
  });
  return result;
}

std::string HostCalls::run_text(size_t room, const std::function<ssize_t(char* data)>& call) {
  std::string text(room, 0);
  int64_t size = run([&]() -> int64_t { return call(text.data()); });
  if (size < 0) return error_text(static_cast<int>(-size));
  if (room == 0) return "size " + std::to_string(size);
  text.resize(static_cast<size_t>(size));
  return text;
}

void HostCalls::become(uint32_t uid, uint32_t gid, uint32_t umask) {
  run([&]() -> int64_t {
    // The C library's wrappers would change every thread, so these are raw system calls. The saved uid stays 0, which
    // allows the way back to root.
    if (::syscall(SYS_setresuid, -1, 0, -1) < 0) return -1;
    if (::syscall(SYS_setgroups, 0, nullptr) < 0 || ::syscall(SYS_setresgid, gid, gid, gid) < 0) return -1;
    ::umask(umask);
    return ::syscall(SYS_setresuid, uid, uid, 0);
  });
}

int64_t HostCalls::mkdir(const std::string& path, mode_t mode) {
  return run([&] { return ::mkdir(path.c_str(), mode); });
}

int64_t HostCalls::mknod(const std::string& path, mode_t mode, dev_t device) {
  return run([&] { return ::mknod(path.c_str(), mode, device); });
}

int64_t HostCalls::symlink(const std::string& target, const std::string& path) {
  return run([&] { return ::symlink(target.c_str(), path.c_str()); });
}

int64_t HostCalls::link(const std::string& from, const std::string& to) {
  return run([&] { return ::link(from.c_str(), to.c_str()); });
}

int64_t HostCalls::unlink(const std::string& path) {
  return run([&] { return ::unlink(path.c_str()); });
}

int64_t HostCalls::rmdir(const std::string& path) {
  return run([&] { return ::rmdir(path.c_str()); });
}

int64_t HostCalls::rename(const std::string& from, const std::string& to, unsigned flags) {
  return run([&] { return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags); });
}

std::string HostCalls::readlink(const std::string& path) {
  return run_text(4096, [&](char* data) { return ::readlink(path.c_str(), data, 4096); });
}

int64_t HostCalls::chmod(const std::string& path, mode_t mode) {
  return run([&] { return ::chmod(path.c_str(), mode); });
}

int64_t HostCalls::chown(const std::string& path, uint32_t uid, uint32_t gid) {
  return run([&] { return ::lchown(path.c_str(), uid, gid); });
}

int64_t HostCalls::truncate(const std::string& path, int64_t size) {
  return run([&] { return ::truncate(path.c_str(), size); });
}

int64_t HostCalls::utimens(const std::string& path, const timespec (&times)[2]) {
  return run([&] { return ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW); });
}

int64_t HostCalls::setxattr(const std::string& path, const std::string& name, const std::string& value, int flags) {
  return run([&] { return ::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags); });
}

std::string HostCalls::getxattr(const std::string& path, const std::string& name, size_t room) {
  return run_text(room, [&](char* data) { return ::lgetxattr(path.c_str(), name.c_str(), data, room); });
}

std::string HostCalls::listxattr(const std::string& path, size_t room) {
  return run_text(room, [&](char* data) { return ::llistxattr(path.c_str(), data, room); });
}

int64_t HostCalls::removexattr(const std::string& path, const std::string& name) {
  return run([&] { return ::lremovexattr(path.c_str(), name.c_str()); });
}

std::vector<std::string> HostCalls::list(const std::string& path) {
  std::vector<std::string> names;
  int64_t result = run([&]() -> int64_t {
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return -1;
    while (dirent* entry = ::readdir(directory)) {
      names.push_back(std::string(entry->d_name) + " " + std::to_string(entry->d_type));
    }
    return ::closedir(directory);
  });
  if (result < 0) return {error_text(static_cast<int>(-result))};
  std::ranges::sort(names);
  return names;
}

int64_t HostCalls::open(const std::string& path, int flags, mode_t mode) {
  return run([&] { return ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode); });
}

int64_t HostCalls::tmpfile(const std::string& directory, int flags, mode_t mode) {
  return run([&] { return ::open(directory.c_str(), flags | O_TMPFILE | O_CLOEXEC, mode); });
}

int64_t HostCalls::close(int64_t fd) {
  return run([&] { return ::close(static_cast<int>(fd)); });
}

std::string HostCalls::read(int64_t fd, size_t size, int64_t offset) {
  return run_text(size, [&](char* data) { return ::pread(static_cast<int>(fd), data, size, offset); });
}

int64_t HostCalls::write(int64_t fd, const std::string& data, int64_t offset) {
  return run([&] { return ::pwrite(static_cast<int>(fd), data.data(), data.size(), offset); });
}

int64_t HostCalls::ftruncate(int64_t fd, int64_t size) {
  return run([&] { return ::ftruncate(static_cast<int>(fd), size); });
}

int64_t HostCalls::fsync(int64_t fd, bool data_only) {
  return run([&] { return data_only ? ::fdatasync(static_cast<int>(fd)) : ::fsync(static_cast<int>(fd)); });
}

int64_t HostCalls::fallocate(int64_t fd, int mode, int64_t offset, int64_t size) {
  return run([&] { return ::fallocate(static_cast<int>(fd), mode, offset, size); });
}

int64_t HostCalls::lseek(int64_t fd, int64_t offset, int whence) {
  return run([&] { return ::lseek(static_cast<int>(fd), offset, whence); });
}

int64_t HostCalls::copy_range(int64_t from, int64_t offset, int64_t to, int64_t to_offset, size_t size) {
  return run(
      [&] { return ::copy_file_range(static_cast<int>(from), &offset, static_cast<int>(to), &to_offset, size, 0); });
}

int64_t HostCalls::link_open(int64_t fd, const std::string& to) {
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  return run([&] { return ::linkat(AT_FDCWD, path.c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW); });
}

}  // namespace nacre::virtio::fs
