// SPDX-License-Identifier: Apache-2.0
// linux.resources (runtime-spec 1.2, config-linux.md, "Control groups") as files of cgroup v2 (cgroup-v2.rst), and the
// table of which file acts where: in the guest's cgroup of the container, in the host's cgroup of its VM, or in both
// (docs/limits.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/json_field.h"

namespace nacre::oci {

struct CgroupFile {
  std::string name, value;
  bool unified = false;   // named by the configuration itself
  bool optional = false;  // a kernel without the file has nothing to limit
};

// Translates linux.resources, with the conversions from cgroup v1's values that every runtime makes. Errors name the
// field, in runc's words if it has some. What cgroup v2 does not have, like swappiness, is ignored. `bfq`: the cgroup
// has the BFQ scheduler's weights, which are blockIO's own figures; no other scheduler has weights of devices.
Result<std::vector<CgroupFile>> cgroup_files(const JsonField& resources, bool bfq);

// Returns the page size of an entry of linux.resources.hugepageLimits, which is part of a file's name ("2MB").
Result<std::string> page_size(const JsonField& limit);

// Translates linux.resources.rdma. cgroup v1 has the same file.
Result<void> rdma_files(const JsonField& rdma, std::vector<CgroupFile>& files);

enum class Side { host, guest };
bool acts_on(Side side, std::string_view file);
std::vector<CgroupFile> files_on(Side side, std::vector<CgroupFile> files);

// Writes files in a cgroup's directory, and returns what undoes that. On an error nothing is changed. May block.
Result<std::vector<CgroupFile>> set_cgroup_files(const std::string& directory, const std::vector<CgroupFile>& files);

}  // namespace nacre::oci
