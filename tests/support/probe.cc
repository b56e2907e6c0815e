// SPDX-License-Identifier: Apache-2.0
// Prints what a process sees of itself and of its surroundings, as one JSON object. differential_test.py runs this
// program as a container's process. Each argument asks a further question: "stat:PATH", "list:PATH", "read:PATH",
// "write:PATH" (what opening it for writing, or making a file in it, gives), "exec:PATH", "tree:PATH", "call:NAME".
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxRead = 8192;

std::string error_name() {
  return std::string("error ") + ::strerrorname_np(errno);
}

// Returns a result, or the error in its place.
Json value_of(long result) {
  return result < 0 ? Json(error_name()) : Json(result);
}

std::string octal(unsigned number) {
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), "%04o", number);
  return text.data();
}

std::string hexadecimal(uint64_t number) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%016lx", number);
  return text.data();
}

std::string read_text(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return error_name();
  std::string text(kMaxRead, '\0');
  ssize_t n = ::read(fd, text.data(), text.size());
  std::string error = n < 0 ? error_name() : "";
  ::close(fd);
  if (n < 0) return error;
  text.resize(static_cast<size_t>(n));
  return text;
}

Json describe(const struct stat& status) {
  constexpr std::pair<mode_t, const char*> kTypes[] = {{S_IFREG, "file"},   {S_IFDIR, "directory"}, {S_IFLNK, "link"},
                                                       {S_IFCHR, "char"},   {S_IFBLK, "block"},     {S_IFIFO, "fifo"},
                                                       {S_IFSOCK, "socket"}};
  Json json{{"mode", octal(status.st_mode & 07777)}, {"uid", status.st_uid}, {"gid", status.st_gid}};
  for (auto [type, name] : kTypes) {
    if ((status.st_mode & S_IFMT) == type) json["type"] = name;
  }
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    json["device"] = std::to_string(major(status.st_rdev)) + ":" + std::to_string(minor(status.st_rdev));
  }
  return json;
}

Json look_at(const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) < 0) return error_name();
  Json json = describe(status);
  if (S_ISLNK(status.st_mode)) {
    std::array<char, PATH_MAX> target;
    ssize_t n = ::readlink(path.c_str(), target.data(), target.size());
    json["target"] = n < 0 ? error_name() : std::string(target.data(), static_cast<size_t>(n));
  }
  return json;
}

Json list(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return error_name();
  std::vector<std::string> names;
  while (dirent* entry = ::readdir(directory.get())) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Json tree(const std::string& path) {
  Json json = look_at(path);
  if (!json.is_object()) return json;
  if (json["type"] == "file") json["text"] = read_text(path);
  if (json["type"] != "directory") return json;
  Json names = list(path);
  if (!names.is_array()) return names;
  for (const std::string name : names) json["in"][name] = tree(path + "/" + name);
  return json;
}

Json try_write(const std::string& path) {
  struct stat status;
  bool directory = ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  std::string file = directory ? path + "/written-by-probe" : path;
  int flags = directory ? O_CREAT | O_EXCL : 0;
  int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | flags, 0666);
  if (fd < 0) return error_name();
  ::close(fd);
  Json made = directory ? look_at(file) : Json("ok");
  if (directory) ::unlink(file.c_str());
  return made;
}

// Returns whether the mount and the file's mode allow execution.
Json try_exec(const std::string& path) {
  return ::access(path.c_str(), X_OK) < 0 ? Json(error_name()) : Json("ok");
}

// System calls that a test forbids, or that need a right.
Json try_call(const std::string& name) {
  const std::map<std::string, std::function<long()>> calls = {
      {"chroot", [] { return ::chroot("/"); }},
      {"getcpu", [] { return ::syscall(SYS_getcpu, nullptr, nullptr, nullptr) < 0 ? -1 : 0; }},
      {"mknod", [] { return ::mknod("/dev/probe", S_IFCHR | 0600, makedev(1, 3)); }},
      {"setuid", [] { return ::setuid(::getuid()); }},
      {"sethostname", [] { return ::sethostname("probe", 5); }},
      {"unshare", [] { return ::unshare(CLONE_NEWUTS); }},
      {"sync", [] { return ::syscall(SYS_syncfs, -1); }},
      {"raw socket", [] { return ::socket(AF_INET, SOCK_RAW, 1) < 0 ? -1 : 0; }},
      {"new call", [] { return ::syscall(2000); }},
  };
  auto found = calls.find(name);
  return found == calls.end() ? Json("unknown call") : value_of(found->second());
}

Json ids() {
  uid_t uid, euid, suid;
  gid_t gid, egid, sgid;
  ::getresuid(&uid, &euid, &suid);
  ::getresgid(&gid, &egid, &sgid);
  std::vector<gid_t> groups(65536);
  int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<size_t>(std::max(count, 0)));
  mode_t mask = ::umask(0);
  ::umask(mask);
  return {{"uid", {uid, euid, suid}}, {"gid", {gid, egid, sgid}}, {"groups", groups}, {"umask", octal(mask)}};
}

Json capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  ::syscall(SYS_capget, &header, data.data());
  auto whole = [](uint64_t low, uint64_t high) { return hexadecimal(low | high << 32); };
  uint64_t bounding = 0, ambient = 0;
  for (unsigned long number = 0; number < 64; number++) {
    if (::prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1) bounding |= 1ull << number;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, number, 0, 0) == 1) ambient |= 1ull << number;
  }
  return {{"effective", whole(data[0].effective, data[1].effective)},
          {"permitted", whole(data[0].permitted, data[1].permitted)},
          {"inheritable", whole(data[0].inheritable, data[1].inheritable)},
          {"bounding", hexadecimal(bounding)},
          {"ambient", hexadecimal(ambient)}};
}

Json rlimits() {
  constexpr std::pair<int, const char*> kNames[] = {
      {RLIMIT_AS, "AS"},           {RLIMIT_CORE, "CORE"},         {RLIMIT_CPU, "CPU"},
      {RLIMIT_DATA, "DATA"},       {RLIMIT_FSIZE, "FSIZE"},       {RLIMIT_LOCKS, "LOCKS"},
      {RLIMIT_MEMLOCK, "MEMLOCK"}, {RLIMIT_MSGQUEUE, "MSGQUEUE"}, {RLIMIT_NICE, "NICE"},
      {RLIMIT_NOFILE, "NOFILE"},   {RLIMIT_NPROC, "NPROC"},       {RLIMIT_RSS, "RSS"},
      {RLIMIT_RTPRIO, "RTPRIO"},   {RLIMIT_RTTIME, "RTTIME"},     {RLIMIT_SIGPENDING, "SIGPENDING"},
      {RLIMIT_STACK, "STACK"}};
  Json json;
  for (auto [resource, name] : kNames) {
    rlimit limit{};
    ::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
    json[name] = {limit.rlim_cur, limit.rlim_max};
  }
  return json;
}

Json signals() {
  Json ignored = Json::array(), blocked = Json::array();
  sigset_t mask;
  sigemptyset(&mask);
  ::sigprocmask(SIG_SETMASK, nullptr, &mask);
  for (int number = 1; number <= SIGRTMAX; number++) {
    struct sigaction action;
    if (sigismember(&mask, number) == 1) blocked.push_back(number);
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) ignored.push_back(number);
  }
  return {{"ignored", ignored}, {"blocked", blocked}};
}

Json scheduling() {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes{};
  ::syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0);
  return {{"policy", attributes.policy},
          {"flags", attributes.flags},
          {"nice", attributes.nice},
          {"priority", attributes.priority},
          {"io", ::syscall(SYS_ioprio_get, 1, 0)}};
}

std::string session_keyring() {
  std::string text(256, '\0');
  long n = ::syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text.data(), text.size());
  if (n < 0) return error_name();
  text.resize(static_cast<size_t>(n) - 1);
  return text;
}

Json process() {
  std::array<char, PATH_MAX> directory;
  long n = ::syscall(SYS_getcwd, directory.data(), directory.size());
  std::string score = read_text("/proc/self/oom_score_adj");
  return {{"cwd", n < 0 ? error_name() : std::string(directory.data())},
          {"pid", ::getpid()},
          {"ppid", ::getppid()},
          {"session", ::getsid(0)},
          {"group", ::getpgrp()},
          {"personality", ::personality(0xffffffff)},
          {"no_new_privs", ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)},
          {"seccomp", ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0)},
          {"securebits", ::prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)},
          {"dumpable", ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)},
          {"oom_score_adj", score.substr(0, score.find('\n'))},
          {"keyring", session_keyring()}};
}

Json descriptors() {
  Json json;
  for (int fd = 0; fd < 64; fd++) {
    struct stat status;
    if (::fstat(fd, &status) < 0) continue;
    Json entry = describe(status);
    entry["tty"] = ::isatty(fd) == 1;
    int flags = ::fcntl(fd, F_GETFL);
    entry["access"] = flags & O_ACCMODE;
    entry["nonblocking"] = (flags & O_NONBLOCK) != 0;
    json[std::to_string(fd)] = entry;
  }
  return json;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, separator);) words.push_back(word);
  return words;
}

Json sorted_words(const std::string& text) {
  auto words = split(text, ',');
  std::sort(words.begin(), words.end());
  return words;
}

// Reads /proc/PID/mountinfo (proc(5)).
Json mounts() {
  Json all = Json::array();
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    auto words = split(line, ' ');
    auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 10 || words.end() - dash < 4) continue;
    Json propagation = Json::array();
    for (auto word = words.begin() + 6; word != dash; ++word) propagation.push_back(word->substr(0, word->find(':')));
    all.push_back({{"at", words[4]},
                   {"root", words[3]},
                   {"options", sorted_words(words[5])},
                   {"propagation", propagation},
                   {"type", dash[1]},
                   {"source", dash[2]},
                   {"super", sorted_words(dash[3])}});
  }
  return all;
}

Json interfaces() {
  Json json = Json::object();
  int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct if_nameindex* all = ::if_nameindex();
  for (struct if_nameindex* entry = all; fd >= 0 && entry != nullptr && entry->if_index != 0; entry++) {
    ifreq request{};
    std::strncpy(request.ifr_name, entry->if_name, IFNAMSIZ - 1);
    if (::ioctl(fd, SIOCGIFFLAGS, &request) == 0) json[entry->if_name] = (request.ifr_flags & IFF_UP) != 0;
  }
  if (all != nullptr) ::if_freenameindex(all);
  if (fd >= 0) ::close(fd);
  return json;
}

Json answer(const std::string& question) {
  const std::map<std::string, Json (*)(const std::string&)> kinds = {
      {"stat", look_at},    {"list", list},     {"read", [](const std::string& path) { return Json(read_text(path)); }},
      {"write", try_write}, {"exec", try_exec}, {"tree", tree},
      {"call", try_call}};
  size_t colon = question.find(':');
  auto found = kinds.find(question.substr(0, colon));
  if (colon == std::string::npos || found == kinds.end()) return "unknown question";
  return found->second(question.substr(colon + 1));
}

}  // namespace

int main(int argc, char** argv, char** environment) {
  Json report;
  report["descriptors"] = descriptors();  // before any is opened
  report["ids"] = ids();
  report["capabilities"] = capabilities();
  report["rlimits"] = rlimits();
  report["signals"] = signals();
  report["scheduling"] = scheduling();
  report["process"] = process();
  report["program"] = argv[0];
  report["env"] = Json::array();
  for (char** variable = environment; *variable != nullptr; variable++) report["env"].push_back(*variable);
  report["mounts"] = mounts();
  report["dev"] = tree("/dev");
  report["interfaces"] = interfaces();
  report["cgroup"] = read_text("/proc/self/cgroup");
  utsname names;
  ::uname(&names);
  report["uts"] = {{"hostname", names.nodename}, {"domainname", names.domainname}, {"machine", names.machine}};
  for (int i = 1; i < argc; i++) report["answers"][argv[i]] = answer(argv[i]);
  std::string text = report.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return ::write(STDOUT_FILENO, text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1;
}
