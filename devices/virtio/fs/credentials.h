// The credentials of the thread that serves a guest's file system.
//
// The guest's kernel has checked permissions (virtio-fs mounts have default_permissions). The server sees to it that
// new files belong to the caller, that the caller's umask applies, and that set-id bits go away as they would on a
// local file system. So the thread keeps its capabilities all the time, and takes the caller's *file system* uid and
// gid only while it creates something. setfsuid(2) normally takes CAP_DAC_OVERRIDE and its like out of the effective
// set; the securebit NO_SETUID_FIXUP prevents that, and where the thread may not set it (CAP_SETPCAP), capset(2) puts
// them back. The C library's wrappers of setuid(2) would change every thread of the process: only raw system calls are
// used here.
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

  // Prepares the calling thread. Its umask and current directory become its own (unshare(CLONE_FS)), and the current
  // directory becomes `proc_self_fd`, so that the path "N" names descriptor N in calls that take no directory. From
  // then on this object is for this thread only.
  Result<void> adopt_thread(int proc_self_fd);

  // While it lives, what the thread creates belongs to the caller.
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
  // Returns EPERM for ids that the user namespace of the thread does not have.
  OrErrno<AsCaller> as_caller(uint32_t uid, uint32_t gid, uint32_t umask);

  // Without CAP_FSETID the host's kernel clears set-id bits on write, truncate and fallocate; with it, it keeps them
  // and lets chmod and creation set them for any group. The switch stays until the next call, so a run of equal
  // requests costs nothing.
  void set_keep_setid(bool keep);

 private:
  void set_effective(uint64_t effective);
  bool switch_ids(uint32_t uid, uint32_t gid);

  uint32_t own_uid_ = 0;
  uint32_t own_gid_ = 0;
  bool can_switch_ = false;  // has CAP_SETUID and CAP_SETGID; else all that is created belongs to the process's ids
  bool fixup_is_off_ = false;
  uint64_t permitted_ = 0;
  uint64_t effective_ = 0;
  mode_t umask_ = 0;
};

}  // namespace nacre::virtio::fs
