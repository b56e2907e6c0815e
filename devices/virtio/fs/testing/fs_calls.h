// SPDX-License-Identifier: Apache-2.0
// Makes the same system calls in two ways, for tests that compare the results: directly on a directory of the host, and
// as requests to a virtio-fs session that serves another directory.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "devices/virtio/fs/testing/fs_guest.h"

namespace nacre::virtio::fs {

// The system calls of a process in a tree. They return numbers as the kernel does: 0 or more, or a negative errno.
// Paths are relative to the root of the tree and go through no symbolic links.
class Calls {
 public:
  virtual ~Calls() = default;
  virtual void become(uint32_t uid, uint32_t gid, uint32_t umask = 022) = 0;

  virtual int64_t mkdir(const std::string& path, mode_t mode) = 0;
  virtual int64_t mknod(const std::string& path, mode_t mode, dev_t device = 0) = 0;
  virtual int64_t symlink(const std::string& target, const std::string& path) = 0;
  virtual int64_t link(const std::string& from, const std::string& to) = 0;
  virtual int64_t unlink(const std::string& path) = 0;
  virtual int64_t rmdir(const std::string& path) = 0;
  virtual int64_t rename(const std::string& from, const std::string& to, unsigned flags = 0) = 0;
  virtual std::string readlink(const std::string& path) = 0;
  virtual int64_t chmod(const std::string& path, mode_t mode) = 0;
  virtual int64_t chown(const std::string& path, uint32_t uid, uint32_t gid) = 0;
  virtual int64_t truncate(const std::string& path, int64_t size) = 0;
  virtual int64_t utimens(const std::string& path, const timespec (&times)[2]) = 0;
  virtual int64_t setxattr(const std::string& path, const std::string& name, const std::string& value, int flags) = 0;
  virtual std::string getxattr(const std::string& path, const std::string& name, size_t room) = 0;
  virtual std::string listxattr(const std::string& path, size_t room) = 0;
  virtual int64_t removexattr(const std::string& path, const std::string& name) = 0;
  virtual std::vector<std::string> list(const std::string& path) = 0;  // "name type", sorted

  // open() and tmpfile() return a descriptor.
  virtual int64_t open(const std::string& path, int flags, mode_t mode = 0) = 0;
  virtual int64_t tmpfile(const std::string& directory, int flags, mode_t mode) = 0;
  virtual int64_t close(int64_t fd) = 0;
  virtual std::string read(int64_t fd, size_t size, int64_t offset) = 0;
  virtual int64_t write(int64_t fd, const std::string& data, int64_t offset) = 0;  // appends with O_APPEND
  virtual int64_t ftruncate(int64_t fd, int64_t size) = 0;
  virtual int64_t fsync(int64_t fd, bool data_only) = 0;
  virtual int64_t fallocate(int64_t fd, int mode, int64_t offset, int64_t size) = 0;
  virtual int64_t lseek(int64_t fd, int64_t offset, int whence) = 0;
  virtual int64_t copy_range(int64_t from, int64_t offset, int64_t to, int64_t to_offset, size_t size) = 0;
  virtual int64_t link_open(int64_t fd, const std::string& to) = 0;
};

// Returns the text of an error, such as "error ENOENT". Calls whose result is text return their errors in this form.
std::string error_text(int code);

// Makes the calls on the host, on a thread of its own. The thread has the credentials of a plain process of the user
// that become() names, and has capabilities only as root.
class HostCalls final : public Calls {
 public:
  explicit HostCalls(const std::string& directory);
  ~HostCalls() override;

  void become(uint32_t uid, uint32_t gid, uint32_t umask) override;
  int64_t mkdir(const std::string& path, mode_t mode) override;
  int64_t mknod(const std::string& path, mode_t mode, dev_t device) override;
  int64_t symlink(const std::string& target, const std::string& path) override;
  int64_t link(const std::string& from, const std::string& to) override;
  int64_t unlink(const std::string& path) override;
  int64_t rmdir(const std::string& path) override;
  int64_t rename(const std::string& from, const std::string& to, unsigned flags) override;
  std::string readlink(const std::string& path) override;
  int64_t chmod(const std::string& path, mode_t mode) override;
  int64_t chown(const std::string& path, uint32_t uid, uint32_t gid) override;
  int64_t truncate(const std::string& path, int64_t size) override;
  int64_t utimens(const std::string& path, const timespec (&times)[2]) override;
  int64_t setxattr(const std::string& path, const std::string& name, const std::string& value, int flags) override;
  std::string getxattr(const std::string& path, const std::string& name, size_t room) override;
  std::string listxattr(const std::string& path, size_t room) override;
  int64_t removexattr(const std::string& path, const std::string& name) override;
  std::vector<std::string> list(const std::string& path) override;
  int64_t open(const std::string& path, int flags, mode_t mode) override;
  int64_t tmpfile(const std::string& directory, int flags, mode_t mode) override;
  int64_t close(int64_t fd) override;
  std::string read(int64_t fd, size_t size, int64_t offset) override;
  int64_t write(int64_t fd, const std::string& data, int64_t offset) override;
  int64_t ftruncate(int64_t fd, int64_t size) override;
  int64_t fsync(int64_t fd, bool data_only) override;
  int64_t fallocate(int64_t fd, int mode, int64_t offset, int64_t size) override;
  int64_t lseek(int64_t fd, int64_t offset, int whence) override;
  int64_t copy_range(int64_t from, int64_t offset, int64_t to, int64_t to_offset, size_t size) override;
  int64_t link_open(int64_t fd, const std::string& to) override;

 private:
  int64_t run(const std::function<int64_t()>& call);  // turns -1 into the negative errno
  std::string run_text(size_t room, const std::function<ssize_t(char* data)>& call);

  std::unique_ptr<EventLoop> loop_;
  std::jthread thread_;
};

// Makes the calls as requests, as Linux's FUSE client does.
class GuestCalls final : public Calls {
 public:
  explicit GuestCalls(FsGuest& guest) : guest_(guest) {}

  // Looks a path up and returns its node id or a negative errno. forget_all() gives the reference back.
  int64_t node(const std::string& path);
  // Gives all references back.
  void forget_all();
  wire::Attr attributes(const std::string& path);

  void become(uint32_t uid, uint32_t gid, uint32_t umask) override;
  int64_t mkdir(const std::string& path, mode_t mode) override;
  int64_t mknod(const std::string& path, mode_t mode, dev_t device) override;
  int64_t symlink(const std::string& target, const std::string& path) override;
  int64_t link(const std::string& from, const std::string& to) override;
  int64_t unlink(const std::string& path) override;
  int64_t rmdir(const std::string& path) override;
  int64_t rename(const std::string& from, const std::string& to, unsigned flags) override;
  std::string readlink(const std::string& path) override;
  int64_t chmod(const std::string& path, mode_t mode) override;
  int64_t chown(const std::string& path, uint32_t uid, uint32_t gid) override;
  int64_t truncate(const std::string& path, int64_t size) override;
  int64_t utimens(const std::string& path, const timespec (&times)[2]) override;
  int64_t setxattr(const std::string& path, const std::string& name, const std::string& value, int flags) override;
  std::string getxattr(const std::string& path, const std::string& name, size_t room) override;
  std::string listxattr(const std::string& path, size_t room) override;
  int64_t removexattr(const std::string& path, const std::string& name) override;
  std::vector<std::string> list(const std::string& path) override;
  int64_t open(const std::string& path, int flags, mode_t mode) override;
  int64_t tmpfile(const std::string& directory, int flags, mode_t mode) override;
  int64_t close(int64_t fd) override;
  std::string read(int64_t fd, size_t size, int64_t offset) override;
  int64_t write(int64_t fd, const std::string& data, int64_t offset) override;
  int64_t ftruncate(int64_t fd, int64_t size) override;
  int64_t fsync(int64_t fd, bool data_only) override;
  int64_t fallocate(int64_t fd, int mode, int64_t offset, int64_t size) override;
  int64_t lseek(int64_t fd, int64_t offset, int whence) override;
  int64_t copy_range(int64_t from, int64_t offset, int64_t to, int64_t to_offset, size_t size) override;
  int64_t link_open(int64_t fd, const std::string& to) override;

 private:
  struct Open {
    uint64_t nodeid, fh;
    int flags;
  };
  struct Place {
    int64_t parent;  // a node id or a negative errno
    std::string name;
  };
  Place place(const std::string& path);
  int64_t simple(wire::Opcode opcode, int64_t nodeid, const Bytes& body);
  int64_t entry(wire::Opcode opcode, int64_t nodeid, const Bytes& body);  // counts the reference; node id or error
  int64_t create(wire::Opcode opcode, const Place& at, int flags, mode_t mode);
  int64_t setattr(int64_t nodeid, wire::SetattrIn in);
  bool has_fsetid() const { return guest_.uid == 0; }

  FsGuest& guest_;
  std::map<uint64_t, uint64_t> references_;
  std::map<int64_t, Open> open_;
  int64_t next_fd_ = 3;
};

}  // namespace nacre::virtio::fs
