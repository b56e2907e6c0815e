// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/found_namespaces.h"

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
#include "runtime/plan/namespaces.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr const char* kMappings[] = {"uidMappings", "gidMappings"};
constexpr const char* kMapFiles[] = {"uid_map", "gid_map"};
constexpr size_t kMaxMap = 65536;  // 340 lines

// A child process that has joined a namespace. It writes what `look` returns there, and stays while this object exists.
class Visitor {
 public:
  static Result<Visitor> send(const Fd& target, int flag, const std::function<std::string()>& look) {
    Pipe pipe = TRY(make_pipe());
    Visitor visitor;
    visitor.pid_ = ::fork();
    if (visitor.pid_ < 0) return fail_errno("fork");
    if (visitor.pid_ == 0) visit(target, flag, look, std::move(pipe.write));
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

  // Runs in the child. Lets no exception out, which would go on in the parent's code.
  [[noreturn]] static void visit(const Fd& target, int flag, const std::function<std::string()>& look,
                                 Fd seen) noexcept {
    if (::setns(target.get(), flag) < 0) ::_exit(errno);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);  // a killed command leaves nothing; joining may forget it
    if (!write_all(seen.get(), look())) ::_exit(EIO);
    seen.reset();
    for (;;) ::pause();
  }

  pid_t pid_ = -1;
  std::string seen_;
};

// Parses uid_map or gid_map: lines of three numbers (user_namespaces(7)).
Json parse_map(const std::string& text) {
  Json ranges = Json::array();
  std::istringstream lines(text);
  for (uint64_t inside, outside, size; lines >> inside >> outside >> size;) {
    ranges.push_back({{"containerID", inside}, {"hostID", outside}, {"size", size}});
  }
  return ranges;
}

// Returns the type's name in /proc/PID/ns.
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

// The containers of ours that run.
class Containers {
 public:
  explicit Containers(const std::string& root) : root_(root) {}

  // Returns the container whose namespace `wanted` leads to, or null. Stand-ins are in the host's own namespaces of
  // some types, whatever their containers have. For these types the path has to be "/proc/PID/..." with the stand-in's
  // pid.
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
    // Our stand-ins are in it too, so the path alone does not tell a container's namespace from the host's. Without an
    // owner it counts as the host's, which nobody may have: root in there would be the host's root. The kernel lets
    // nobody join it either.
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

Result<Json> read_mappings(const std::string& path, const Record* owner) {
  Json found = TRY(mappings_of(path, owner));
  for (const char* name : kMappings) {
    if (found[name].empty()) return fail(path + ": nothing is written in its " + name, EINVAL);
  }
  return found;
}

struct Names {
  std::string host, domain;
};

Result<Names> read_names(const std::string& path) {
  constexpr const char* kNoDomain = "(none)";  // the kernel's word
  Fd target = TRY(open_file(path, O_RDONLY));
  auto look = [] {
    utsname names;
    ::uname(&names);
    return std::string(names.nodename) + '\n' + names.domainname;
  };
  Visitor visitor = TRY_CONTEXT(Visitor::send(target, CLONE_NEWUTS, look), path);
  size_t end = visitor.seen().find('\n');
  std::string domain = visitor.seen().substr(end + 1);
  return Names{.host = visitor.seen().substr(0, end), .domain = domain == kNoDomain ? "" : domain};
}

// Looks at a namespace of which the container gets a copy.
Result<void> read_copy(FoundNamespace& found, const oci::Namespace& wanted, const Record* owner) {
  if (wanted.type == "user") {
    found.mappings = TRY(read_mappings(wanted.path, owner));
  } else {
    Names names = TRY(read_names(wanted.path));
    found.hostname = names.host;
    found.domainname = names.domain;
  }
  return {};
}

}  // namespace

Result<FoundNamespaces> find_namespaces(const oci::Config& config, const std::string& root) {
  Containers containers(root);
  std::map<std::string, const Record*> owners;
  FoundNamespaces found;
  auto find_owner = [&](const oci::Namespace& wanted) {
    const Record* owner = owners[wanted.type] = containers.owner_of(wanted);
    if (owner != nullptr) found[wanted.type].owner = NamespaceOwner{.id = owner->id, .vmm = owner->vmm};
  };
  for (const oci::Namespace& wanted : config.namespaces) {
    if (!wanted.path.empty() && is_guest_type(wanted.type)) find_owner(wanted);
  }
  for (const oci::Namespace& wanted : config.namespaces) {
    if (!wanted.path.empty() && !is_guest_type(wanted.type)) find_owner(wanted);
  }
  const std::string joined = TRY(type_that_joins(config, found));
  for (size_t i = 0; i < config.namespaces.size(); i++) {
    const oci::Namespace& wanted = config.namespaces[i];
    if (!is_copied(wanted, found, joined)) continue;
    std::string place = "linux.namespaces[" + std::to_string(i) + "].path";
    TRY_CONTEXT(read_copy(found[wanted.type], wanted, owners[wanted.type]), place);
  }
  return found;
}

}  // namespace nacre::runtime
