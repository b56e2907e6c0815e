// linux.resources (runtime-spec 1.2, config-linux.md, "Control groups") as files of cgroup v2 (cgroup-v2.rst), and
// which of them act where: in the guest's cgroup of the container, in the host's cgroup of its VM, or in both
// (ARCHITECTURE.md, "Limits").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/field.h"

namespace nacre::protocol {

struct CgroupFile {
  std::string name, value;
  bool unified = false;   // named by the configuration itself
  bool optional = false;  // a kernel that has it not has nothing to limit
};

// All of them, by the conversions from cgroup v1's values that every runtime makes; errors name the field, in runc's
// words where it has some. What cgroup v2 does not have, like swappiness, is not looked at. `bfq`: the cgroup has the
// BFQ scheduler's weights, which are blockIO's own figures, and that scheduler is the only one with those of devices.
Result<std::vector<CgroupFile>> cgroup_files(const Field& resources, bool bfq);

// Of linux.resources.rdma; the file is one of cgroup v1 as well.
Result<void> rdma_files(const Field& rdma, std::vector<CgroupFile>& files);

enum class Side { host, guest };
bool acts_on(Side side, std::string_view file);
std::vector<CgroupFile> files_on(Side side, std::vector<CgroupFile> files);

// Writes them in a cgroup's directory, and gives what undoes that; on an error it is undone. May block.
Result<std::vector<CgroupFile>> set_cgroup_files(const std::string& directory, const std::vector<CgroupFile>& files);

}  // namespace nacre::protocol
