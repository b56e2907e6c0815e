#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/fd.h"
#include "runtime/translate/translate.h"

namespace nacre::runtime {

namespace {

// Links in the root filesystem are resolved as if it were "/".
Result<Fd> open_in_root(int root, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof(how));
  if (fd < 0) return fail_errno(path);
  return Fd(static_cast<int>(fd));
}

std::vector<std::string> components(const std::string& path) {
  std::vector<std::string> result;
  for (size_t start = 0; start < path.size();) {
    size_t end = std::min(path.find('/', start), path.size());
    std::string part = path.substr(start, end - start);
    if (part == "..") {
      if (!result.empty()) result.pop_back();
    } else if (!part.empty() && part != ".") {
      result.push_back(part);
    }
    start = end + 1;
  }
  return result;
}

Result<void> make_mountpoint(int root, const std::string& destination, bool is_file) {
  if (open_in_root(root, destination, O_PATH)) return {};
  std::vector<std::string> parts = components(destination);
  std::string done = "/";
  for (size_t i = 0; i < parts.size(); i++) {
    Fd parent = TRY(open_in_root(root, done, O_PATH | O_DIRECTORY));
    bool file = is_file && i + 1 == parts.size();
    if (file) {
      Fd made(::openat(parent.get(), parts[i].c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755));
      if (!made && errno != EEXIST) return fail_errno("create " + destination);
    } else if (::mkdirat(parent.get(), parts[i].c_str(), 0755) < 0 && errno != EEXIST) {
      return fail_errno("mkdir " + destination);
    }
    done += (i == 0 ? "" : "/") + parts[i];
  }
  return {};
}

bool is_below(const std::vector<std::string>& path, const std::vector<std::string>& parent) {
  return path.size() > parent.size() && std::equal(parent.begin(), parent.end(), path.begin());
}

}  // namespace

Result<void> make_mountpoints(const oci::Config& config) {
  if (!config.rootfs_readonly) return {};
  Fd root = TRY(open_file(config.rootfs, O_PATH | O_DIRECTORY));
  std::vector<std::vector<std::string>> mounted;
  for (const oci::Mount& mount : config.mounts) {
    std::vector<std::string> path = components(mount.destination);
    // Below another mount it is that mount's file system that counts, not the root's.
    bool covered = std::ranges::any_of(mounted, [&](const auto& other) { return is_below(path, other); });
    if (!covered) {
      bool is_file = false;
      if (mount.bind) {
        struct stat info;
        is_file = ::stat(mount.source.c_str(), &info) == 0 && !S_ISDIR(info.st_mode);
      }
      std::string name = "mounts[" + std::to_string(mount.index) + "].destination";
      TRY_CONTEXT(make_mountpoint(root.get(), mount.destination, is_file), name);
    }
    mounted.push_back(std::move(path));
  }
  return {};
}

}  // namespace nacre::runtime
