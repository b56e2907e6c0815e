#include "runtime/standin/late_mounts.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "guest-init/protocol/protocol.h"
#include "runtime/agent/connection.h"
#include "vmm/api/mount_copy.h"

namespace nacre::runtime {

namespace {

// A name that the guest has looked for in vain is not there for it for a second (FsOptions::negative_timeout).
constexpr std::chrono::milliseconds kNegativeTimeout(1100);

// Of what one finds at a path; 0 where there is nothing, or no such id. By paths alone: an open descriptor would keep
// the host from unmounting.
uint64_t mount_id(int directory, const std::string& path, unsigned kind = STATX_MNT_ID) {
  struct statx info;
  int flags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW;
  if (::statx(directory, path.c_str(), flags, kind, &info) < 0) return 0;
  return info.stx_mask & kind ? info.stx_mnt_id : 0;
}

// mountinfo's ids are soon given to others; since Linux 6.8 there is one that is not.
#ifndef STATX_MNT_ID_UNIQUE
constexpr unsigned STATX_MNT_ID_UNIQUE = 0x4000;
#endif

bool is_below(const std::string& path, const std::string& top) {
  return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

}  // namespace

Result<LateMounts> LateMounts::watch(Container container, const std::vector<ServedMount>& served, const Fd& proc) {
  LateMounts late(std::move(container));
  late.mountinfo_ = TRY(open_at(proc.get(), "thread-self/mountinfo", O_RDONLY));
  late.namespace_ = TRY(open_at(proc.get(), "thread-self/ns/mnt", O_RDONLY));
  auto mounts = TRY(read_mountinfo(late.mountinfo_.get()));
  Fd root = TRY(open_file("/", O_PATH | O_DIRECTORY));
  for (const MountInfo& mount : mounts) late.seen_.insert(mount.id);
  for (const ServedMount& bind : served) {
    // Not where it lies below a tmpfs of the container's: then it is not among ours.
    auto place = open_in_root(root.get(), bind.destination, O_PATH);
    if (!place) continue;
    uint64_t id = mount_id(place->get(), "");
    auto mount = std::ranges::find(mounts, id, &MountInfo::id);
    if (mount == mounts.end() || mount->point == "/") continue;
    late.served_.push_back({.point = mount->point, .target = bind.target, .follows = bind.follows});
  }
  return late;
}

void LateMounts::follow() {
  if (::unshare(CLONE_FS) < 0) return;
  for (;;) {
    pollfd changed{mountinfo_.get(), POLLPRI, 0};
    if (::poll(&changed, 1, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (auto done = update(); !done) {
      log_warn("mounts of the host do not come into the container any more: " + done.error().message());
      return;
    }
  }
}

// Errors are those after which nothing can work any more.
Result<void> LateMounts::update() {
  auto mounts = TRY(read_mountinfo(mountinfo_.get()));
  std::set<uint64_t> present;
  for (const MountInfo& mount : mounts) present.insert(mount.id);
  for (size_t i = late_.size(); i-- > 0;) {  // the lower before the upper
    if (present.contains(late_[i].id) && !is_another(late_[i])) continue;
    Late gone = std::move(late_[i]);
    late_.erase(late_.begin() + static_cast<ptrdiff_t>(i));
    TRY(take_back(std::move(gone)));
  }
  std::erase_if(seen_, [&](uint64_t id) { return !present.contains(id); });
  for (const MountInfo& mount : mounts) {
    if (is_lost_) return fail("the container's mounts cannot be entered again");
    bool is_late = std::ranges::find(late_, mount.id, &Late::id) != late_.end();
    if (is_late || seen_.contains(mount.id)) continue;
    const Served* served = served_above(mount.point);
    Result<Late> late = served != nullptr && served->follows ? pass_on(mount, *served) : fail("", 0);
    if (late) {
      late_.push_back(std::move(*late));
    } else {
      seen_.insert(mount.id);
      if (late.error().code() != 0) log_warn("the host's mount on " + mount.point + ": " + late.error().message());
    }
  }
  return {};
}

// There is a mount with its id, but it came after it.
bool LateMounts::is_another(const Late& late) {
  if (mount_id(AT_FDCWD, late.point) != late.id) return false;  // it lies below another
  return mount_id(AT_FDCWD, late.point, STATX_MNT_ID_UNIQUE) != late.unique_id;
}

// The innermost.
const LateMounts::Served* LateMounts::served_above(const std::string& point) const {
  const Served* found = nullptr;
  for (const Served& served : served_) {
    if (is_below(point, served.point) && (found == nullptr || found->point.size() <= served.point.size()))
      found = &served;
  }
  return found;
}

template <typename Task>
auto LateMounts::at_host(Task task) -> decltype(task()) {
  TRY(container_.host->leave_mounts());
  auto outcome = task();
  is_lost_ = ::setns(namespace_.get(), CLONE_NEWNS) < 0;
  return outcome;
}

Result<void> LateMounts::tell_guest(nlohmann::json request) {
  request["container"] = container_.id;
  TRY(ask(container_.dir->fd(), request));
  return {};
}

Result<LateMounts::Late> LateMounts::pass_on(const MountInfo& mount, const Served& served) {
  std::string path = served.target + mount.point.substr(served.point.size());
  std::string name = served.target + "+" + std::to_string(count_++);
  if (mount_id(AT_FDCWD, mount.point) != mount.id) return fail("is hidden, or gone again", 0);
  uint64_t unique_id = mount_id(AT_FDCWD, mount.point, STATX_MNT_ID_UNIQUE);
  // Should the container change the directories above under our feet, it gets something else that it has anyway.
  Fd tree = TRY(vmm::copy_mount({.source = mount.point, .target = name, .recursive = false}));
  return at_host([&]() -> Result<Late> {
    MachineControl control = TRY(MachineControl::connect(container_.dir->fd()));
    TRY(control.ask(vmm::Hold{}));
    TRY(control.ask(vmm::Share{.tag = protocol::kShareTag, .name = name}, tree.get()));
    const nlohmann::json request{
        {"type", "mount"}, {"path", path}, {"source", name}, {"options", attribute_words(mount)}};
    auto told = tell_guest(request);
    if (!told && told.error().code() == ENOENT) {
      std::this_thread::sleep_for(kNegativeTimeout);
      told = tell_guest(request);
    }
    TRY(std::move(told));
    return Late{
        .id = mount.id, .unique_id = unique_id, .point = mount.point, .path = path, .share = std::move(control)};
  });
}

Result<void> LateMounts::take_back(Late late) {
  return at_host([&]() -> Result<void> {
    auto told = tell_guest({{"type", "unmount"}, {"path", late.path}});
    if (!told) log_debug(late.path + " is not unmounted in the guest: " + told.error().message());
    return {};
  });
}

}  // namespace nacre::runtime
