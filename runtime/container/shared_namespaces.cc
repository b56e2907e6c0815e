#include "runtime/container/shared_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <functional>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr const char* kMappings[] = {"uidMappings", "gidMappings"};
constexpr const char* kMapFiles[] = {"uid_map", "gid_map"};
constexpr size_t kMaxMap = 65536;  // 340 lines

// A child that has joined a namespace and says so by what `look` writes; it stays there while this exists.
class Visitor {
 public:
  static Result<Visitor> send(const Fd& target, int flag, const std::function<std::string()>& look) {
    Pipe pipe = TRY(make_pipe());
    Visitor visitor;
    visitor.pid_ = ::fork();
    if (visitor.pid_ < 0) return fail_errno("fork");
    if (visitor.pid_ == 0) {
      if (::setns(target.get(), flag) < 0) ::_exit(errno);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);  // a killed command leaves nothing; joining may forget it
      if (!write_all(pipe.write.get(), look())) ::_exit(EIO);
      pipe.write.reset();
      for (;;) ::pause();
    }
    pipe.write.reset();
    visitor.seen_ = TRY(read_fd(pipe.read.get(), kMaxMap));
    if (!visitor.seen_.empty()) return visitor;
    int status = 0;
    ::waitpid(std::exchange(visitor.pid_, -1), &status, 0);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    return fail(describe_errno(code), code);
  }
  Visitor(Visitor&& other) noexcept : pid_(std::exchange(other.pid_, -1)), seen_(std::move(other.seen_)) {}
  ~Visitor() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  const std::string& seen() const { return seen_; }
  Result<std::string> proc_file(const char* name) const {
    return read_file("/proc/" + std::to_string(pid_) + "/" + name, kMaxMap);
  }

 private:
  Visitor() = default;
  pid_t pid_ = -1;
  std::string seen_;
};

// user_namespaces(7): lines of three numbers.
Json parse_map(const std::string& text) {
  Json ranges = Json::array();
  std::istringstream lines(text);
  for (uint64_t inside, outside, size; lines >> inside >> outside >> size;) {
    ranges.push_back({{"containerID", inside}, {"hostID", outside}, {"size", size}});
  }
  return ranges;
}

// The type's name in /proc/PID/ns.
std::string_view file_of(std::string_view type) {
  return type == "network" ? "net" : type == "mount" ? "mnt" : type;
}

bool is_same(const std::string& path, const std::string& other) {
  struct stat one, two;
  return ::stat(path.c_str(), &one) == 0 && ::stat(other.c_str(), &two) == 0 && one.st_dev == two.st_dev &&
         one.st_ino == two.st_ino;
}

std::string namespace_file(pid_t pid, std::string_view type) {
  return "/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/ns/" + std::string(file_of(type));
}

// Containers of ours that run.
class Containers {
 public:
  explicit Containers(const std::string& root) : root_(root) {}

  // The one whose namespace of that type a path leads to. Of some types stand-ins are in the host's own, whatever
  // their containers have: there "/proc/PID/..." has to name the stand-in.
  const Record* owner_of(const oci::Namespace& wanted) {
    constexpr std::string_view kProc = "/proc/";
    pid_t pid = 0;
    std::string_view path = wanted.path;
    if (path.starts_with(kProc)) std::from_chars(path.data() + kProc.size(), path.data() + path.size(), pid);
    bool is_hosts = is_same(wanted.path, namespace_file(0, wanted.type));
    for (const Record& record : all()) {
      if (record.standin.pid == pid) return &record;
      if (!is_hosts && is_same(wanted.path, namespace_file(record.standin.pid, wanted.type))) return &record;
    }
    return nullptr;
  }

 private:
  const std::vector<Record>& all() {
    if (records_) return *records_;
    records_.emplace();
    auto ids = list_ids(root_);
    for (const std::string& id : ids ? *ids : std::vector<std::string>()) {
      auto view = view_container(root_, id);
      if (view && view->status != Status::stopped) records_->push_back(std::move(view->record));
    }
    return *records_;
  }

  const std::string root_;
  std::optional<std::vector<Record>> records_;
};

Result<Json> mappings_of(const std::string& path, const Record* owner) {
  Fd target = TRY(open_file(path, O_RDONLY));
  if (is_same(path, namespace_file(0, "user"))) {
    // Where our stand-ins are, whatever their containers have. What cannot be told from the host's own is no namespace
    // to give to somebody who asked for one: root in there would be the host's. The kernel lets nobody join it either.
    if (owner != nullptr && !owner->mappings.empty()) return oci::parse_json(owner->mappings, "mappings");
    return fail(path + ": the host's own user namespace is not joined", EINVAL);
  }
  Visitor visitor = TRY_CONTEXT(Visitor::send(target, CLONE_NEWUSER, [] { return std::string("there"); }), path);
  Json mappings;
  for (size_t i = 0; i < std::size(kMappings); i++) {
    mappings[kMappings[i]] = parse_map(TRY(visitor.proc_file(kMapFiles[i])));
  }
  return mappings;
}

Result<void> copy_user_namespace(Json& config, const std::string& path, const Record* owner) {
  Json& linux = config["linux"];
  Json found = TRY(mappings_of(path, owner));
  for (const char* name : kMappings) {
    if (found[name].empty()) return fail(path + ": nothing is written in its " + name, EINVAL);
    linux[name] = found[name];
  }
  return {};
}

// The names of the configuration stay.
Result<void> copy_names(Json& config, const std::string& path) {
  Fd target = TRY(open_file(path, O_RDONLY));
  auto look = [] {
    utsname names;
    ::uname(&names);
    return std::string(names.nodename) + '\n' + names.domainname;
  };
  Visitor visitor = TRY_CONTEXT(Visitor::send(target, CLONE_NEWUTS, look), path);
  size_t end = visitor.seen().find('\n');
  std::string domain = visitor.seen().substr(end + 1);
  if (config.value("hostname", "").empty()) config["hostname"] = visitor.seen().substr(0, end);
  if (config.value("domainname", "").empty() && domain != "(none)") config["domainname"] = domain;
  return {};
}

// Types that have no side on the host: to be in another container's takes being in its VM.
bool is_guests(const std::string& type) {
  return type == "pid" || type == "ipc" || type == "mount" || type == "cgroup" || type == "time";
}

// The container whose VM this one has to be in; null: none.
Result<const Record*> machine_to_join(const oci::Config& config, Containers& containers) {
  const Record* found = nullptr;
  for (const oci::Namespace& wanted : config.namespaces) {
    if (wanted.path.empty() || !is_guests(wanted.type)) continue;
    const Record* owner = containers.owner_of(wanted);
    if (owner == nullptr) continue;
    if (found != nullptr && found->vmm != owner->vmm) {
      return fail("linux.namespaces: those of " + found->id + " and of " + owner->id + " are in two different VMs",
                  EINVAL);
    }
    found = owner;
  }
  return found;
}

Result<void> copy_or_refuse(oci::Config& config, const oci::Namespace& wanted, const Record* owner) {
  if (wanted.type == "network") {  // the host's side of it is joined
    config.warnings.push_back("linux.namespaces: the host's network namespace " + wanted.path +
                              " is not connected to the VM by this version");
    return {};
  }
  if (wanted.type == "user") return copy_user_namespace(config.json, wanted.path, owner);
  if (wanted.type == "uts") return copy_names(config.json, wanted.path);
  if (wanted.type != "ipc") {
    return fail(wanted.path + ": a " + wanted.type + " namespace that is no container's of ours cannot be joined",
                ENOTSUP);
  }
  config.warnings.push_back("linux.namespaces: the container's IPC objects are those of its VM, not of " + wanted.path);
  return {};
}

}  // namespace

Result<void> resolve_namespaces(oci::Config& config, const std::string& root) {
  Containers containers(root);
  const Record* machine = TRY(machine_to_join(config, containers));
  for (size_t i = 0; i < config.namespaces.size(); i++) {
    oci::Namespace& wanted = config.namespaces[i];
    if (wanted.path.empty()) continue;
    // The network of a container in a VM of its own is the host's business.
    const Record* owner = machine == nullptr && wanted.type == "network" ? nullptr : containers.owner_of(wanted);
    bool joins = machine != nullptr && owner != nullptr && owner->vmm == machine->vmm;
    if (joins) config.joins[wanted.type] = owner->id;
    std::string place = "linux.namespaces[" + std::to_string(i) + "].path";
    if (!joins || wanted.type == "user") TRY_CONTEXT(copy_or_refuse(config, wanted, owner), place);
    config.json["linux"]["namespaces"][i].erase("path");
    // The other's stand-in sees the other's files there; ours needs the host's.
    if (wanted.type == "mount") wanted.path.clear();
  }
  return {};
}

std::string kept_mappings(const oci::Config& config) {
  Json kept = Json::object();
  auto linux = config.json.find("linux");
  if (linux == config.json.end() || !linux->contains("namespaces")) return "";
  for (const Json& entry : (*linux)["namespaces"]) {
    if (entry["type"] != "user") continue;
    for (const char* name : kMappings) kept[name] = linux->value(name, Json::array());
    return kept.dump();
  }
  return "";
}

}  // namespace nacre::runtime
