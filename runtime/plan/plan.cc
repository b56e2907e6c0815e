// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/plan.h"

#include "oci/default_devices.h"
#include "runtime/config/mappings.h"
#include "runtime/config/seccomp/compile.h"
#include "runtime/plan/namespaces.h"
#include "runtime/plan/passes.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

Json member_or(const Json& object, const char* name, Json otherwise) {
  auto found = object.find(name);
  if (found == object.end()) return otherwise;
  return *found;
}

// A user without privilege may map no ids but his own.
Result<void> check_ids(const oci::Config& config, const HostFacts& facts, const Json& mappings) {
  if (!facts.is_unprivileged) return {};
  Json linux = config.json.at("linux");
  if (!mappings.is_null()) linux.update(mappings);
  return oci::check_own_ids(linux, facts.uid, facts.gid);
}

// Refuses what runc refuses, in its words.
Result<void> check_confinement(const oci::Config& config, const HostFacts& facts) {
  if (!config.confinement.selinux_label.empty() && !facts.has_selinux) {
    return fail("selinux label is specified in config, but selinux is disabled or not supported", EINVAL);
  }
  const std::string& profile = config.confinement.apparmor_profile;
  if (!profile.empty() && !facts.has_apparmor) {
    return fail("apparmor failed to apply profile " + profile + ": this host has no AppArmor", EINVAL);
  }
  if (!config.mount_label.empty() && !facts.has_selinux) {
    return fail("linux.mountLabel: this host has no SELinux", EINVAL);
  }
  return {};
}

Result<Json> check_intel_rdt(const Json& linux, const HostFacts& facts) {
  Json asked = member_or(linux, "intelRdt", nullptr);
  if (!asked.is_null()) TRY(resctrl::check(facts.resctrl, asked));
  return asked;
}

Result<Json> compile_seccomp(const Json& linux) {
  auto profile = linux.find("seccomp");
  if (profile == linux.end()) return nullptr;
  auto filter = TRY(seccomp::compile(*profile, "linux.seccomp"));
  return filter ? seccomp::to_message(*filter) : Json();
}

// A key for each tmpfs that containers share, by the mount's place in what the guest gets.
Json to_shared_mounts(const std::vector<oci::Mount>& mounts) {
  Json shared = Json::object();
  for (size_t i = 0; i < mounts.size(); i++) {
    if (!mounts[i].shared_memory.empty()) shared[std::to_string(i)] = mounts[i].shared_memory;
  }
  return shared;
}

std::vector<std::string> device_paths(const Json& linux) {
  std::vector<std::string> paths;
  for (const Json& device : member_or(linux, "devices", Json::array())) {
    paths.push_back(device.at("path").get<std::string>());
  }
  for (const oci::DefaultDevice& device : oci::kDefaultDevices) paths.emplace_back(device.path);
  return paths;
}

}  // namespace

// The order of the passes. Each needs what those before it have decided.
//
//   1. namespaces   which VM the container is in, and what is copied from namespaces outside of it
//   2. checks       AppArmor, SELinux, ids, Intel RDT, memory policy, seccomp: all that can be refused before anything
//                   is made
//   3. mounts       who makes each mount; its name in the share, which begins with a prefix in another container's VM
//   4. VM           its size, its kernel's command line, and a share with the root filesystem and the mounts of 3
//   5. guest        config.json as guest-init gets it, from the configuration and all of the above
Result<ContainerPlan> make_plan(const oci::Config& config, const HostFacts& facts, const PlanRequest& request) {
  ContainerPlan plan;
  const Json& linux = config.json.at("linux");
  plan.warnings = config.warnings;

  auto namespaces = TRY_CONTEXT(resolve_namespaces(config, facts.namespaces), oci::kConfigName);
  for (auto& warning : namespaces.warnings) plan.warnings.push_back(std::move(warning));
  plan.vm.vm_of = std::move(namespaces.vm_of);
  plan.guest.joins = std::move(namespaces.joins);
  plan.host.namespaces = std::move(namespaces.host);
  plan.host.serves_network = namespaces.serves_network;
  plan.host.hostname = std::move(namespaces.hostname);
  plan.host.domainname = std::move(namespaces.domainname);
  plan.host.mappings = std::move(namespaces.mappings);

  TRY_CONTEXT(check_confinement(config, facts), oci::kConfigName);
  TRY_CONTEXT(check_ids(config, facts, plan.host.mappings), oci::kConfigName);
  plan.host.intel_rdt = TRY_CONTEXT(check_intel_rdt(linux, facts), oci::kConfigName);
  plan.host.memory_policy = TRY_CONTEXT(memory_policy(linux), oci::kConfigName);
  plan.guest.seccomp = TRY_CONTEXT(compile_seccomp(linux), oci::kConfigName);
  plan.host.resources = member_or(linux, "resources", Json::object());
  plan.host.backstop = host_backstop(plan.host.resources, size_for(plan.host.resources, facts.size).memory);
  plan.host.cgroups_path = config.cgroups_path;
  plan.host.annotations = config.annotations;
  plan.host.hooks = config.hooks;

  const std::string prefix = plan.vm.vm_of.empty() ? "" : facts.unique_prefix;
  auto mounts = TRY(plan_mounts(config, facts, prefix, request.directory));
  plan.host.mounts = std::move(mounts.mounts);
  plan.host.filesystems = std::move(mounts.filesystems);
  plan.guest.notify = facts.has_notify_socket;
  if (plan.guest.notify) plan.host.mounts.push_back(notify_mount(request.id));
  plan.guest.shared_mounts = to_shared_mounts(plan.host.mounts);
  plan.host.rootfs = config.rootfs;
  plan.host.rootfs_target = prefix + kRootTarget;
  plan.host.rootfs_readonly = config.rootfs_readonly;
  plan.host.devices = device_paths(linux);
  plan.host.confinement = config.confinement;
  plan.host.mount_label = config.mount_label;
  plan.host.cwd = config.json.at("process").at("cwd").get<std::string>();

  plan.vm.program = facts.parts.vmm;
  plan.vm.config = TRY(to_vm(config, facts, plan.host, prefix, request.debug));

  plan.guest.config = to_guest(config, facts, request, plan, prefix);
  return plan;
}

}  // namespace nacre::runtime
