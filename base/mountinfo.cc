#include "base/mountinfo.h"

#include <unistd.h>

#include <sstream>
#include <string_view>

#include "base/fd.h"

namespace nacre {

namespace {

constexpr size_t kMaxMountInfo = 64 << 20;

// "\040" for a space, and the like.
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

std::vector<MountInfo> parse(const std::string& text) {
  std::istringstream lines(text);
  std::vector<MountInfo> mounts;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    MountInfo mount;
    std::string parent, device, root, point, options, field, source, super_options;
    words >> mount.id >> parent >> device >> root >> point >> options;
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

}  // namespace nacre
