// linux.cgroupsPath in systemd's form, for --systemd-cgroup: the container's cgroup is a transient unit of systemd.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::runtime {

// A unit has to have a process from the first: this child of ours, which does nothing, until another has come.
class Holder {
 public:
  Holder() = default;
  static Result<Holder> start();
  Holder(Holder&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Holder& operator=(Holder&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Holder();
  pid_t pid() const { return pid_; }

 private:
  explicit Holder(pid_t pid) : pid_(pid) {}
  pid_t pid_ = -1;
};

struct SystemdCgroup {
  std::string name;  // as in cgroup.h
  Holder holder;     // until a process has entered
};

// "slice:prefix:name": the unit "prefix-name.scope" in the slice, with the properties that annotations ask for. An
// error where the host does not run systemd. On an error nothing is left. With cgroup version 1 there is the cgroup
// alone.
Result<SystemdCgroup> make_systemd_cgroup(const std::string& cgroups_path, const std::string& id,
                                          const nlohmann::json& resources,
                                          const std::map<std::string, std::string>& annotations);

// systemd.slice(5): "a-b.slice" is in "a.slice", and "-.slice" is the root.
Result<std::string> expand_slice(const std::string& slice);

// The directory of a cgroup of version 2 by its name, with a unit or without.
std::string directory_v2(const std::string& cgroup);

}  // namespace nacre::runtime
