#include "guest-init/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>

namespace nacre::guest {

namespace {

constexpr size_t kMaxFile = 64 << 10;

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

void for_each_process(const std::string& path, const std::function<void(pid_t)>& visit) {
  for (const std::string& below : directories_in(path)) for_each_process(below, visit);
  auto text = read_file(path + "/cgroup.procs");
  if (!text) return;
  const char* at = text->c_str();
  while (*at != '\0') {
    char* end;
    long pid = std::strtol(at, &end, 10);
    if (end == at) return;
    if (pid > 0) visit(static_cast<pid_t>(pid));
    at = *end == '\n' ? end + 1 : end;
  }
}

bool remove_tree(const std::string& path) {
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
  for (const std::string& below : directories_in(path)) {
    if (!remove_tree(below)) return false;
  }
  return ::rmdir(path.c_str()) == 0 || errno == ENOENT;
}

Result<void> write_file(int directory, const std::string& name, const std::string& value) {
  Fd file = TRY(open_at(directory, name, O_WRONLY));
  return write_all(file.get(), value);
}

}  // namespace

Result<Cgroup> Cgroup::create(const std::string& parent, const std::string& name,
                              const std::vector<std::pair<std::string, std::string>>& files) {
  std::string path = parent + "/" + name;
  if (::mkdir(path.c_str(), 0755) < 0) return fail_errno("make cgroup " + path);
  auto made = [&]() -> Result<Cgroup> {
    Cgroup cgroup(path, TRY(open_file(path, O_RDONLY | O_DIRECTORY)));
    for (const auto& [file, value] : files) {
      TRY_CONTEXT(write_file(cgroup.fd(), file, value), "set " + file + " to " + value);
    }
    return cgroup;
  }();
  if (!made) ::rmdir(path.c_str());
  return made;
}

Result<Fd> Cgroup::of_process(const std::string& mount_point, pid_t pid) {
  std::string text = TRY(read_file("/proc/" + std::to_string(pid) + "/cgroup"));
  size_t at = text.rfind("0::", 0) == 0 ? 0 : text.find("\n0::");
  if (at == std::string::npos) return fail("process is in no cgroup", ESRCH);
  at = text.find("::", at) + 2;
  return open_file(mount_point + text.substr(at, text.find('\n', at) - at), O_RDONLY | O_DIRECTORY);
}

Result<void> Cgroup::kill_all() const {
  return write_file(directory_.get(), "cgroup.kill", "1");
}

Result<void> Cgroup::signal_all(int signal) const {
  for_each_process(path_, [signal](pid_t pid) { ::kill(pid, signal); });
  return {};
}

std::vector<pid_t> Cgroup::processes() const {
  std::vector<pid_t> pids;
  for_each_process(path_, [&pids](pid_t pid) { pids.push_back(pid); });
  return pids;
}

Result<void> Cgroup::update(const std::vector<std::pair<std::string, std::string>>& files) const {
  Fd directory = TRY(open_file(path_, O_RDONLY | O_DIRECTORY));
  std::vector<std::pair<std::string, std::string>> old, refused;
  Result<void> outcome;
  for (const auto& file : files) {
    const auto& [name, value] = file;
    if (auto before = read_file(path_ + "/" + name, kMaxFile)) old.emplace_back(name, std::move(*before));
    // Some have to fit each other, cpu.max and cpu.max.burst for one: which goes first depends on their old values.
    if (!write_file(directory.get(), name, value)) refused.push_back(file);
  }
  for (const auto& [name, value] : refused) {
    auto written = write_file(directory.get(), name, value);
    if (written || !outcome) continue;
    outcome = std::unexpected(written.error().with_context("set " + name + " to " + value));
  }
  if (outcome) return {};
  for (const auto& [name, value] : old) (void)write_file(directory.get(), name, value);
  for (const auto& [name, value] : old) (void)write_file(directory.get(), name, value);  // order, as above
  return outcome;
}

bool Cgroup::try_remove() const {
  return remove_tree(path_);
}

}  // namespace nacre::guest
