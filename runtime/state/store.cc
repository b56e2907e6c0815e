// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "base/mount.h"
#include "base/user_namespace.h"
#include "runtime/state/container_id.h"
#include "runtime/state/record_json.h"

namespace nacre::runtime {

namespace {

constexpr const char* kLockName = "lock";
constexpr const char* kRecordName = "state.json";
constexpr const char* kProcessesName = "processes";
constexpr const char* kStartedName = "started";
constexpr const char* kPausedName = "paused";
constexpr int kRemovalTries = 10;
constexpr const char* kVmEndName = "vm.end";
constexpr size_t kMaxVmEnd = 4096;
constexpr size_t kMaxProcesses = 8192;  // bytes: a path and four numbers fit

std::unexpected<Error> does_not_exist(const std::string& id) {
  return fail("container does not exist: " + id, ENOENT);
}

// As runc: root of a user namespace may still be root for itself, if USER says so.
bool honours_runtime_dir() {
  if (is_host_root()) return false;
  const char* user = std::getenv("USER");
  return ::geteuid() != 0 || user == nullptr || std::string_view(user) != "root";
}

// Refuses the directory of another user: a container's state names hooks, which `delete` runs.
Result<void> check_owner(const Fd& directory, const std::string& path) {
  struct stat info;
  if (::fstat(directory.get(), &info) < 0) return fail_errno("stat " + path);
  if (info.st_uid == ::geteuid() || info.st_uid == 0) return {};
  return fail(path + " belongs to another user (" + std::to_string(info.st_uid) + ")", EPERM);
}

// Makes the directory and its parents.
Result<void> make_root(const std::string& root) {
  if (root == "/") return fail("the root directory cannot be /");
  for (size_t slash = root.find('/', 1); slash != std::string::npos; slash = root.find('/', slash + 1)) {
    if (::mkdir(root.substr(0, slash).c_str(), 0711) < 0 && errno != EEXIST) return fail_errno("mkdir " + root);
  }
  if (::mkdir(root.c_str(), 0700) < 0 && errno != EEXIST) return fail_errno("mkdir " + root);
  // As in runc: the sticky bit tells cleaners of XDG_RUNTIME_DIR to leave the directory alone.
  if (honours_runtime_dir() && root == default_root()) (void)::chmod(root.c_str(), 01700);
  return {};
}

Result<void> take_lock(int fd) {
  while (::flock(fd, LOCK_EX) < 0) {
    if (errno != EINTR) return fail_errno("flock");
  }
  return {};
}

Result<bool> is_removed(int fd) {
  struct stat info;
  if (::fstat(fd, &info) < 0) return fail_errno("fstat");
  return info.st_nlink == 0;
}

// Returns the names in a directory, without "." and "..". Takes no further descriptor: a container can be removed even
// if there is none left. So no two threads or processes may read through one descriptor at the same time.
Result<std::vector<std::string>> entries(int directory) {
  if (::lseek(directory, 0, SEEK_SET) < 0) return fail_errno("lseek");
  std::vector<std::string> names;
  alignas(dirent64) std::array<char, 4096> buffer;
  for (;;) {
    ssize_t size = ::getdents64(directory, buffer.data(), buffer.size());
    if (size < 0) return fail_errno("getdents64");
    if (size == 0) return names;
    for (ssize_t at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      at += entry->d_reclen;
    }
  }
}

}  // namespace

std::string_view to_string(Status status) {
  switch (status) {
    case Status::created:
      return "created";
    case Status::running:
      return "running";
    case Status::paused:
      return "paused";
    case Status::stopped:
      return "stopped";
  }
  std::abort();
}

Result<ContainerDir> ContainerDir::create(const std::string& root, const std::string& id) {
  TRY(check_container_id(id));
  TRY(make_root(root));
  std::string path = root + "/" + id;
  // If two commands create the same id, mkdir decides which one succeeds.
  if (::mkdir(path.c_str(), 0700) < 0) {
    if (errno == EEXIST) return fail("container with given ID already exists: " + id, EEXIST);
    return fail_errno("mkdir " + path);
  }
  Result<ContainerDir> made = [&]() -> Result<ContainerDir> {
    ContainerDir dir(path, TRY(open_file(path, O_RDONLY | O_DIRECTORY)));
    dir.lock_ = TRY(open_at(dir.fd(), kLockName, O_RDWR | O_CREAT, 0600));
    TRY(take_lock(dir.lock_.get()));
    if (TRY(is_removed(dir.lock_.get()))) return fail("container was deleted while it was created: " + id, ENOENT);
    return dir;
  }();
  if (!made) {
    ::unlink((path + "/" + kLockName).c_str());
    ::rmdir(path.c_str());
  }
  return made;
}

Result<ContainerDir> ContainerDir::open(const std::string& root, const std::string& id) {
  TRY(check_container_id(id));
  std::string path = root + "/" + id;
  auto directory = open_file(path, O_RDONLY | O_DIRECTORY);
  if (!directory) {
    if (directory.error().code() == ENOENT) return does_not_exist(id);
    return std::unexpected(directory.error());
  }
  TRY(check_owner(*directory, path));
  return ContainerDir(path, std::move(*directory));
}

Result<ContainerDir> ContainerDir::lock(const std::string& root, const std::string& id) {
  ContainerDir dir = TRY(open(root, id));
  // A create that was killed between its mkdir and its lock left no lock file: make it, so that delete can clean up.
  auto lock = open_at(dir.fd(), kLockName, O_RDWR | O_CREAT, 0600);
  if (!lock) {
    if (lock.error().code() == ENOENT) return does_not_exist(id);
    return std::unexpected(lock.error());
  }
  dir.lock_ = std::move(*lock);
  TRY(take_lock(dir.lock_.get()));
  if (TRY(is_removed(dir.lock_.get()))) return does_not_exist(id);  // deleted while this process waited
  return dir;
}

Result<void> ContainerDir::write_record(const Record& record) const {
  return replace_file(file(kRecordName), record_to_json(record));
}

Result<Record> ContainerDir::read_record() const {
  Fd file = TRY([&]() -> Result<Fd> {
    auto opened = open_at(fd(), kRecordName, O_RDONLY);
    std::string id = path_.substr(path_.rfind('/') + 1);
    if (!opened && opened.error().code() == ENOENT) return does_not_exist(id);
    return opened;
  }());
  std::string text = TRY_CONTEXT(read_fd(file.get()), kRecordName);
  return TRY_CONTEXT(record_from_json(text), path_ + "/" + kRecordName);
}

Result<void> ContainerDir::write_processes(const Processes& processes) const {
  std::string text;
  for (const ProcessId& process : {processes.standin, processes.vmm}) {
    text += std::to_string(process.pid) + " " + std::to_string(process.start_time) + "\n";
  }
  text += processes.cgroup + "\n";
  return replace_file(file(kProcessesName), text);
}

Processes ContainerDir::read_processes() const {
  auto text = read_file(file(kProcessesName), kMaxProcesses);
  std::istringstream input(text ? *text : "");
  Processes read;
  input >> read.standin.pid >> read.standin.start_time >> read.vmm.pid >> read.vmm.start_time;
  input.ignore();
  if (!std::getline(input, read.cgroup)) return {};  // cut short: nothing in the file can be relied on
  return read;
}

Result<void> ContainerDir::mark(const char* name, bool set) const {
  if (set) {
    TRY(open_at(fd(), name, O_WRONLY | O_CREAT, 0600));
  } else if (::unlinkat(fd(), name, 0) < 0 && errno != ENOENT) {
    return fail_errno("unlink " + file(name));
  }
  return {};
}

Result<void> ContainerDir::mark_started(bool started) const {
  return mark(kStartedName, started);
}

bool ContainerDir::is_started() const {
  return ::faccessat(fd(), kStartedName, F_OK, 0) == 0;
}

Result<void> ContainerDir::mark_paused(bool paused) const {
  return mark(kPausedName, paused);
}

// Writes by descriptor: in the stand-in, the container's mounts may hide the path.
Result<void> ContainerDir::write_vm_end(std::string_view why) const {
  Fd note = TRY(open_at(fd(), kVmEndName, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  return write_all(note.get(), why);
}

std::string ContainerDir::read_vm_end() const {
  auto note = open_at(fd(), kVmEndName, O_RDONLY);
  if (!note) return "";
  return read_fd(note->get(), kMaxVmEnd).value_or("");
}

Result<Fd> ContainerDir::lock_named(const char* name) const {
  Fd lock = TRY(open_at(fd(), name, O_RDWR | O_CREAT, 0600));
  TRY(take_lock(lock.get()));
  return lock;
}

Status ContainerDir::status(const Record& record) const {
  if (!is_alive(record.standin)) return Status::stopped;
  if (::faccessat(fd(), kPausedName, F_OK, 0) == 0) return Status::paused;
  return is_started() ? Status::running : Status::created;
}

void ContainerDir::release_lock() {
  if (lock_) (void)::flock(lock_.get(), LOCK_UN);
}

Result<bool> ContainerDir::relock() {
  if (!lock_) {
    auto lock = open_at(fd(), kLockName, O_RDWR);
    if (!lock && lock.error().code() == ENOENT) return false;
    lock_ = TRY(std::move(lock));
  }
  TRY(take_lock(lock_.get()));
  return !TRY(is_removed(lock_.get()));
}

// By path, because the descriptor may be of another mount namespace than this process is in.
Result<Fd> ContainerDir::detach() const {
  return clone_tree(AT_FDCWD, path_, false);
}

Result<void> ContainerDir::go_on_in(const Fd& detached) {
  if (::dup3(detached.get(), fd(), O_CLOEXEC) < 0) return fail_errno("dup3");
  return {};
}

Result<void> ContainerDir::remove() {
  return remove(kRemovalTries);
}

Result<void> ContainerDir::remove(int tries) {
  // state.json goes before the lock: a removal that is cut short can be repeated.
  std::vector<std::string> names = TRY(entries(fd()));
  std::ranges::sort(names, {}, [](const auto& name) { return name == kLockName ? 2 : name == kRecordName ? 1 : 0; });
  for (const auto& name : names) {
    if (::unlinkat(fd(), name.c_str(), 0) == 0 || errno == ENOENT) continue;
    // Where the stand-in has mounted something, in its own mount namespace.
    if (errno == EISDIR && ::unlinkat(fd(), name.c_str(), AT_REMOVEDIR) == 0) continue;
    return fail_errno("unlink " + file(name));
  }
  if (::rmdir(path_.c_str()) == 0 || errno == ENOENT) return {};
  // A command that does not take the lock has just put a file there.
  if (errno == ENOTEMPTY && tries > 1) return remove(tries - 1);
  return fail_errno("rmdir " + path_);
}

std::string default_root() {
  const char* runtime_dir = std::getenv("XDG_RUNTIME_DIR");
  if (runtime_dir != nullptr && *runtime_dir != '\0' && honours_runtime_dir())
    return std::string(runtime_dir) + "/nacre";
  return "/run/nacre";
}

Result<std::vector<std::string>> list_ids(const std::string& root) {
  auto directory = open_file(root, O_RDONLY | O_DIRECTORY);
  if (!directory) {
    if (directory.error().code() == ENOENT) return std::vector<std::string>{};
    return std::unexpected(directory.error());
  }
  std::vector<std::string> ids = TRY(entries(directory->get()));
  std::erase_if(ids, [](const auto& id) { return !check_container_id(id); });
  std::ranges::sort(ids);
  return ids;
}

Result<View> view_container(const std::string& root, const std::string& id) {
  ContainerDir dir = TRY(ContainerDir::open(root, id));
  Record record = TRY(dir.read_record());
  Status status = dir.status(record);
  return View{std::move(record), status};
}

std::string now_rfc3339() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm utc;
  ::gmtime_r(&now.tv_sec, &utc);
  std::array<char, 64> text;
  size_t length = ::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text.data() + length, text.size() - length, ".%09ldZ", now.tv_nsec);
  return text.data();
}

std::string user_name() {
  uid_t uid = ::getuid();
  if (uid == 0) return "root";
  passwd entry;
  passwd* found = nullptr;
  std::array<char, 4096> buffer;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return found->pw_name;
  return "#" + std::to_string(uid);
}

}  // namespace nacre::runtime
