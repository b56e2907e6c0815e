// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/v1.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <span>
#include <sstream>

#include "base/fd.h"
#include "base/mountinfo.h"
#include "runtime/host/cgroup/oom_kill.h"
#include "runtime/host/cgroup/tree.h"
#include "runtime/host/cgroup/v1_files.h"
#include "runtime/host/cgroup/version.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr const char* kControllers[] = {"cpuset",     "devices", "memory",  "cpu",         "cpuacct",
                                        "pids",       "blkio",   "hugetlb", "net_cls",     "net_prio",
                                        "perf_event", "freezer", "rdma",    "name=systemd"};
constexpr const char* kHybrid = "/sys/fs/cgroup/unified";

std::set<std::string> distinct(const Directories& directories) {
  std::set<std::string> all;
  for (const auto& [controller, directory] : directories) all.insert(directory);
  return all;
}

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

bool same_filesystem(const std::string& one, const std::string& other) {
  struct stat first, second;
  return ::stat(one.c_str(), &first) == 0 && ::stat(other.c_str(), &second) == 0 && first.st_dev == second.st_dev;
}

// Returns the root of the hierarchy that a directory is in.
std::string root_of(std::string directory) {
  while (same_filesystem(directory, parent_of(directory))) directory = parent_of(directory);
  return directory;
}

const MountInfo* mount_of(const std::vector<MountInfo>& mounts, const std::string& controller) {
  auto found = std::ranges::find_if(mounts, [&](const MountInfo& mount) {
    return mount.type == "cgroup" && std::ranges::find(mount.super_options, controller) != mount.super_options.end();
  });
  return found == mounts.end() ? nullptr : &*found;
}

// Returns the paths of our own cgroups by controller, from lines such as "4:cpu,cpuacct:/a/b".
Result<std::map<std::string, std::string>> own_paths() {
  std::istringstream lines(TRY(read_file("/proc/self/cgroup")));
  std::map<std::string, std::string> paths;
  for (std::string line; std::getline(lines, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::istringstream list(line.substr(first + 1, second - first - 1));
    for (std::string name; std::getline(list, name, ',');) paths[name] = line.substr(second + 1);
  }
  return paths;
}

// Converts a path of /proc/self/cgroup to a path below the mount point. In a container, the mount need not show the
// hierarchy's root.
std::string below_mount(const MountInfo& mount, const std::string& path) {
  std::string root = clean_path(mount.root);
  if (path != root && !path.starts_with(root + "/")) return "";
  return clean_path(path.substr(root.size()));
}

// Returns the directories of a linux.cgroupsPath. An absolute path is below the mount points. A relative path is below
// our own cgroups; so is the id, if the path is empty. In version 2 a relative path is beside our own cgroup, because
// there a cgroup cannot hold both processes and limited cgroups. Version 1 has no such rule.
Result<Directories> find_directories(const std::string& cgroups_path, const std::string& id) {
  auto mounts = TRY(read_mountinfo());
  auto own = TRY(own_paths());
  std::string path = cgroups_path.empty() ? id : cgroups_path;
  bool absolute = path.starts_with('/');
  Directories directories;
  for (const char* controller : kControllers) {
    const MountInfo* mount = mount_of(mounts, controller);
    if (mount == nullptr) continue;
    std::string upper = absolute ? "" : below_mount(*mount, own[controller]);
    directories[controller] = mount->point + upper + clean_path(path);
  }
  struct statfs info;
  if (::statfs(kHybrid, &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC) directories[""] = kHybrid + clean_path(path);
  return directories;
}

// Gives a cpuset the CPUs and memory nodes of its parent if it has none: without them it takes no process.
Result<void> inherit_cpuset(const std::string& directory) {
  for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
    if (!content_of(directory + name).empty()) continue;
    TRY(write_to(directory + name, content_of(parent_of(directory) + name)));
  }
  return {};
}

// Gives the container's cpuset the CPUs that it asks for from the start, because it must not overlap with an exclusive
// cpuset beside it.
Result<void> fill_cpuset(const std::string& directory, const Json& resources) {
  auto cpu = resources.find("cpu");
  if (cpu != resources.end()) {
    for (auto [name, file] : {std::pair("cpus", "/cpuset.cpus"), std::pair("mems", "/cpuset.mems")}) {
      if (std::string set = cpu->value(name, ""); !set.empty()) TRY(write_to(directory + file, set));
    }
  }
  return inherit_cpuset(directory);
}

Result<void> make_path(const std::string& directory, bool cpuset, const Json& resources,
                       std::vector<std::string>& made) {
  std::vector<std::string> missing;
  for (std::string current = directory; !current.empty(); current = parent_of(current)) {
    struct statfs info;
    if (::statfs(parent_of(current).c_str(), &info) == 0 && info.f_type != CGROUP_SUPER_MAGIC &&
        info.f_type != CGROUP2_SUPER_MAGIC) {
      break;  // the hierarchy's root
    }
    missing.push_back(current);
  }
  for (; !missing.empty(); missing.pop_back()) {
    TRY(make_directory(missing.back(), made));
    if (cpuset) TRY(missing.size() == 1 ? fill_cpuset(directory, resources) : inherit_cpuset(missing.back()));
  }
  return {};
}

Result<void> check_existing(const Directories& directories) {
  if (auto devices = directories.find("devices"); devices != directories.end()) TRY(check_empty(devices->second));
  auto freezer = directories.find("freezer");
  if (freezer == directories.end() || content_of(freezer->second + "/freezer.state") != "FROZEN") return {};
  return fail("container's cgroup unexpectedly frozen", EBUSY);
}

Result<void> make_all(const Directories& directories, const Json& resources, std::vector<std::string>& made) {
  for (const auto& [controller, directory] : directories) {
    TRY(make_path(directory, controller == "cpuset", resources, made));
  }
  return {};
}

// Returns true for a thread of the kernel. KVM moves a kernel thread to the VM's cgroup.
bool is_kernel_thread(pid_t pid) {
  char program;
  return ::readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), &program, 1) < 0 && errno == ENOENT;
}

void move_kernel_threads(const std::string& from, const std::string& to) {
  for (pid_t pid : pids_in(from)) {
    if (is_kernel_thread(pid)) (void)write_to(to + "/cgroup.procs", std::to_string(pid));
  }
}

std::string name_of(const Directories& directories) {
  return Json(directories).dump(-1, ' ', false, Json::error_handler_t::replace);
}

class Version1 : public CgroupVersion {
 public:
  Result<void> enter(const std::string& cgroup) const override {
    for (const auto& directory : distinct(directories_of(cgroup))) TRY(write_to(directory + "/cgroup.procs", "0"));
    return {};
  }

  void leave_and_remove(const std::string& cgroup) const override {
    for (const auto& directory : distinct(directories_of(cgroup))) {
      (void)write_to(root_of(directory) + "/cgroup.procs", "0");
    }
    remove(cgroup);
  }

  Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix,
                                  const std::vector<pid_t>& pids) const override {
    Directories directories = directories_of(cgroup);
    for (auto& [controller, directory] : directories) directory += suffix;
    std::vector<std::string> made;
    auto moved = [&]() -> Result<void> {
      TRY(make_all(directories, Json::object(), made));
      for (const auto& directory : distinct(directories_of(cgroup))) {
        for (pid_t pid : pids) TRY(write_to(directory + suffix + "/cgroup.procs", std::to_string(pid)));
        move_kernel_threads(directory, directory + suffix);
      }
      return {};
    }();
    if (moved) return name_of(directories);
    // A directory that the process has entered already stays until the process ends.
    unmake(made);
    return std::unexpected(moved.error());
  }

  std::vector<pid_t> processes(const std::string& cgroup) const override {
    Directories directories = directories_of(cgroup);
    if (directories.empty()) return {};
    auto devices = directories.find("devices");
    auto pids = pids_in(devices == directories.end() ? directories.begin()->second : devices->second);
    std::erase_if(pids, is_kernel_thread);
    return pids;
  }

  void remove(const std::string& cgroup) const override {
    for (const auto& directory : distinct(directories_of(cgroup))) {
      if (root_of(directory) != directory) remove_directory(directory);
    }
  }

  std::unique_ptr<OomKill> oom_kill(const std::string& cgroup, pid_t vmm) const override {
    return oom_kill_v1(cgroup, vmm);
  }

  Result<Files> files(const Json& resources, const std::string& cgroup, unsigned max_cpus) const override {
    return v1_files(resources, directories_of(cgroup), max_cpus);
  }

  Result<Files> set(const std::string& cgroup, const Files& files) const override {
    return oci::set_cgroup_files("", TRY(in_directories(directories_of(cgroup), files)));
  }

  Files backstop(const Json& resources, std::optional<uint64_t> most) const override {
    return v1_backstop(resources, most);
  }

  std::optional<uint64_t> current_backstop(const std::string& cgroup) const override {
    Directories directories = directories_of(cgroup);
    std::string now = content_of(directories["memory"] + "/" + kMemoryLimit);
    if (now.empty()) return std::nullopt;
    uint64_t limit = std::strtoull(now.c_str(), nullptr, 10);
    constexpr uint64_t kNoLimit = INT64_MAX / 4096 * 4096;  // as the kernel shows an unlimited value
    return limit >= kNoLimit ? UINT64_MAX : limit;
  }
};

}  // namespace

const CgroupVersion& version_1() {
  static const Version1 kVersion;
  return kVersion;
}

Result<std::string> make_v1(const std::string& cgroups_path, const std::string& id, const Json& resources,
                            const CgroupNotice& notice) {
  constexpr const char* kFailed = "unable to apply cgroup configuration";
  if (resources.contains("unified") && !resources["unified"].empty()) {
    return fail(std::string(kFailed) + ": invalid configuration: cannot use unified on cgroup v1", EINVAL);
  }
  Directories directories = TRY_CONTEXT(find_directories(cgroups_path, id), kFailed);
  TRY(check_existing(directories));
  TRY(notice(name_of(directories)));
  std::vector<std::string> made;
  auto outcome = make_all(directories, resources, made);
  if (outcome) return name_of(directories);
  unmake(made);
  return std::unexpected(outcome.error().with_context(kFailed));
}

Directories directories_of(const std::string& cgroup) {
  Json json = Json::parse(cgroup, nullptr, false);
  Directories directories;
  if (!json.is_object()) return directories;
  for (const auto& [controller, directory] : json.items()) {
    if (directory.is_string()) directories[controller] = directory.get<std::string>();
  }
  return directories;
}

}  // namespace nacre::runtime
