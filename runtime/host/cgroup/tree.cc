// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <ranges>

#include "base/directory.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/rootfs.h"

namespace nacre::runtime {

namespace {

constexpr int kRemoveAttempts = 1'000;
constexpr useconds_t kRemovePauseUs = 2'000;

long count_processes(const std::string& directory) {
  auto text = read_file(directory + "/cgroup.procs");
  long count = text ? std::ranges::count(*text, '\n') : 0;
  for (const auto& below : directories_in(directory)) count += count_processes(below);
  return count;
}

}  // namespace

std::string clean_path(const std::string& path) {
  std::string clean = nacre::clean_path(path);
  return clean == "/" ? "" : clean;
}

std::string content_of(const std::string& path) {
  auto text = read_file(path);
  if (!text) return "";
  text->erase(text->find_last_not_of(" \n") + 1);
  return std::move(*text);
}

Result<void> write_to(const std::string& path, const std::string& text) {
  Fd file = TRY(open_file(path, O_WRONLY));
  auto written = write_all(file.get(), text);
  if (!written) return fail_errno("failed to write \"" + text + "\": write " + path, written.error().code());
  return {};
}

Result<void> make_directory(const std::string& path, std::vector<std::string>& made) {
  if (::mkdir(path.c_str(), 0755) == 0) {
    made.push_back(path);
  } else if (errno != EEXIST) {
    return fail_errno("mkdir " + path);
  }
  return {};
}

void unmake(const std::vector<std::string>& made) {
  for (const auto& path : std::views::reverse(made)) ::rmdir(path.c_str());
}

std::vector<pid_t> pids_in(const std::string& directory) {
  std::vector<pid_t> pids;
  std::ifstream file(directory + "/cgroup.procs");
  for (pid_t pid; file >> pid;) pids.push_back(pid);
  return pids;
}

Result<void> check_empty(const std::string& directory) {
  long count = count_processes(directory);
  if (count <= 0) return {};
  return fail("container's cgroup is not empty: " + std::to_string(count) + " process(es) found", EBUSY);
}

bool remove_patiently(const std::function<bool()>& remove) {
  for (int attempt = 0; attempt < kRemoveAttempts; attempt++) {
    if (remove()) return true;
    if (errno != EBUSY) return false;
    ::usleep(kRemovePauseUs);
  }
  errno = EBUSY;
  return false;
}

void remove_directory(const std::string& directory) {
  if (remove_patiently([&directory] { return remove_directories(directory); }) || errno != EBUSY) return;
  log_warn("cgroup " + directory + " is busy and stays");
}

}  // namespace nacre::runtime
