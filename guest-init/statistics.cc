#include "guest-init/statistics.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace nacre::guest {

namespace {

constexpr const char* kFiles[] = {
    "cpu.stat",        "cpu.pressure",     "memory.current",  "memory.max",
    "memory.peak",     "memory.stat",      "memory.events",   "memory.swap.current",
    "memory.swap.max", "memory.swap.peak", "memory.pressure", "pids.current",
    "pids.max",        "io.stat",          "io.pressure",
};
constexpr size_t kMaxFile = 64 << 10;

std::optional<unsigned long long> oom_kills(int events) {
  std::array<char, 1024> text{};
  if (::pread(events, text.data(), text.size() - 1, 0) < 0) return std::nullopt;
  constexpr std::string_view kKey = "oom_kill ";  // "oom_group_kill" does not contain it
  size_t at = std::string_view(text.data()).find(kKey);
  return at == std::string_view::npos ? 0 : std::strtoull(text.data() + at + kKey.size(), nullptr, 10);
}

void add_file(int cgroup, const std::string& name, nlohmann::json& files) {
  auto file = open_at(cgroup, name, O_RDONLY);
  if (!file) return;
  auto text = read_fd(file->get(), kMaxFile);
  if (text) files[name] = std::move(*text);
}

}  // namespace

nlohmann::json read_statistics(int cgroup) {
  nlohmann::json files = nlohmann::json::object();
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
  Fd events = TRY(open_at(cgroup, "memory.events", O_RDONLY));
  int fd = events.get();
  std::unique_ptr<OomWatch> watch(new OomWatch(loop, std::move(events), std::move(on_kill)));
  watch->seen_ = oom_kills(fd).value_or(0);
  TRY(loop.add(fd, EPOLLPRI, [raw = watch.get()](uint32_t) { raw->check(); }));
  return watch;
}

OomWatch::~OomWatch() {
  if (events_) loop_.remove(events_.get());
}

void OomWatch::check() {
  if (!events_) return;
  auto now = oom_kills(events_.get());
  if (!now) {  // a file that is gone is ready for ever
    loop_.remove(events_.get());
    events_.reset();
  } else if (*now > seen_) {
    seen_ = *now;
    on_kill_();
  }
}

}  // namespace nacre::guest
