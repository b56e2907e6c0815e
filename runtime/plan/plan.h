// SPDX-License-Identifier: Apache-2.0
// From config.json to one immutable plan: the VM to start or to join, what the guest is to make, and what the host has
// to do for it. make_plan() computes it from the configuration and the facts of the host, and asks nobody.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/confinement.h"
#include "base/result.h"
#include "runtime/config/config.h"
#include "runtime/plan/facts.h"
#include "runtime/plan/memory_policy.h"
#include "runtime/plan/mounts.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

// Annotations that shape the VM.
inline constexpr const char* kMemoryAnnotation = "nacre.vm.memory";  // "1G", as vmm's --memory
inline constexpr const char* kCpusAnnotation = "nacre.vm.cpus";      // 1 to 64
// How far `update` can make the VM grow.
inline constexpr const char* kMaxMemoryAnnotation = "nacre.vm.max-memory";
inline constexpr const char* kMaxCpusAnnotation = "nacre.vm.max-cpus";
// crun's annotation, which podman's `--group-add keep-groups` sets: a process has the supplementary groups of whoever
// starts it, and not those of config.json (crun(1)).
inline constexpr const char* kKeepGroupsAnnotation = "run.oci.keep_original_groups";

// What the command line adds to config.json.
struct PlanRequest {
  std::string id;
  std::string directory;  // the container's own
  bool debug = false;     // the guest's console is kept
  int listen_fds = 0;     // descriptors of systemd's socket activation that the process gets (sd_listen_fds(3))
};

struct VmPlan {
  std::string program;  // the path of vmm
  // Without the descriptors, which the stand-in makes.
  vmm::Config config;
  // The container whose VM is joined, of whose configuration the share alone counts then; empty: a VM is started.
  std::string vm_of;
};

// What guest-init is asked to make ("create" of protocol.h).
struct GuestPlan {
  nlohmann::json config;   // config.json, with paths of the guest
  nlohmann::json seccomp;  // the compiled filter; null: none
  nlohmann::json joins = nlohmann::json::object();
  nlohmann::json shared_mounts = nlohmann::json::object();
  bool notify = false;  // the container can say that it is ready
};

// What the host does: namespaces and mounts of the stand-in, cgroup, resctrl group, hooks.
struct HostPlan {
  std::vector<oci::Namespace> namespaces;  // an empty path means a new one
  bool serves_network = false;             // the VM gets the links of the container's network namespace
  std::string hostname, domainname;
  std::string rootfs;
  std::string rootfs_target;  // its name in the share
  bool rootfs_readonly = false;
  std::vector<oci::Mount> mounts;
  std::vector<std::string> devices;  // paths of what the container finds as devices
  std::vector<HostFilesystem> filesystems;
  std::string cwd;          // of the process, in the container
  Confinement confinement;  // of the stand-in, and of vmm, if the container has a VM of its own
  std::string mount_label;  // SELinux's, of file systems that the host mounts
  std::optional<MemoryPolicy> memory_policy;
  std::string cgroups_path;
  std::map<std::string, std::string> annotations;
  nlohmann::json resources;  // linux.resources; an object
  // memory.max of the host's cgroup, if the container has a memory limit. Annotations do not change it.
  std::optional<uint64_t> backstop;
  nlohmann::json intel_rdt;  // linux.intelRdt; null: none
  nlohmann::json mappings;   // {uidMappings, gidMappings} of the user namespace; null: none
  nlohmann::json hooks;      // "hooks" of config.json; null: none
};

struct ContainerPlan {
  VmPlan vm;
  GuestPlan guest;
  HostPlan host;
  std::vector<std::string> warnings;  // a line each
};

Result<ContainerPlan> make_plan(const oci::Config& config, const HostFacts& facts, const PlanRequest& request);

}  // namespace nacre::runtime
