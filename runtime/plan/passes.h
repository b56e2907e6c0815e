// SPDX-License-Identifier: Apache-2.0
// The passes of make_plan() that are not about namespaces and mounts. Each is a pure function.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/plan/plan.h"

namespace nacre::runtime {

// The name of the root filesystem in the share, after the container's prefix.
inline constexpr const char* kRootTarget = "rootfs";

// Returns the VM for a container: its size, kernel command line, share and jail. `prefix` begins the names in the
// share.
Result<vmm::Config> to_vm(const oci::Config& config, const HostFacts& facts, const HostPlan& host,
                          const std::string& prefix, bool debug);

// Returns config.json for the guest, made from the configuration and what is planned so far. The root and the sources
// of bind mounts are paths below protocol::kShareMountPoint. What the host does is not in it: linux.seccomp, which
// travels compiled, linux.memoryPolicy, linux.intelRdt and linux.cgroupsPath. The annotations are in it only if there
// are startContainer hooks, which are told of them.
nlohmann::json to_guest(const oci::Config& config, const HostFacts& facts, const PlanRequest& request,
                        const ContainerPlan& plan, const std::string& prefix);

// Adds the caller's limits to a process, for those that config.json does not set, as under runc.
void inherit_rlimits(nlohmann::json& process, const std::vector<Rlimit>& limits);

// Gives a process `groups`, which are ids of the host, instead of its additionalGids, if the container has
// kKeepGroupsAnnotation. `mappings` is the linux.gidMappings of the container's user namespace, null if it has none. A
// process cannot have a group that is not mapped.
void keep_original_groups(nlohmann::json& process, const std::map<std::string, std::string>& annotations,
                          const std::vector<uint32_t>& groups, const nlohmann::json& mappings);

// Sets LISTEN_FDS and LISTEN_PID as the process has to find them, if there are such descriptors.
void tell_listen_fds(nlohmann::json& process, int count);

}  // namespace nacre::runtime
