// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/v2.h"

#include <algorithm>
#include <cstdlib>
#include <ranges>
#include <string_view>

#include "base/fd.h"
#include "runtime/host/cgroup/oom_kill.h"
#include "runtime/host/cgroup/tree.h"
#include "runtime/host/cgroup/v2_files.h"
#include "runtime/host/cgroup/version.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr const char* kMountPoint = "/sys/fs/cgroup";

// Fails if the type of a cgroup does not allow the limits (cgroup-v2.rst, "Threads").
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

// Enables controllers one by one, so that a refused controller does not keep the others away. A missing controller is
// an error once one of its limits is set.
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
    TRY(make_directory(current, made));
    TRY(check_type(current, domain_limits));
  }
  return {};
}

class Version2 : public CgroupVersion {
 public:
  Result<void> enter(const std::string& cgroup) const override { return write_to(cgroup + "/cgroup.procs", "0"); }
  void leave_and_remove(const std::string& cgroup) const override {
    (void)enter(kMountPoint);
    remove(cgroup);
  }
  Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix,
                                  const std::vector<pid_t>& pids) const override {
    std::vector<std::string> made;
    std::string directory = cgroup + suffix;
    TRY(make_directory(directory, made));
    auto moved = [&]() -> Result<void> {
      for (pid_t pid : pids) TRY(write_to(directory + "/cgroup.procs", std::to_string(pid)));
      return {};
    }();
    if (moved) return directory;
    unmake(made);
    return std::unexpected(moved.error());
  }
  std::vector<pid_t> processes(const std::string& cgroup) const override { return pids_in(cgroup); }
  void remove(const std::string& cgroup) const override {
    if (cgroup != kMountPoint) remove_directory(cgroup);
  }

  std::unique_ptr<OomKill> oom_kill(const std::string& cgroup, pid_t) const override { return oom_kill_v2(cgroup); }

  Result<Files> files(const Json& resources, const std::string& cgroup, unsigned max_cpus) const override {
    return v2_files(resources, cgroup, max_cpus);
  }
  Result<Files> set(const std::string& cgroup, const Files& files) const override {
    return oci::set_cgroup_files(cgroup, files);
  }

  Files backstop(const Json&, std::optional<uint64_t> most) const override {
    return {{.name = "memory.max", .value = most ? std::to_string(*most) : "max"}};
  }
  std::optional<uint64_t> current_backstop(const std::string& cgroup) const override {
    std::string now = content_of(cgroup + "/memory.max");
    if (now.empty()) return std::nullopt;
    return now == "max" ? UINT64_MAX : std::strtoull(now.c_str(), nullptr, 10);
  }
};

}  // namespace

const CgroupVersion& version_2() {
  static const Version2 kVersion;
  return kVersion;
}

Result<std::string> make_v2(const std::string& cgroups_path, const std::string& id, const Json& resources,
                            const CgroupNotice& notice) {
  std::string directory = TRY(cgroup_directory(cgroups_path, id));
  TRY(check_existing(directory));
  TRY(notice(directory));
  TRY(make_directory_v2(directory, resources));
  return directory;
}

Result<std::string> cgroup_of(const std::string& process) {
  std::string text = TRY(read_file("/proc/" + process + "/cgroup"));
  size_t at = text.starts_with("0::") ? 0 : text.find("\n0::");
  if (at == std::string::npos) return fail("cgroup path not found", ENOENT);
  at = text.find("::", at) + 2;
  return kMountPoint + clean_path(text.substr(at, text.find('\n', at) - at));
}

Result<void> check_existing(const std::string& directory) {
  TRY(check_empty(directory));
  if (content_of(directory + "/cgroup.freeze") == "1") return fail("container's cgroup unexpectedly frozen", EBUSY);
  return {};
}

Result<void> make_directory_v2(const std::string& directory, const Json& resources) {
  std::vector<std::string> made;
  auto outcome = make_path(directory, needs_domain(resources), made);
  if (outcome) return {};
  unmake(made);
  return std::unexpected(outcome.error().with_context("unable to apply cgroup configuration"));
}

Result<std::string> cgroup_directory(const std::string& cgroups_path, const std::string& id) {
  std::string path = cgroups_path.empty() ? id : cgroups_path;
  if (path.starts_with('/')) return kMountPoint + clean_path(path);
  std::string own = TRY(cgroup_of("self"));
  std::string beside = own == kMountPoint ? own : own.substr(0, own.rfind('/'));
  return beside + clean_path(path);
}

}  // namespace nacre::runtime
