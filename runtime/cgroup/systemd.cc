#include "runtime/cgroup/systemd.h"

#include <sys/stat.h>

#include <algorithm>
#include <string_view>

namespace nacre::runtime {

namespace {

constexpr std::string_view kSlice = ".slice";
constexpr const char* kDefaultSlice = "system.slice";
constexpr const char* kDefaultPrefix = "nacre";

// sd_booted(3).
bool runs_systemd() {
  struct stat info;
  return ::lstat("/run/systemd/system", &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

Result<std::string> expand_slice(const std::string& slice) {
  auto wrong = [&slice] { return fail("invalid slice name: " + slice, EINVAL); };
  if (slice == "-.slice") return "";
  if (!slice.ends_with(kSlice) || slice.size() == kSlice.size() || slice.contains('/')) return wrong();
  std::string name = slice.substr(0, slice.size() - kSlice.size());
  std::string path, upper;
  for (size_t at = 0; at <= name.size();) {
    size_t end = std::min(name.find('-', at), name.size());
    if (end == at) return wrong();
    upper = name.substr(0, end);
    path += "/" + upper + std::string(kSlice);
    at = end + 1;
  }
  return path;
}

Result<std::string> systemd_cgroups_path(const std::string& cgroups_path, const std::string& id) {
  if (!runs_systemd()) return fail("systemd not running on this host, cannot use systemd cgroups manager", ENOTSUP);
  std::string slice, prefix = kDefaultPrefix, name = id;
  if (!cgroups_path.empty()) {
    size_t first = cgroups_path.find(':'), second = cgroups_path.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos ||
        cgroups_path.find(':', second + 1) != std::string::npos || cgroups_path.contains('/')) {
      return fail("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"" +
                      cgroups_path + "\" instead",
                  EINVAL);
    }
    slice = cgroups_path.substr(0, first);
    prefix = cgroups_path.substr(first + 1, second - first - 1);
    name = cgroups_path.substr(second + 1);
  }
  std::string path = TRY(expand_slice(slice.empty() ? kDefaultSlice : slice));
  if (name.ends_with(kSlice)) return path + "/" + name;
  return path + "/" + (prefix.empty() ? "" : prefix + "-") + name + ".scope";
}

}  // namespace nacre::runtime
