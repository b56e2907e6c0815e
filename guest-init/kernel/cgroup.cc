// SPDX-License-Identifier: Apache-2.0
#include "guest-init/kernel/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>

#include "base/directory.h"

namespace nacre::guest {

namespace {

constexpr const char* kSetting = "error setting cgroup config for procHooks process";  // as runc calls it

void for_each_process(const std::string& path, const std::function<void(pid_t)>& visit) {
  for (const std::string& below : directories_in(path)) for_each_process(below, visit);
  auto text = read_file(path + "/cgroup.procs");
  if (!text) return;
  const char* at = text->c_str();
  while (*at != '\0') {
    char* end;
    long pid = std::strtol(at, &end, 10);
    if (end == at) return;
    if (pid > 0) visit(static_cast<pid_t>(pid));
    at = *end == '\n' ? end + 1 : end;
  }
}

}  // namespace

Result<Cgroup> Cgroup::create(const std::string& parent, const std::string& name,
                              const std::vector<oci::CgroupFile>& files) {
  std::string path = parent + "/" + name;
  if (::mkdir(path.c_str(), 0755) < 0) return fail_errno("make cgroup " + path);
  auto made = [&]() -> Result<Cgroup> {
    Cgroup cgroup(path, TRY(open_file(path, O_RDONLY | O_DIRECTORY)));
    TRY_CONTEXT(oci::set_cgroup_files(path, files), kSetting);
    return cgroup;
  }();
  if (!made) ::rmdir(path.c_str());
  return made;
}

Result<Fd> Cgroup::of_process(const std::string& mount_point, pid_t pid) {
  std::string text = TRY(read_file("/proc/" + std::to_string(pid) + "/cgroup"));
  size_t at = text.rfind("0::", 0) == 0 ? 0 : text.find("\n0::");
  if (at == std::string::npos) return fail("process is in no cgroup", ESRCH);
  at = text.find("::", at) + 2;
  return open_file(mount_point + text.substr(at, text.find('\n', at) - at), O_RDONLY | O_DIRECTORY);
}

Result<Fd> Cgroup::open_below(const std::string& path) const {
  if (path[0] == '/' || ("/" + path + "/").find("/../") != std::string::npos) {
    return fail(path + " is not a sub cgroup path", EINVAL);
  }
  return open_at(directory_.get(), path, O_RDONLY | O_DIRECTORY);
}

Result<void> Cgroup::delegate(uid_t uid) const {
  constexpr auto kSameGroup = static_cast<gid_t>(-1);
  if (::fchown(directory_.get(), uid, kSameGroup) < 0) return fail_errno("delegate the cgroup");
  std::string names = TRY(read_file("/sys/kernel/cgroup/delegate"));
  for (size_t at = 0; at < names.size();) {
    size_t end = std::min(names.find('\n', at), names.size());
    std::string name = names.substr(at, end - at);
    at = end + 1;
    if (::fchownat(directory_.get(), name.c_str(), uid, kSameGroup, 0) < 0 && errno != ENOENT) {
      return fail_errno("delegate " + name);
    }
  }
  return {};
}

Result<void> Cgroup::kill_all() const {
  Fd file = TRY(open_at(directory_.get(), "cgroup.kill", O_WRONLY));
  return write_all(file.get(), "1");
}

Result<void> Cgroup::signal_all(int signal) const {
  for_each_process(path_, [signal](pid_t pid) { ::kill(pid, signal); });
  return {};
}

std::vector<pid_t> Cgroup::processes() const {
  std::vector<pid_t> pids;
  for_each_process(path_, [&pids](pid_t pid) { pids.push_back(pid); });
  return pids;
}

Result<void> Cgroup::update(const std::vector<oci::CgroupFile>& files) const {
  TRY(oci::set_cgroup_files(path_, files));
  return {};
}

bool Cgroup::try_remove() const {
  return remove_directories(path_);
}

}  // namespace nacre::guest
