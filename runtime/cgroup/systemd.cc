#include "runtime/cgroup/systemd.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/log.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/unit.h"
#include "runtime/cgroup/v2.h"
#include "runtime/cgroup/version.h"

namespace nacre::runtime {

namespace {

constexpr std::string_view kSlice = ".slice";
constexpr const char* kDefaultPrefix = "nacre";

// sd_booted(3).
bool runs_systemd() {
  struct stat info;
  return ::lstat("/run/systemd/system", &info) == 0 && S_ISDIR(info.st_mode);
}

struct Unit {
  std::string name, slice;
  std::string path;  // of its cgroup
};

Result<Unit> parse_unit(const std::string& cgroups_path, const std::string& id) {
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
  Unit unit;
  unit.slice = !slice.empty() ? slice : ::geteuid() == 0 ? "system.slice" : "user.slice";
  unit.name = name.ends_with(kSlice) ? name : (prefix.empty() ? "" : prefix + "-") + name + ".scope";
  unit.path = TRY(expand_slice(unit.slice)) + "/" + unit.name;
  return unit;
}

UnitProperties first_properties(const Unit& unit, const std::string& id, pid_t pid) {
  bool is_slice = unit.name.ends_with(kSlice);
  UnitProperties properties = {{"Description", "nacre container " + id}};
  if (is_slice) {
    properties.push_back({"Wants", std::vector<std::string>{unit.slice}});
  } else {
    properties.push_back({"Slice", unit.slice});
    properties.push_back({"Delegate", true});
    properties.push_back({"PIDs", std::vector<uint32_t>{static_cast<uint32_t>(pid)}});
  }
  for (const char* name : {"MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"}) {
    properties.push_back({name, true});
  }
  properties.push_back({"DefaultDependencies", false});
  return properties;
}

constexpr std::string_view kMark = "systemd:";

std::string unit_of(const std::string& cgroup) {
  return cgroup.substr(cgroup.rfind('/') + 1);
}

// As without a unit, and systemd is told.
class WithUnit : public CgroupVersion {
 public:
  Result<std::string> make(const std::string&, const std::string&, const nlohmann::json&) const override {
    return fail("a unit's cgroup is made by make_systemd_cgroup()", EINVAL);
  }
  Result<void> enter(const std::string& cgroup) const override { return version_2().enter(directory_v2(cgroup)); }
  void leave(const std::string& cgroup) const override { version_2().leave(directory_v2(cgroup)); }
  std::vector<pid_t> processes(const std::string& cgroup) const override {
    return version_2().processes(directory_v2(cgroup));
  }
  Result<std::string> move_beside(const std::string& cgroup, const std::string& suffix, pid_t pid) const override {
    return version_2().move_beside(directory_v2(cgroup), suffix, pid);
  }
  void remove(const std::string& cgroup) const override {
    if (auto stopped = stop_unit(unit_of(cgroup)); !stopped) log_warn(stopped.error().message());
    version_2().remove(directory_v2(cgroup));
  }
  Result<Files> files(const nlohmann::json& resources, const std::string& cgroup, unsigned max_cpus) const override {
    return version_2().files(resources, directory_v2(cgroup), max_cpus);
  }
  // systemd first, which writes its own idea of them; then what it has no words for, and the exact values.
  Result<Files> set(const std::string& cgroup, const Files& files) const override {
    TRY(set_unit_properties(unit_of(cgroup), properties_of(files)));
    return version_2().set(directory_v2(cgroup), files);
  }
  Files backstop(const nlohmann::json& resources, std::optional<uint64_t> most) const override {
    return version_2().backstop(resources, most);
  }
  std::optional<uint64_t> current_backstop(const std::string& cgroup) const override {
    return version_2().current_backstop(directory_v2(cgroup));
  }
};

}  // namespace

Result<Holder> Holder::start() {
  pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid > 0) return Holder(pid);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  while (::getppid() == parent) ::pause();
  ::_exit(0);
}

Holder::~Holder() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

const CgroupVersion& version_with_unit() {
  static const WithUnit kVersion;
  return kVersion;
}

bool has_unit(const std::string& cgroup) {
  return cgroup.starts_with(kMark);
}

std::string directory_v2(const std::string& cgroup) {
  return has_unit(cgroup) ? cgroup.substr(kMark.size()) : cgroup;
}

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

Result<SystemdCgroup> make_systemd_cgroup(const std::string& cgroups_path, const std::string& id,
                                          const nlohmann::json& resources,
                                          const std::map<std::string, std::string>& annotations) {
  if (!runs_systemd()) return fail("systemd not running on this host, cannot use systemd cgroups manager", ENOTSUP);
  Unit unit = TRY(parse_unit(cgroups_path, id));
  if (host_has_version_1()) return SystemdCgroup{.name = TRY(make_cgroup(unit.path, id, resources)), .holder = {}};
  UnitProperties asked = TRY(annotated_properties(annotations));
  std::string path = (::geteuid() == 0 ? "" : TRY(manager_cgroup())) + unit.path;
  std::string directory = TRY(cgroup_directory(path, id));
  TRY(check_existing(directory));
  SystemdCgroup made{.name = std::string(kMark) + directory, .holder = TRY(Holder::start())};
  auto properties = first_properties(unit, id, made.holder.pid());
  for (auto& property : asked) properties.push_back(std::move(property));
  TRY_CONTEXT(start_unit(unit.name, properties), "unable to apply cgroup configuration");
  // systemd enables the controllers that it needs itself.
  if (auto enabled = make_directory_v2(directory, resources); !enabled) {
    made.holder = {};
    version_with_unit().remove(made.name);
    return std::unexpected(enabled.error());
  }
  return made;
}

}  // namespace nacre::runtime
