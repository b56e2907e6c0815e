#include "runtime/lifecycle/shared_namespaces.h"

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

// The container of ours whose stand-in is the process of "/proc/PID/ns/...".
std::optional<Record> container_at(std::string_view path, const std::string& root) {
  constexpr std::string_view kProc = "/proc/";
  pid_t pid = 0;
  if (path.starts_with(kProc)) std::from_chars(path.data() + kProc.size(), path.data() + path.size(), pid);
  auto ids = list_ids(root);
  if (pid <= 0 || !ids) return std::nullopt;
  for (const std::string& id : *ids) {
    auto view = view_container(root, id);
    if (view && view->status != Status::stopped && view->record.standin.pid == pid) return view->record;
  }
  return std::nullopt;
}

bool is_own(const Fd& target, const char* name) {
  struct stat theirs, ours;
  return ::fstat(target.get(), &theirs) == 0 && ::stat(name, &ours) == 0 && theirs.st_dev == ours.st_dev &&
         theirs.st_ino == ours.st_ino;
}

Result<Json> mappings_of(const std::string& path, const std::string& root) {
  Fd target = TRY(open_file(path, O_RDONLY));
  if (is_own(target, "/proc/self/ns/user")) {
    // Where our stand-ins are, whatever their containers have. What cannot be told from the host's own is no namespace
    // to give to somebody who asked for one: root in there would be the host's. The kernel lets nobody join it either.
    auto container = container_at(path, root);
    if (container && !container->mappings.empty()) return oci::parse_json(container->mappings, "mappings");
    return fail(path + ": the host's own user namespace is not joined", EINVAL);
  }
  Visitor visitor = TRY_CONTEXT(Visitor::send(target, CLONE_NEWUSER, [] { return std::string("there"); }), path);
  Json mappings;
  for (size_t i = 0; i < std::size(kMappings); i++) {
    mappings[kMappings[i]] = parse_map(TRY(visitor.proc_file(kMapFiles[i])));
  }
  return mappings;
}

Result<void> copy_user_namespace(Json& config, Json& entry, const std::string& path, const std::string& root) {
  Json& linux = config["linux"];
  Json found = TRY(mappings_of(path, root));
  for (const char* name : kMappings) {
    if (found[name].empty()) return fail(path + ": nothing is written in its " + name, EINVAL);
    linux[name] = found[name];
  }
  entry.erase("path");
  return {};
}

// The names of the configuration stay.
Result<void> copy_names(Json& config, Json& entry, const std::string& path) {
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
  entry.erase("path");
  return {};
}

}  // namespace

Result<void> copy_shared_namespaces(oci::Config& config, const std::string& root) {
  if (!config.json.contains("linux") || !config.json["linux"].contains("namespaces")) return {};
  Json& list = config.json["linux"]["namespaces"];
  for (size_t i = 0; i < list.size(); i++) {
    Json& entry = list[i];
    std::string path = entry.value("path", ""), type = entry["type"];
    if (path.empty()) continue;
    std::string place = "linux.namespaces[" + std::to_string(i) + "].path";
    if (type == "user") TRY_CONTEXT(copy_user_namespace(config.json, entry, path, root), place);
    if (type == "uts") TRY_CONTEXT(copy_names(config.json, entry, path), place);
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
