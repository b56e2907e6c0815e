// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/read_only.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/log.h"
#include "base/mount.h"

namespace nacre::runtime {

namespace {

bool is_file_for_reading(int fd) {
  struct stat info;
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY || ::fstat(fd, &info) < 0) return false;
  return S_ISREG(info.st_mode) || S_ISBLK(info.st_mode);
}

Result<Fd> open_again(int fd) {
  Fd tree = TRY(clone_tree(fd, "", false));
  // Before the attributes are set, because a device cannot be opened through a mount without devices.
  Fd file = TRY(open_file("/proc/self/fd/" + std::to_string(tree.get()), O_RDONLY | O_NONBLOCK | O_NOCTTY));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0) {
    return fail_errno("mount_setattr");
  }
  off_t position = ::lseek(fd, 0, SEEK_CUR);
  if (position < 0 || ::lseek(file.get(), position, SEEK_SET) < 0) return fail_errno("lseek");
  return file;
}

}  // namespace

std::optional<ReadOnlyFile> ReadOnlyFile::reopen(int fd) {
  if (!is_file_for_reading(fd)) return std::nullopt;
  auto copy = open_again(fd);
  auto original = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (copy && original) return ReadOnlyFile(std::move(original), std::move(*copy));
  log_debug("an input is passed to the VM as the caller opened it" + (copy ? "" : ": " + copy.error().message()));
  return std::nullopt;
}

void ReadOnlyFile::give_position_back() const {
  off_t position = ::lseek(copy_.get(), 0, SEEK_CUR);
  if (position >= 0) ::lseek(original_.get(), position, SEEK_SET);
}

}  // namespace nacre::runtime
