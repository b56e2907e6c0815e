// SPDX-License-Identifier: Apache-2.0
#include "base/mountinfo.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <sstream>
#include <string_view>

#include "base/fd.h"

namespace nacre {

namespace {

constexpr size_t kMaxMountInfo = 64 << 20;

// Decodes octal escapes, such as "\040" for a space.
std::string unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream list(text);
  for (std::string part; std::getline(list, part, ',');) parts.push_back(part);
  return parts;
}

#ifndef STATX_MNT_ID_UNIQUE
constexpr unsigned STATX_MNT_ID_UNIQUE = 0x4000;
#endif

uint64_t look_for_id(int directory, const std::string& path, unsigned kind) {
  struct statx info;
  int flags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
  if (::statx(directory, path.c_str(), flags, kind, &info) < 0) return 0;
  return info.stx_mask & kind ? info.stx_mnt_id : 0;
}

std::vector<MountInfo> parse(const std::string& text) {
  std::istringstream lines(text);
  std::vector<MountInfo> mounts;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    MountInfo mount;
    std::string parent, root, point, options, field, source, super_options;
    words >> mount.id >> parent >> mount.device >> root >> point >> options;
    while (words >> field && field != "-") {  // optional fields
    }
    words >> mount.type >> source >> super_options;
    mount.root = unescape(root);
    mount.point = unescape(point);
    mount.options = split(options);
    mount.super_options = split(super_options);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

}  // namespace

Result<std::vector<MountInfo>> read_mountinfo() {
  return parse(TRY(read_file("/proc/self/mountinfo", kMaxMountInfo)));
}

Result<std::vector<MountInfo>> read_mountinfo(int fd) {
  if (::lseek(fd, 0, SEEK_SET) < 0) return fail_errno("lseek mountinfo");
  return parse(TRY(read_fd(fd, kMaxMountInfo)));
}

uint64_t mount_at(int directory, const std::string& path) {
  return look_for_id(directory, path, STATX_MNT_ID);
}

uint64_t unique_mount_at(int directory, const std::string& path) {
  return look_for_id(directory, path, STATX_MNT_ID_UNIQUE);
}

bool unique_mount_exists(uint64_t unique_id) {
  constexpr long kStatmount = 457;
  struct {  // struct mnt_id_req of linux/mount.h
    uint32_t size, spare;
    uint64_t mount_id, parameter;
  } request{.size = 24, .spare = 0, .mount_id = unique_id, .parameter = 0x2 /* STATMOUNT_MNT_BASIC */};
  alignas(8) std::array<std::byte, 512> answer;
  return ::syscall(kStatmount, &request, answer.data(), answer.size(), 0) == 0 || errno != ENOENT;
}

}  // namespace nacre
