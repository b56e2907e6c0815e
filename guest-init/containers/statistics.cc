// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/statistics.h"

#include <dirent.h>
#include <fcntl.h>

#include <cstdlib>
#include <string>

namespace nacre::guest {

namespace {

constexpr const char* kFiles[] = {
    "cpu.stat",        "cpu.pressure",     "memory.current",  "memory.max",
    "memory.peak",     "memory.stat",      "memory.events",   "memory.swap.current",
    "memory.swap.max", "memory.swap.peak", "memory.pressure", "pids.current",
    "pids.max",        "io.stat",          "io.pressure",
};
constexpr size_t kMaxFile = 64 << 10;

unsigned long long oom_kills(std::string_view events) {
  constexpr std::string_view kKey = "oom_kill ";  // "oom_group_kill" does not contain it
  size_t at = events.find(kKey);
  if (at == std::string_view::npos) return 0;
  return std::strtoull(std::string(events.substr(at + kKey.size())).c_str(), nullptr, 10);
}

void add_file(int cgroup, const std::string& name, protocol::Texts& files) {
  auto file = open_at(cgroup, name, O_RDONLY);
  if (!file) return;
  auto text = read_fd(file->get(), kMaxFile);
  if (text) files[name] = std::move(*text);
}

}  // namespace

protocol::Texts read_statistics(int cgroup) {
  protocol::Texts files;
  for (const char* name : kFiles) add_file(cgroup, name, files);
  // hugetlb.<size>.current and the like: one set for each page size.
  auto list = open_at(cgroup, ".", O_RDONLY | O_DIRECTORY);
  DIR* directory = list ? ::fdopendir(list->get()) : nullptr;
  if (directory == nullptr) return files;
  (void)list->release();  // closedir closes it
  while (dirent* entry = ::readdir(directory)) {
    std::string_view name = entry->d_name;
    if (name.starts_with("hugetlb.") && (name.ends_with(".current") || name.ends_with(".events"))) {
      add_file(cgroup, entry->d_name, files);
    }
  }
  ::closedir(directory);
  return files;
}

Result<std::unique_ptr<OomWatch>> OomWatch::create(EventLoop& loop, int cgroup, std::function<void()> on_kill) {
  std::unique_ptr<OomWatch> watch(new OomWatch(std::move(on_kill)));
  watch->events_ =
      TRY(CgroupWatch::create(loop, cgroup, "memory.events",
                              [raw = watch.get()](std::optional<std::string_view> events) { raw->count(events); }));
  return watch;
}

void OomWatch::count(std::optional<std::string_view> events) {
  unsigned long long now = events ? oom_kills(*events) : 0;
  if (now <= seen_) return;
  seen_ = now;
  on_kill_();
}

}  // namespace nacre::guest
