// SPDX-License-Identifier: Apache-2.0
// Manages the credentials of the thread that serves a guest's file system.
//
// The guest's kernel has checked permissions (virtio-fs mounts have default_permissions). The server makes sure that
// new files belong to the caller, that the caller's umask applies, and that set-id bits go away as they would on a
// local file system. So the thread keeps its capabilities all the time, and takes the caller's *file system* uid and
// gid only while it creates something.
//
// setfsuid(2) normally takes CAP_DAC_OVERRIDE and similar capabilities out of the effective set. The securebit
// NO_SETUID_FIXUP prevents that. If the thread may not set this securebit (CAP_SETPCAP), capset(2) puts the
// capabilities back.
//
// Only raw system calls are used here: the C library's wrappers of setuid(2) and its relatives would change every
// thread of the process.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/result.h"
#include "devices/virtio/fs/errno_result.h"

namespace nacre::virtio::fs {

class Credentials {
 public:
  Credentials() = default;
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;

  // Prepares the calling thread. The umask and the current directory become the thread's own (unshare(CLONE_FS)), and
  // the current directory becomes `proc_self_fd`. The path "N" then names descriptor N in calls that take no directory
  // descriptor. From then on this object is for this thread only.
  Result<void> adopt_thread(int proc_self_fd);

  // As long as this object lives, whatever the thread creates belongs to the caller.
  class AsCaller {
   public:
    AsCaller(AsCaller&& other) noexcept : credentials_(std::exchange(other.credentials_, nullptr)) {}
    AsCaller& operator=(AsCaller&&) = delete;
    ~AsCaller();

   private:
    friend class Credentials;
    explicit AsCaller(Credentials* credentials) : credentials_(credentials) {}
    Credentials* credentials_;
  };
  // Takes the ids of the caller and sets the umask. The thread's own ids stand for those of root if its user namespace
  // does not have root's. Returns EPERM if the user namespace of the thread does not have the
  // ids. If the thread may not switch ids, its own ids stay in force.
  OrErrno<AsCaller> as_caller(uint32_t uid, uint32_t gid, uint32_t umask);

  // Raises or drops CAP_FSETID. Without it, the host's kernel clears set-id bits on write, truncate and fallocate. With
  // it, the kernel keeps them, and lets chmod and creation set them for any group. The choice holds until the next
  // call, so a run of equal requests costs no system calls.
  void set_keep_setid(bool keep);

 private:
  void set_effective(uint64_t effective);
  bool switch_ids(uint32_t uid, uint32_t gid);

  uint32_t own_uid_ = 0;
  uint32_t own_gid_ = 0;
  bool has_root_ = true, has_root_group_ = true;  // the thread's user namespace has uid 0 and gid 0
  bool can_switch_ = false;  // has CAP_SETUID and CAP_SETGID; if not, new files belong to the process's ids
  bool fixup_is_off_ = false;
  uint64_t permitted_ = 0;
  uint64_t effective_ = 0;
  mode_t umask_ = 0;
};

}  // namespace nacre::virtio::fs
