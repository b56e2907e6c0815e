// SPDX-License-Identifier: Apache-2.0
// A container's cgroup (v2) in the guest.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "oci/cgroup_files.h"

namespace nacre::guest {

class Cgroup {
 public:
  // Makes PARENT/NAME and writes `files` in it. On an error nothing is left.
  static Result<Cgroup> create(const std::string& parent, const std::string& name,
                               const std::vector<oci::CgroupFile>& files);

  int fd() const { return directory_.get(); }
  // Opens the cgroup that a process is in, for clone3. The container may have divided its own cgroup, and then no
  // process can be in the upper part.
  static Result<Fd> of_process(const std::string& mount_point, pid_t pid);

  // Opens a cgroup below this one, by its relative path.
  Result<Fd> open_below(const std::string& path) const;

  // Lets a user make cgroups below this one, and move processes there (cgroups(7), "Cgroup delegation").
  Result<void> delegate(uid_t uid) const;
  // Sends SIGKILL to every process in this cgroup and below.
  Result<void> kill_all() const;
  // Sends another signal to them; may miss processes that are made meanwhile.
  Result<void> signal_all(int signal) const;
  // Returns the processes of this cgroup and of those below.
  std::vector<pid_t> processes() const;
  // Writes files of this cgroup. On an error, files that were written get their old content back. Uses paths alone, so
  // that a helper without descriptors may call it. May block.
  Result<void> update(const std::vector<oci::CgroupFile>& files) const;
  // Removes the cgroup. Returns false while there are processes, and true also if the cgroup was removed before.
  bool try_remove() const;

 private:
  Cgroup(std::string path, Fd directory) : path_(std::move(path)), directory_(std::move(directory)) {}

  std::string path_;
  Fd directory_;
};

}  // namespace nacre::guest
