// SPDX-License-Identifier: Apache-2.0
// Guards for the things that the creation of a container makes. The destructor of a guard removes its thing, unless
// release() has handed it over to the finished container. The guards are made in the order of the creation and
// destroyed in the reverse order.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "oci/cgroup_files.h"
#include "runtime/container/standin/standin.h"
#include "runtime/host/cgroup/holder.h"
#include "runtime/host/resctrl/group.h"
#include "runtime/plan/plan.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// The directory of a new container, with its lock.
class NewDirectory {
 public:
  // Makes the directory. Fails with "container with given ID already exists".
  static Result<NewDirectory> make(const std::string& root, const std::string& id);
  NewDirectory(NewDirectory&& other) noexcept : dir_(std::exchange(other.dir_, std::nullopt)) {}
  NewDirectory& operator=(NewDirectory&&) = delete;
  ~NewDirectory();

  ContainerDir& get() { return *dir_; }
  const ContainerDir& get() const { return *dir_; }
  // Leaves the directory, and everything that is recorded there, to a later `delete`. Called if a process of the
  // container does not end.
  void keep() { is_kept_ = true; }
  bool is_kept() const { return is_kept_; }
  ContainerDir release();

 private:
  explicit NewDirectory(ContainerDir dir) : dir_(std::move(dir)) {}
  std::optional<ContainerDir> dir_;
  bool is_kept_ = false;
};

// The host's cgroup of a container, with the limits that act there.
class HostCgroup {
 public:
  // `dir` outlives this object.
  explicit HostCgroup(const NewDirectory& dir) : dir_(&dir) {}
  HostCgroup(HostCgroup&&) = delete;
  HostCgroup& operator=(HostCgroup&&) = delete;
  ~HostCgroup();

  // Makes the cgroup and sets the limits that do not disturb a boot. With `systemd` the cgroup belongs to a
  // transient unit.
  Result<void> make(const ContainerPlan& plan, const std::string& id, bool systemd);
  // Sets the other limits, once the VM is up.
  Result<void> set_late_limits() const;

  const std::string& name() const { return name_; }  // as in runtime/host/cgroup/cgroup.h
  void release() { name_.clear(); }

 private:
  Result<void> set_early_limits(const ContainerPlan& plan);

  const NewDirectory* dir_;
  std::string name_;  // empty: nothing to remove
  std::vector<oci::CgroupFile> late_;
  Holder holder_;  // keeps a unit of systemd alive until the stand-in has entered
};

// The resctrl group of the VM's threads, if linux.intelRdt asks for one.
class ResctrlGroup {
 public:
  explicit ResctrlGroup(const NewDirectory& dir) : dir_(&dir) {}
  ResctrlGroup(ResctrlGroup&&) = delete;
  ResctrlGroup& operator=(ResctrlGroup&&) = delete;
  ~ResctrlGroup();

  // Makes the group and notes it in the container's directory.
  Result<void> make(const nlohmann::json& intel_rdt, const std::string& id);

  const std::optional<resctrl::Group>& get() const { return group_; }
  void release() { group_.reset(); }

 private:
  const NewDirectory* dir_;
  std::optional<resctrl::Group> group_;
};

// Runs the poststop hooks of a container that has had a stand-in, after all else is gone.
class PoststopHooks {
 public:
  PoststopHooks() = default;
  PoststopHooks(PoststopHooks&&) = delete;
  PoststopHooks& operator=(PoststopHooks&&) = delete;
  ~PoststopHooks();

  // Makes the destructor run the hooks of `record`.
  void arm(const Record& record) { record_ = record; }
  void release() { record_.reset(); }

 private:
  std::optional<Record> record_;
};

// The stand-in, a child of this process, and the VM that it starts.
class StandinProcess {
 public:
  explicit StandinProcess(NewDirectory& dir) : dir_(&dir) {}
  StandinProcess(StandinProcess&&) = delete;
  StandinProcess& operator=(StandinProcess&&) = delete;
  ~StandinProcess();

  // Forks the stand-in, which takes `task` in its own copy of the memory.
  Result<void> fork(StandinTask& task);
  // Waits for the stand-in's next report. Returns an error if the stand-in reports one.
  Result<Report> receive() const;
  // Tells a stand-in that waits for hooks to go on.
  Result<void> go_on() const;
  // Leaves the stand-in running, and returns the socket of its reports.
  Fd release();

 private:
  NewDirectory* dir_;
  pid_t pid_ = -1;
  Fd report_;
};

}  // namespace nacre::runtime
