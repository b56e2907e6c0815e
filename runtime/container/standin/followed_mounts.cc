// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/standin/followed_mounts.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/log.h"
#include "guest-init/protocol/messages.h"
#include "runtime/guest/connection.h"
#include "runtime/plan/host_mounts.h"
#include "vmm/api/mount_copy.h"

namespace nacre::runtime {

namespace {

// The guest remembers for a second that a name does not exist (FsOptions::negative_timeout). This is a little longer.
constexpr std::chrono::milliseconds kNegativeTimeout(1100);

// The guest has this long to unmount: the host waits for the device.
constexpr int kUnmountTimeoutMs = 5'000;
// Mounts of this type are not copied, since the copy would trigger them. The mounts that they make are seen as any
// other.
constexpr const char* kAutomount = "autofs";

bool is_same(const MountInfo& one, const MountInfo& other) {
  return one.id == other.id && one.point == other.point && one.device == other.device && one.root == other.root;
}

// Copies a mount of this process. The container may change the directories above at any moment, so anything but the
// mount's root is refused.
Result<Fd> copy_root(const MountInfo& mount, const std::string& name) {
  constexpr int kFlags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
  constexpr unsigned kMask = STATX_MNT_ID | STATX_INO;
  struct statx before, copied;
  if (::statx(AT_FDCWD, mount.point.c_str(), kFlags, kMask, &before) < 0) return fail_errno("statx");
  if (before.stx_mnt_id != mount.id || !(before.stx_attributes & STATX_ATTR_MOUNT_ROOT)) {
    return fail("another mount is there", ESTALE);
  }
  Fd tree = TRY(vmm::copy_mount({.source = mount.point, .target = name, .recursive = false}));
  if (::statx(tree.get(), "", kFlags, kMask, &copied) < 0) return fail_errno("statx");
  bool is_root = copied.stx_ino == before.stx_ino && copied.stx_dev_major == before.stx_dev_major &&
                 copied.stx_dev_minor == before.stx_dev_minor;
  if (!is_root) return fail("another mount is there", ESTALE);
  return tree;
}

}  // namespace

FollowedMounts::FollowedMounts(std::string container, const ContainerDir& dir, std::vector<oci::Mount> served)
    : container_(std::move(container)), dir_(&dir), served_(std::move(served)) {
  if (std::ranges::none_of(served_, &oci::Mount::follows)) served_.clear();
}

void FollowedMounts::leave_out(vmm::Fs& share) const {
  for (const oci::Mount& served : served_) {
    auto mount = std::ranges::find(share.mounts, served.share_path, &vmm::FsMount::target);
    if (served.follows && mount != share.mounts.end()) mount->recursive = false;
  }
}

Result<void> FollowedMounts::share(const std::string& name, const Fd& tree) {
  if (!control_) control_ = TRY(MachineControl::connect(dir_->fd()));
  TRY(control_->ask(vmm::Share{.tag = protocol::kShareTag, .name = name}, tree.get()));
  return {};
}

void FollowedMounts::unshare(const std::string& name) {
  auto done = control_->ask(vmm::Unshare{.tag = protocol::kShareTag, .name = name});
  if (!done) log_debug("vmm does not give up " + name + ": " + done.error().message());
}

std::string FollowedMounts::next_name(const oci::Mount& served) {
  return served.share_path + "+" + std::to_string(count_++);
}

Result<void> FollowedMounts::bring(std::vector<protocol::HostMount>& host_mounts) {
  if (served_.empty()) return {};
  auto mounts = TRY(read_mountinfo());
  for (const oci::Mount& served : served_) {
    if (!served.follows || !served.recursive) continue;
    for (const MountInfo& mount : mounts_below(served.source, mounts)) {
      if (mount.type == kAutomount) continue;
      std::string path = path_in_share(served.share_path, served.source, mount.point), name = next_name(served);
      auto tree = vmm::copy_mount({.source = mount.point,
                                   .target = name,
                                   .readonly = served.readonly_below,
                                   .recursive = false,
                                   .readonly_below = false});
      if (!tree) {  // unbindable or gone: a recursive bind leaves such a mount out too
        log_debug("the host's mount on " + mount.point + ": " + tree.error().message());
        continue;
      }
      TRY(share(name, *tree));
      brought_.insert_or_assign(path, Brought{.name = name, .served = &served});
      host_mounts.push_back({.path = path, .source = name, .options = attribute_words(mount)});
    }
  }
  return {};
}

Result<void> FollowedMounts::watch(const HostNamespaces& host, const Fd& proc) {
  host_ = &host;
  mountinfo_ = TRY(open_at(proc.get(), "thread-self/mountinfo", O_RDONLY));
  namespace_ = TRY(open_at(proc.get(), "thread-self/ns/mnt", O_RDONLY));
  Fd root = TRY(open_file("/", O_PATH | O_DIRECTORY));
  auto mounts = TRY(read_mountinfo(mountinfo_.get()));
  for (const oci::Mount& served : served_) {
    // A place below a tmpfs of the container does not exist on the host.
    auto place = open_in_root(root.get(), served.destination, O_PATH);
    auto mount = std::ranges::find(mounts, place ? mount_at(place->get(), "") : 0, &MountInfo::id);
    if (mount != mounts.end() && mount->point != "/") places_.insert_or_assign(mount->point, &served);
  }
  for (const MountInfo& mount : mounts) {
    if (places_.contains(mount.point)) seen_.emplace(mount.id, mount.point);
  }
  return {};
}

void FollowedMounts::follow(const std::function<Result<void>()>& begun) {
  bool has_own = ::unshare(CLONE_FS) == 0;
  if (auto ready = begun(); !ready || !has_own) return;
  for (;;) {
    if (auto done = update(); !done) {
      log_warn("mounts of the host do not come into the container any more: " + done.error().message());
      return;
    }
    pollfd changed{mountinfo_.get(), POLLPRI, 0};
    while (::poll(&changed, 1, -1) < 0) {
      if (errno != EINTR) return;
    }
  }
}

// Fails only if the mounts cannot be followed any more.
Result<void> FollowedMounts::update() {
  auto mounts = TRY(read_mountinfo(mountinfo_.get()));
  for (size_t i = followed_.size(); i-- > 0;) {
    const Followed& followed = followed_[i];
    bool is_there = std::ranges::any_of(mounts, [&](const MountInfo& m) { return is_same(m, followed.mount); });
    if (is_there && (followed.unique_id == 0 || unique_mount_exists(followed.unique_id))) continue;
    Followed gone = std::move(followed_[i]);
    followed_.erase(followed_.begin() + static_cast<ptrdiff_t>(i));
    TRY(take_back(gone.path, gone.name));
  }
  std::set<std::pair<uint64_t, std::string>> present;
  for (const MountInfo& mount : mounts) present.emplace(mount.id, mount.point);
  std::erase_if(seen_, [&](const auto& seen) { return !present.contains(seen); });
  for (const MountInfo& mount : mounts) {
    bool is_followed = std::ranges::any_of(followed_, [&](const Followed& f) { return is_same(f.mount, mount); });
    if (!is_followed && !seen_.contains({mount.id, mount.point})) TRY(look_at(mount));
  }
  // Mounts that the host has unmounted since bring().
  for (auto brought = std::exchange(brought_, {}); const auto& [path, tree] : brought) {
    bool is_ours = std::ranges::any_of(places_, [&](const auto& place) { return place.second == tree.served; });
    if (is_ours) TRY(take_back(path, tree.name));
  }
  return {};
}

// Handles a mount that update() sees for the first time.
Result<void> FollowedMounts::look_at(const MountInfo& mount) {
  auto above = place_above(mount.point);
  if (above == places_.end() || !above->second->follows || mount.type == kAutomount || mount.type == kProcType) {
    seen_.emplace(mount.id, mount.point);
    return {};
  }
  // Another mount hides this mount, or it is gone again. It is not added to seen_: if the other mount goes, it is new
  // once more.
  if (mount_at(AT_FDCWD, mount.point) != mount.id) return {};
  Followed followed{.mount = mount,
                    .unique_id = unique_mount_at(AT_FDCWD, mount.point),
                    .path = path_in_share(above->second->share_path, above->first, mount.point),
                    .name = ""};
  if (auto brought = brought_.extract(followed.path)) {
    followed.name = std::move(brought.mapped().name);
  } else {
    followed.name = next_name(*above->second);
    auto passed = pass_on(followed);
    if (is_lost_) return passed;
    if (!passed) {
      log_warn("the host's mount on " + mount.point + ": " + passed.error().message());
      seen_.emplace(mount.id, mount.point);
      return {};
    }
  }
  followed_.push_back(std::move(followed));
  return {};
}

// Returns the innermost of the served mounts that contain `point`, or end().
FollowedMounts::Places::const_iterator FollowedMounts::place_above(const std::string& point) const {
  for (std::string path = point; !path.empty(); path.resize(path.rfind('/'))) {
    if (auto found = places_.find(path); found != places_.end()) return found;
  }
  return places_.end();
}

Result<void> FollowedMounts::at_host(const std::function<Result<void>()>& task) {
  TRY(host_->leave_mounts());
  auto outcome = task();
  is_lost_ = ::setns(namespace_.get(), CLONE_NEWNS) < 0;
  if (is_lost_) return fail_errno("enter the container's mounts");
  return outcome;
}

Result<void> FollowedMounts::tell_to_mount(const Followed& followed) {
  protocol::HostMount mount{.path = followed.path, .source = followed.name, .options = attribute_words(followed.mount)};
  TRY(ask(dir_->fd(), protocol::Mount{.container = container_, .mount = std::move(mount)}));
  return {};
}

Result<void> FollowedMounts::tell_to_unmount(const std::string& path) {
  TRY(ask(dir_->fd(), protocol::Unmount{.container = container_, .path = path}, kUnmountTimeoutMs));
  return {};
}

Result<void> FollowedMounts::pass_on(const Followed& followed) {
  Fd tree = TRY(copy_root(followed.mount, followed.name));
  return at_host([&]() -> Result<void> {
    TRY(share(followed.name, tree));
    auto told = tell_to_mount(followed);
    if (!told && told.error().code() == ENOENT) {
      std::this_thread::sleep_for(kNegativeTimeout);
      told = tell_to_mount(followed);
    }
    if (told) return {};
    if (told.error().code() == ETIMEDOUT || told.error().code() == EAGAIN) {  // the guest may still have mounted it
      (void)tell_to_unmount(followed.path);
    }
    unshare(followed.name);
    return told;
  });
}

Result<void> FollowedMounts::take_back(const std::string& path, const std::string& name) {
  return at_host([&]() -> Result<void> {
    auto told = tell_to_unmount(path);
    if (!told) log_debug(path + " is not unmounted in the guest: " + told.error().message());
    unshare(name);
    return {};
  });
}

}  // namespace nacre::runtime
