#include "runtime/cgroup/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ranges>
#include <string_view>

#include "base/fd.h"
#include "base/log.h"

namespace nacre::runtime {

namespace {

constexpr const char* kMountPoint = "/sys/fs/cgroup";
constexpr int kRemoveAttempts = 50;
constexpr useconds_t kRemovePauseUs = 2'000;

bool has_version_2() {
  struct statfs info;
  return ::statfs(kMountPoint, &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC;
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

std::string content_of(const std::string& path) {
  auto text = read_file(path);
  return text ? trimmed(std::move(*text)) : "";
}

Result<void> write_to(const std::string& path, const std::string& text) {
  Fd file = TRY(open_file(path, O_WRONLY));
  auto written = write_all(file.get(), text);
  if (!written) return fail_errno("failed to write \"" + text + "\": write " + path, written.error().code());
  return {};
}

// "a/../../b" as seen from "/": "/b".
std::string clean(const std::string& path) {
  std::filesystem::path normal = std::filesystem::path("/" + path).lexically_normal();
  std::string text = normal.string();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text == "/" ? "" : text;
}

Result<std::string> own_cgroup() {
  std::string text = TRY(read_file("/proc/self/cgroup"));
  size_t at = text.starts_with("0::") ? 0 : text.find("\n0::");
  if (at == std::string::npos) return fail("cgroup path not found", ENOENT);
  at = text.find("::", at) + 2;
  return text.substr(at, text.find('\n', at) - at);
}

// What a cgroup that is not a plain domain means for its limits: cgroup-v2.rst, "Threads".
Result<void> check_type(const std::string& directory, bool domain_limits) {
  std::string type = content_of(directory + "/cgroup.type");
  if (type.empty() || type == "domain") return {};
  if (domain_limits) {
    std::string how = type == "domain invalid" ? "an invalid state" : type + " mode";
    return fail("cannot enter cgroupv2 \"" + directory + "\" with domain controllers -- it is in " + how, EOPNOTSUPP);
  }
  if (type == "domain invalid") (void)write_to(directory + "/cgroup.type", "threaded");
  return {};
}

// One refused controller must not keep the others away. One that is missing shows when a limit of it is set.
void enable_controllers(const std::string& directory, const std::string& controllers) {
  std::string all;
  std::vector<std::string> each;
  for (auto part : std::views::split(controllers, ' ')) {
    if (part.empty()) continue;
    each.push_back("+" + std::string(part.begin(), part.end()));
    all += (all.empty() ? "" : " ") + each.back();
  }
  std::string control = directory + "/cgroup.subtree_control";
  if (write_to(control, all)) return;
  for (const auto& one : each) (void)write_to(control, one);
}

Result<void> make_path(const std::string& directory, bool domain_limits, std::vector<std::string>& made) {
  std::string controllers = content_of(std::string(kMountPoint) + "/cgroup.controllers");
  for (size_t end = std::string_view(kMountPoint).size(); end < directory.size();) {
    enable_controllers(directory.substr(0, end), controllers);
    end = std::min(directory.find('/', end + 1), directory.size());
    std::string current = directory.substr(0, end);
    if (::mkdir(current.c_str(), 0755) == 0) {
      made.push_back(current);
    } else if (errno != EEXIST) {
      return fail_errno("mkdir " + current);
    }
    TRY(check_type(current, domain_limits));
  }
  return {};
}

std::vector<std::string> directories_in(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return names;
  while (dirent* entry = ::readdir(directory)) {
    std::string name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.push_back(path + "/" + name);
  }
  ::closedir(directory);
  return names;
}

long count_processes(const std::string& directory) {
  auto text = read_file(directory + "/cgroup.procs");
  long count = text ? std::ranges::count(*text, '\n') : 0;
  for (const auto& below : directories_in(directory)) count += count_processes(below);
  return count;
}

// What runc says of one that others use.
Result<void> check_existing(const std::string& directory) {
  if (long count = count_processes(directory); count > 0) {
    log_warn("container's cgroup is not empty: " + std::to_string(count) + " process(es) found");
  }
  if (content_of(directory + "/cgroup.freeze") == "1") return fail("container's cgroup unexpectedly frozen", EBUSY);
  return {};
}

Result<std::string> make(const std::string& cgroups_path, const std::string& id, bool domain_limits) {
  std::string directory = TRY(cgroup_directory(cgroups_path, id));
  TRY(check_existing(directory));
  std::vector<std::string> made;
  auto outcome = make_path(directory, domain_limits, made);
  if (outcome) return directory;
  for (const auto& path : std::views::reverse(made)) ::rmdir(path.c_str());
  return std::unexpected(outcome.error().with_context("unable to apply cgroup configuration"));
}

bool remove_tree(const std::string& path) {
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
  for (const std::string& below : directories_in(path)) {
    if (!remove_tree(below)) return false;
  }
  return ::rmdir(path.c_str()) == 0 || errno == ENOENT;
}

}  // namespace

Result<std::string> cgroup_directory(const std::string& cgroups_path, const std::string& id) {
  std::string path = cgroups_path.empty() ? id : cgroups_path;
  if (path.starts_with('/')) return kMountPoint + clean(path);
  std::string own = TRY(own_cgroup());
  return kMountPoint + clean(own.substr(0, own.rfind('/')) + clean(path));
}

Result<std::string> make_cgroup(const std::string& cgroups_path, const std::string& id, bool domain_limits) {
  if (!has_version_2()) {
    log_debug("no cgroup for the container: the host has no cgroup version 2 at /sys/fs/cgroup");
    return "";
  }
  auto made = make(cgroups_path, id, domain_limits);
  if (made || ::geteuid() == 0) return made;
  log_debug("no cgroup for the container: " + made.error().message());
  return "";
}

Result<void> move_to_new_cgroup(const std::string& directory, pid_t pid) {
  if (::mkdir(directory.c_str(), 0755) < 0 && errno != EEXIST) return fail_errno("mkdir " + directory);
  auto moved = write_to(directory + "/cgroup.procs", std::to_string(pid));
  if (!moved) ::rmdir(directory.c_str());
  return moved;
}

Result<void> enter_cgroup(const std::string& directory) {
  return write_to(directory + "/cgroup.procs", "0");
}

std::vector<pid_t> processes_in(const std::string& directory) {
  std::vector<pid_t> pids;
  if (directory.empty()) return pids;
  std::ifstream file(directory + "/cgroup.procs");
  for (pid_t pid; file >> pid;) pids.push_back(pid);
  return pids;
}

void remove_cgroup(const std::string& directory) {
  if (directory.empty() || directory == kMountPoint) return;
  // A process leaves its cgroup a moment after its end can be seen.
  for (int attempt = 0; attempt < kRemoveAttempts; attempt++) {
    if (remove_tree(directory) || errno != EBUSY) return;
    ::usleep(kRemovePauseUs);
  }
  log_warn("cgroup " + directory + " is busy and stays");
}

void leave_and_remove_cgroup(const std::string& directory) {
  (void)enter_cgroup(kMountPoint);
  remove_cgroup(directory);
}

}  // namespace nacre::runtime
