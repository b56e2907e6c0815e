// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/unit_cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "base/log.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/host/cgroup/tree.h"
#include "runtime/host/cgroup/unit_properties.h"
#include "runtime/host/cgroup/v2.h"
#include "runtime/host/cgroup/version.h"
#include "runtime/host/systemd/annotations.h"
#include "runtime/host/systemd/unit.h"
#include "runtime/host/systemd/unit_name.h"

namespace nacre::runtime {

namespace {

using Files = CgroupVersion::Files;

// Returns true if the host runs systemd (sd_booted(3)).
bool runs_systemd() {
  struct stat info;
  return ::lstat("/run/systemd/system", &info) == 0 && S_ISDIR(info.st_mode);
}

UnitProperties first_properties(const std::string& slice, const std::string& description, pid_t pid) {
  UnitProperties properties = {{"Description", description},
                               {"Slice", slice},
                               {"Delegate", true},
                               {"PIDs", std::vector<uint32_t>{static_cast<uint32_t>(pid)}}};
  for (const char* name : {"MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"}) {
    properties.push_back({name, true});
  }
  properties.push_back({"DefaultDependencies", false});
  return properties;
}

// The name of a cgroup is "systemd:INODE:DIRECTORY". If the directory has another inode number by now, it belongs to a
// later unit and is left alone.
constexpr std::string_view kMark = "systemd:";

struct Unit {
  std::string directory, name;
  uint64_t inode = 0;

  bool is_there() const {
    struct stat info;
    return ::stat(directory.c_str(), &info) == 0 && info.st_ino == inode;
  }
};

std::string last_part(const std::string& directory) {
  return directory.substr(directory.rfind('/') + 1);
}

// Undoes systemd's escaping of names that could be taken for kernel files (cg_escape() in systemd).
std::string unescaped(const std::string& part) {
  return part.starts_with('_') ? part.substr(1) : part;
}

Unit unit_of(const std::string& cgroup) {
  Unit unit;
  size_t colon = cgroup.find(':', kMark.size());
  if (!cgroup.starts_with(kMark) || colon == std::string::npos) return unit;
  unit.inode = std::strtoull(cgroup.c_str() + kMark.size(), nullptr, 10);
  unit.directory = cgroup.substr(colon + 1);
  unit.name = unescaped(last_part(unit.directory));
  return unit;
}

Result<std::string> name_of(const std::string& directory) {
  struct stat info;
  if (::stat(directory.c_str(), &info) < 0) return fail_errno("stat " + directory);
  return std::string(kMark) + std::to_string(info.st_ino) + ":" + directory;
}

// Starts a unit around `pid`, and returns the unit's cgroup directory.
Result<std::string> start_around(const UnitName& name, const UnitProperties& properties, pid_t pid) {
  TRY_CONTEXT(start_unit(name.unit, properties), "unable to apply cgroup configuration");
  auto directory = cgroup_of(std::to_string(pid));
  std::string part = directory ? last_part(*directory) : "";
  if (part == name.unit || part == "_" + name.unit) return directory;
  (void)stop_unit(name.unit);
  if (!directory) return std::unexpected(directory.error());
  return fail("systemd has put the unit \"" + name.unit + "\" into " + *directory, EIO);
}

// Reads the current values of files.
Files read_files(const std::string& directory, auto names) {
  Files files;
  for (const auto& name : names) {
    std::string value = content_of(directory + "/" + std::string(name));
    if (!value.empty()) files.push_back({.name = std::string(name), .value = std::move(value)});
  }
  return files;
}

const oci::CgroupFile* find_file(const Files& files, std::string_view name) {
  auto found = std::ranges::find(files, name, &oci::CgroupFile::name);
  return found == files.end() ? nullptr : &*found;
}

// The files that systemd writes when any limit of the unit changes, even if it has no value for them.
constexpr std::array<std::string_view, 11> kWrittenBySystemd = {
    "memory.min", "memory.low", "memory.high", "memory.max",  "memory.swap.max", "cpu.weight",
    "cpu.idle",   "cpu.max",    "cpuset.cpus", "cpuset.mems", "pids.max"};

void restore(const std::string& directory, const Files& files) {
  for (const auto& file : files) {
    if (content_of(directory + "/" + file.name) != file.value) (void)write_to(directory + "/" + file.name, file.value);
  }
}

// Does what version 2 does without a unit, and tells systemd.
class WithUnit : public CgroupVersion {
 public:
  Result<void> enter(const std::string& cgroup) const override {
    Unit unit = unit_of(cgroup);
    auto entered = version_2().enter(unit.directory);
    if (entered || (entered.error().code() != EACCES && entered.error().code() != EPERM)) return entered;
    return attach_process(unit.name, ::getpid());
  }
  // systemd removes the cgroup after the last process.
  void leave_and_remove(const std::string&) const override {}
  std::vector<pid_t> processes(const std::string& cgroup) const override {
    return version_2().processes(unit_of(cgroup).directory);
  }
  Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix,
                                  const std::vector<pid_t>& pids) const override {
    Unit first = unit_of(cgroup);
    std::string slice = last_part(first.directory.substr(0, first.directory.rfind('/')));
    UnitName name{.unit = first.name.substr(0, first.name.rfind('.')) + suffix + ".scope",
                  .slice = slice.ends_with(".slice") ? slice : "-.slice"};
    std::string directory =
        TRY(start_around(name, first_properties(name.slice, "nacre VM of " + first.name, pids.at(0)), pids.at(0)));
    for (pid_t pid : pids) {
      if (pid != pids.at(0)) TRY(attach_process(name.unit, pid));
    }
    return name_of(directory);
  }
  void remove(const std::string& cgroup) const override {
    Unit unit = unit_of(cgroup);
    if (::access(unit.directory.c_str(), F_OK) == 0 && !unit.is_there()) return;
    if (auto stopped = stop_unit(unit.name); !stopped) log_warn(stopped.error().message());
    if (unit.is_there()) version_2().remove(unit.directory);
  }
  std::unique_ptr<OomKill> oom_kill(const std::string& cgroup, pid_t vmm) const override {
    return version_2().oom_kill(unit_of(cgroup).directory, vmm);
  }
  Result<Files> files(const nlohmann::json& resources, const std::string& cgroup, unsigned max_cpus) const override {
    Files files = TRY(version_2().files(resources, unit_of(cgroup).directory, max_cpus));
    for (auto& file : files) {
      if (file.name == "cpu.max" && !file.unified) file.value = in_percents(file.value);
    }
    return files;
  }
  // systemd first: it writes its own defaults for all limits that it is not told, which would undo ours.
  Result<Files> set(const std::string& cgroup, const Files& files) const override {
    Unit unit = unit_of(cgroup);
    Files before = read_files(unit.directory, kWrittenBySystemd);
    auto done = [&]() -> Result<Files> {
      TRY(set_unit_properties(unit.name, properties_of(files)));
      Files others = before;
      std::erase_if(others, [&files](const auto& file) { return find_file(files, file.name) != nullptr; });
      restore(unit.directory, others);
      return version_2().set(unit.directory, files);
    }();
    if (!done) {
      Files told = before;
      std::erase_if(told, [&files](const auto& file) { return find_file(files, file.name) == nullptr; });
      (void)set_unit_properties(unit.name, properties_of(told));
      restore(unit.directory, before);
      return done;
    }
    for (auto& file : *done) {
      if (const auto* old = find_file(before, file.name)) file.value = old->value;
    }
    return done;
  }
  Files backstop(const nlohmann::json& resources, std::optional<uint64_t> most) const override {
    return version_2().backstop(resources, most);
  }
  std::optional<uint64_t> current_backstop(const std::string& cgroup) const override {
    return version_2().current_backstop(unit_of(cgroup).directory);
  }
};

}  // namespace

const CgroupVersion& version_with_unit() {
  static const WithUnit kVersion;
  return kVersion;
}

bool has_unit(const std::string& cgroup) {
  return cgroup.starts_with(kMark);
}

Result<UnitCgroup> make_unit_cgroup(const std::string& cgroups_path, const std::string& id,
                                    const nlohmann::json& resources,
                                    const std::map<std::string, std::string>& annotations, const CgroupNotice& notice) {
  if (!runs_systemd()) return fail("systemd not running on this host, cannot use systemd cgroups manager", ENOTSUP);
  UnitName name = TRY(parse_unit(cgroups_path, id, is_users_systemd()));
  UnitProperties asked = TRY(annotated_properties(annotations));
  if (host_has_version_1()) {
    std::string path = TRY(expand_slice(name.slice)) + "/" + name.unit;
    return UnitCgroup{.name = TRY(make_cgroup(path, id, resources, notice)), .holder = {}};
  }
  UnitCgroup made{.name = "", .holder = TRY(Holder::start())};
  auto properties = first_properties(name.slice, "nacre container " + id, made.holder.pid());
  for (auto& property : asked) properties.push_back(std::move(property));
  std::string directory = TRY(start_around(name, properties, made.holder.pid()));
  auto filled = [&]() -> Result<void> {
    made.name = TRY(name_of(directory));
    // systemd enables the controllers that it needs itself.
    return make_directory_v2(directory, resources);
  }();
  if (filled) return made;
  made.holder = {};
  (void)stop_unit(name.unit);
  return std::unexpected(filled.error());
}

}  // namespace nacre::runtime
