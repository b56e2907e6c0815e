// SPDX-License-Identifier: Apache-2.0
#include "guest-init/testing/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string_view>

#include "base/event_loop.h"
#include "guest-init/kernel/device_filter.h"
#include "guest-init/server.h"

namespace nacre::guest {

namespace {

using protocol::Json;
namespace fs = std::filesystem;

constexpr const char* kBusybox = "/bin/busybox";
constexpr const char* kApplets[] = {"sh",   "cat",  "ls",   "id",    "echo",     "sleep", "true",  "hostname",
                                    "stat", "head", "grep", "touch", "md5sum",   "ps",    "mount", "env",
                                    "pwd",  "wc",   "kill", "dd",    "readlink", "test",  "mkdir", "seq"};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  ::_exit(99);
}

// Into new namespaces, in which this process is the first; the caller's process waits outside.
bool enter_namespaces() {
  return ::unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS) == 0 &&
         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

// What ends a container syncs the file system that it came from, and after a build that of this machine has minutes of
// writing to do. The mount is in a namespace of this process's own: nothing is left of it, however the test ends.
void mount_file_system_of_our_own(const std::string& at) {
  static bool moved = ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  if (!moved || ::mount("tmpfs", at.c_str(), "tmpfs", MS_NOSUID, "mode=755") < 0) die("tmpfs");
}

}  // namespace

std::string machine_missing() {
  if (::geteuid() != 0) return "not root";
  if (::access(kBusybox, X_OK) != 0) return "no /bin/busybox (package busybox-static)";
  pid_t pid = ::fork();
  if (pid == 0) {
    bool mounts = enter_namespaces() && ::mount("cgroup2", "/mnt", "cgroup2", 0, nullptr) == 0;
    if (!mounts) ::_exit(1);
    std::string cgroup = "/mnt/nacre-probe-" + std::to_string(::getpid());
    if (::mkdir(cgroup.c_str(), 0755) < 0) ::_exit(1);
    Fd directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    bool filters = filter_devices(directory.get(), {}).has_value();
    ::rmdir(cgroup.c_str());
    ::_exit(filters ? 0 : 2);
  }
  int status = -1;
  ::waitpid(pid, &status, 0);
  if (status == 0) return "";
  return WEXITSTATUS(status) == 2 ? "BPF programs for cgroups are not permitted"
                                  : "namespaces or cgroup2 are not permitted";
}

TestMachine::TestMachine() {
  std::string pattern = fs::temp_directory_path() / "nacre-guest-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) die("mkdtemp");
  directory_ = pattern;
  mount_file_system_of_our_own(directory_);
  make_rootfs();
  auto [ours, theirs] = std::move(*make_socketpair(SOCK_STREAM));
  primary_ = std::move(ours);
  auto ready = std::move(*make_pipe());
  server_ = ::fork();
  if (server_ == 0) {
    primary_.reset();
    ready.read.reset();
    if (!enter_namespaces()) die("namespaces");
    pid_t first = ::fork();
    if (first == 0) serve(theirs.get(), std::move(ready.write));
    theirs.reset();
    ready.write.reset();
    int status = 0;
    ::waitpid(first, &status, 0);
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
  }
  ready.write.reset();
  theirs.reset();
  // Until it listens, or has died of what it then said.
  char byte;
  if (::read(ready.read.get(), &byte, 1) != 1) die("the server does not come up");
}

TestMachine::~TestMachine() {
  primary_.reset();
  int status = 0;
  ::waitpid(server_, &status, 0);
  if (status != 0) std::fprintf(stderr, "the server ended with status %d\n", status);
  ::umount2(directory_.c_str(), MNT_DETACH);
  fs::remove_all(directory_);
}

bool TestMachine::is_running() const {
  return ::waitpid(server_, nullptr, WNOHANG) == 0;
}

std::string TestMachine::describe_processes() const {
  constexpr std::string_view kFields[] = {"Name:", "State:", "SigPnd:", "ShdPnd:", "SigCgt:"};
  std::string text;
  std::vector<std::string> pids = {std::to_string(server_)};
  for (size_t i = 0; i < pids.size(); i++) {  // grows
    std::string directory = "/proc/" + pids[i];
    text += pids[i];
    std::istringstream status(read_file(directory + "/status").value_or(""));
    for (std::string line; std::getline(status, line);) {
      bool tells = std::ranges::any_of(kFields, [&](std::string_view field) { return line.starts_with(field); });
      if (tells) text += " " + line;
    }
    text += " in " + read_file(directory + "/wchan").value_or("") + ", " + read_file(directory + "/stack").value_or("");
    text += "\n";
    std::istringstream children(read_file(directory + "/task/" + pids[i] + "/children").value_or(""));
    for (std::string child; children >> child;) pids.push_back(child);
  }
  return text;
}

void TestMachine::make_rootfs() const {
  for (const char* name : {"bin", "etc", "tmp", "proc", "sys", "dev", "secret"}) {
    fs::create_directories(rootfs() + "/" + name);
  }
  fs::create_directories(directory_ + "/sockets");
  fs::create_directories(directory_ + "/cgroup");
  fs::copy_file(kBusybox, rootfs() + "/bin/busybox");
  for (const char* applet : kApplets) fs::create_symlink("busybox", rootfs() + "/bin/" + applet);
  ::chmod((rootfs() + "/tmp").c_str(), 01777);
  *replace_file(rootfs() + "/etc/passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n", 0644);
  *replace_file(rootfs() + "/bin/broken", "not a program", 0755);
  *replace_file(rootfs() + "/secret/file", "hidden", 0644);
}

void TestMachine::serve(int primary, Fd ready) const {
  // The first process of a machine ignores no signal. Whoever runs the tests may: SIGHUP, by nohup(1).
  for (int signal = 1; signal < NSIG; signal++) ::signal(signal, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
  if (::mount("proc", "/proc", "proc", 0, nullptr) < 0) die("proc");
  TableConfig config;
  config.cgroup_mount = directory_ + "/cgroup";
  config.cgroup_parent = config.cgroup_mount + "/" + fs::path(directory_).filename().string();
  config.share = directory_;
  config.notify_directory = notify_directory();
  config.shared_directory = directory_ + "/shared";
  config.helper_seconds = 5;
  if (::mount("cgroup2", config.cgroup_mount.c_str(), "cgroup2", 0, nullptr) < 0) die("cgroup2");
  if (::mkdir(config.cgroup_parent.c_str(), 0755) < 0) die("cgroup");
  bool clean = true;
  {
    auto loop = std::move(*EventLoop::create());
    UnixTransport transport(directory_ + "/sockets");
    auto server = Server::create(*loop, transport, config);
    if (!server) die(server.error().message().c_str());
    *(*server)->add_primary(Fd(primary), [&loop] { loop->stop(); });
    if (::write(ready.get(), "", 1) != 1) die("ready");
    ready.reset();
    if (!loop->run()) die("event loop");
  }
  ::kill(-1, SIGKILL);
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
  for (const auto& entry : fs::directory_iterator(config.cgroup_parent)) {
    if (entry.is_directory()) ::rmdir(entry.path().c_str());
  }
  clean = ::rmdir(config.cgroup_parent.c_str()) == 0;
  ::_exit(clean ? 0 : 97);
}

// Seen from outside of the server's mount namespace: through its processes.
std::string TestMachine::cgroup_parent() const {
  std::string text = *read_file("/proc/" + std::to_string(server_) + "/task/" + std::to_string(server_) + "/children");
  std::string path = "/proc/" + text.substr(0, text.find(' ')) + "/root" + directory_ + "/cgroup/" +
                     fs::path(directory_).filename().string();
  if (!fs::exists(path)) std::abort();
  return path;
}

bool TestMachine::has_cgroup(const std::string& container) const {
  return fs::exists(cgroup_parent() + "/" + container);
}

std::string TestMachine::cgroup_file(const std::string& container, const std::string& name) const {
  auto text = read_file(cgroup_parent() + "/" + container + "/" + name);
  return text ? *text : "error: " + text.error().message();
}

Fd TestMachine::connect(uint32_t port) const {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  timeval patience{.tv_sec = 60, .tv_usec = 0};
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0) die("SO_RCVTIMEO");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = directory_ + "/sockets/" + std::to_string(port);
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) socket.reset();
  return socket;
}

Json TestMachine::process(const std::vector<std::string>& args) {
  Json all = {"CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"};
  return {{"args", args},
          {"cwd", "/"},
          {"env", {"PATH=/usr/bin:/bin", "A=b"}},
          {"user", {{"uid", 0}, {"gid", 0}}},
          {"capabilities", {{"bounding", all}, {"effective", all}, {"permitted", all}}}};
}

Json TestMachine::config(const std::vector<std::string>& args) const {
  auto mount = [](const char* type, const char* at, Json options) -> Json {
    return {{"type", type}, {"source", type}, {"destination", at}, {"options", std::move(options)}};
  };
  return {{"ociVersion", "1.2.0"},
          {"root", {{"path", rootfs()}}},
          {"hostname", "inside"},
          {"process", process(args)},
          {"mounts",
           {mount("proc", "/proc", {"nosuid", "noexec", "nodev"}),
            mount("tmpfs", "/dev", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
            mount("devpts", "/dev/pts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
            mount("tmpfs", "/dev/shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}),
            mount("mqueue", "/dev/mqueue", {"nosuid", "noexec", "nodev"}),
            mount("sysfs", "/sys", {"nosuid", "noexec", "nodev", "ro"}),
            mount("cgroup", "/sys/fs/cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"})}},
          {"linux",
           {{"namespaces",
             {{{"type", "pid"}},
              {{"type", "network"}},
              {{"type", "ipc"}},
              {{"type", "uts"}},
              {{"type", "mount"}},
              {{"type", "cgroup"}}}},
            {"maskedPaths", {"/proc/version", "/proc/acpi", "/secret"}},
            {"readonlyPaths", {"/proc/sys", "/etc"}}}}};
}

void Client::send(const Json& message) {
  auto sent = protocol::send(socket_.get(), message);
  if (!sent) std::fprintf(stderr, "send: %s\n", sent.error().message().c_str());
}

Json Client::reply() {
  for (;;) {
    auto message = protocol::receive(socket_.get());
    if (!message) return {{"type", "closed"}, {"message", message.error().message()}};
    if ((*message)["type"] != "exited") return *message;
    events_.push_back(*message);
  }
}

Json Client::ask(const Json& message) {
  send(message);
  return reply();
}

Json Client::event() {
  if (!events_.empty()) {
    Json first = events_.front();
    events_.erase(events_.begin());
    return first;
  }
  auto message = protocol::receive(socket_.get());
  if (message) return *message;
  std::fprintf(stderr, "no event: %s\n%s", message.error().message().c_str(), machine_.describe_processes().c_str());
  return {{"type", "closed"}, {"message", message.error().message()}};
}

Json Client::create(const std::string& id, const Json& config, bool in, bool out) {
  return ask(
      {{"type", "create"}, {"container", id}, {"config", config}, {"stdin", in}, {"stdout", out}, {"stderr", out}});
}

Json Client::start(const std::string& id) {
  return ask({{"type", "start"}, {"container", id}});
}

Json Client::exec(const std::string& id, const std::string& name, const Json& process) {
  return ask({{"type", "exec"},
              {"container", id},
              {"exec", name},
              {"process", process},
              {"stdin", false},
              {"stdout", true},
              {"stderr", false}});
}

Client::Outcome Client::run(const std::string& id, const Json& config) {
  Outcome outcome;
  Json created = create(id, config);
  outcome.exited = created;
  if (created["type"] != "created") return outcome;
  Fd out = machine_.connect(created["streams"]["stdout"]), err = machine_.connect(created["streams"]["stderr"]);
  Json started = start(id);
  outcome.exited = started;
  if (started["type"] == "ok") {
    outcome.out = read_to_end(out.get());
    outcome.err = read_to_end(err.get());
    outcome.exited = event();
  }
  ask({{"type", "delete"}, {"container", id}});
  return outcome;
}

std::string read_to_end(int fd) {
  auto text = read_fd(fd, 256 << 20);
  return text ? *text : "error: " + text.error().message();
}

bool TestMachine::notify(const std::string& container, const std::string& text) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = notify_directory() + "/" + container + "/" + protocol::kNotifyName;
  if (path.size() >= sizeof(address.sun_path)) die("notify socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return ::sendto(socket.get(), text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&address),
                  sizeof(address)) == static_cast<ssize_t>(text.size());
}

}  // namespace nacre::guest
