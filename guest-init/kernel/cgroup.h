// One container's cgroup (v2) in the guest.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/protocol/cgroup_files.h"

namespace nacre::guest {

class Cgroup {
 public:
  // Makes PARENT/NAME and writes `files` in it. On an error nothing is left.
  static Result<Cgroup> create(const std::string& parent, const std::string& name,
                               const std::vector<protocol::CgroupFile>& files);

  int fd() const { return directory_.get(); }
  // The cgroup that a process is in, for clone3: the container may have divided its own cgroup, and then no process
  // can be in the upper part.
  static Result<Fd> of_process(const std::string& mount_point, pid_t pid);

  // One below it, by its relative path.
  Result<Fd> open_below(const std::string& path) const;

  // Lets a user make cgroups below it, and move processes there (cgroups(7), "Cgroup delegation").
  Result<void> delegate(uid_t uid) const;
  // SIGKILL to every process in it and below.
  Result<void> kill_all() const;
  // Another signal; processes that are made meanwhile may be missed.
  Result<void> signal_all(int signal) const;
  // Of it and the cgroups below it.
  std::vector<pid_t> processes() const;
  // Writes files of it; on an error those that were written get their old content back. By path: needs no descriptor.
  // May block.
  Result<void> update(const std::vector<protocol::CgroupFile>& files) const;
  // False while there are processes. True also if it is gone.
  bool try_remove() const;

 private:
  Cgroup(std::string path, Fd directory) : path_(std::move(path)), directory_(std::move(directory)) {}

  std::string path_;
  Fd directory_;
};

}  // namespace nacre::guest
