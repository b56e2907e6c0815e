// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/credentials.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

namespace nacre::virtio::fs {
namespace {

constexpr uint64_t bit(int capability) {
  return 1ull << capability;
}

// setfsuid(2) and setfsgid(2) return the former id and never an error. A call with an invalid id changes nothing, so it
// reads the present id.
constexpr uint32_t kNoId = UINT32_MAX;

bool set_fs_gid(uint32_t gid) {
  syscall(SYS_setfsgid, gid);
  return static_cast<uint32_t>(syscall(SYS_setfsgid, kNoId)) == gid;
}

bool set_fs_uid(uint32_t uid) {
  syscall(SYS_setfsuid, uid);
  return static_cast<uint32_t>(syscall(SYS_setfsuid, kNoId)) == uid;
}

}  // namespace

Result<void> Credentials::adopt_thread(int proc_self_fd) {
  if (unshare(CLONE_FS) < 0) return fail_errno("give the file system thread its own umask");
  if (fchdir(proc_self_fd) < 0) return fail_errno("enter /proc/self/fd");
  umask_ = 0;
  umask(umask_);

  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) < 0) return fail_errno("read capabilities");
  permitted_ = data[0].permitted | uint64_t{data[1].permitted} << 32;
  effective_ = data[0].effective | uint64_t{data[1].effective} << 32;
  own_uid_ = geteuid();
  own_gid_ = getegid();
  can_switch_ = (effective_ & bit(CAP_SETUID)) != 0 && (effective_ & bit(CAP_SETGID)) != 0;
  int bits = prctl(PR_GET_SECUREBITS);
  fixup_is_off_ = bits >= 0 && ((bits & SECBIT_NO_SETUID_FIXUP) != 0 ||
                                prctl(PR_SET_SECUREBITS, static_cast<unsigned>(bits) | SECBIT_NO_SETUID_FIXUP) == 0);
  if (can_switch_) {
    has_root_group_ = set_fs_gid(0);
    has_root_ = set_fs_uid(0);
    switch_ids(own_uid_, own_gid_);
  }
  return {};
}

void Credentials::set_effective(uint64_t effective) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  data[0].permitted = static_cast<uint32_t>(permitted_);
  data[1].permitted = static_cast<uint32_t>(permitted_ >> 32);
  data[0].effective = static_cast<uint32_t>(effective);
  data[1].effective = static_cast<uint32_t>(effective >> 32);
  if (syscall(SYS_capset, &header, data) == 0) effective_ = effective;
}

void Credentials::set_keep_setid(bool keep) {
  uint64_t wanted = keep ? effective_ | (permitted_ & bit(CAP_FSETID)) : effective_ & ~bit(CAP_FSETID);
  if (wanted != effective_) set_effective(wanted);
}

bool Credentials::switch_ids(uint32_t uid, uint32_t gid) {
  bool done = set_fs_gid(gid) && set_fs_uid(uid);
  if (!fixup_is_off_) set_effective(effective_);
  return done;
}

OrErrno<Credentials::AsCaller> Credentials::as_caller(uint32_t uid, uint32_t gid, uint32_t umask_bits) {
  set_keep_setid(true);
  mode_t wanted = umask_bits & 0777;
  if (wanted != umask_) umask(umask_ = wanted);
  if (uid == 0 && !has_root_) uid = own_uid_;
  if (gid == 0 && !has_root_group_) gid = own_gid_;
  if (!can_switch_ || (uid == own_uid_ && gid == own_gid_)) return AsCaller(nullptr);
  if (uid == kNoId || gid == kNoId) return errno_of(EPERM);
  if (!switch_ids(uid, gid)) {
    switch_ids(own_uid_, own_gid_);
    return errno_of(EPERM);
  }
  return AsCaller(this);
}

Credentials::AsCaller::~AsCaller() {
  if (credentials_ != nullptr) credentials_->switch_ids(credentials_->own_uid_, credentials_->own_gid_);
}

}  // namespace nacre::virtio::fs
