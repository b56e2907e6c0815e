// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <utility>

#include "guest-init/protocol/protocol.h"
#include "runtime/plan/file_ids.h"
#include "runtime/plan/passes.h"
#include "runtime/vm/sizing.h"
#include "vmm/api/command_line.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

// The kernel decides which of the memory that comes later can go again, and which may be used by itself.
constexpr const char* kGrows = " memory_hotplug.online_policy=auto-movable";

Result<unsigned> parse_cpus(const char* name, const std::string& text) {
  unsigned cpus = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpus);
  if (error != std::errc() || end != text.data() + text.size() || cpus < 1 || cpus > kMaxCpus) {
    return fail(std::string("annotations.") + name + ": must be a number from 1 to 64", EINVAL);
  }
  return cpus;
}

// The container's memory limit binds its VM too, so an annotation may ask for less than the VM of that limit, or for as
// much as the administrator allows. A number of CPUs needs no such check: quota and cpuset bind the VM on the host.
Result<void> check_memory(const std::string& asked, uint64_t memory, uint64_t by_limit,
                          const oci::AdministratorLimits& administrator) {
  uint64_t most = std::max(by_limit, administrator.max_vm_memory.value_or(0));
  if (memory <= most) return {};
  std::string file = oci::kAdministratorFile;
  std::string bound = most == by_limit
                          ? "which the memory limit gives the VM (max-vm-memory in " + file + " can allow more)"
                          : "the max-vm-memory in " + file;
  return fail(std::string("annotations.") + kMemoryAnnotation + ": " + asked + " is more than " +
                  std::to_string(most >> 20) + "M, " + bound,
              EPERM);
}

// Sets the VM's size: by linux.resources and the host, or as annotations have it.
Result<void> set_size(const oci::Config& config, const HostFacts& facts, vmm::Config& vm) {
  const Json resources = config.json.at("linux").value("resources", Json::object());
  VmSize size = size_for(resources, facts.size);
  auto memory = [&](const char* name, uint64_t otherwise) -> Result<uint64_t> {
    auto found = config.annotations.find(name);
    if (found == config.annotations.end()) return otherwise;
    return TRY_CONTEXT(vmm::parse_size(found->second), std::string("annotations.") + name);
  };
  auto cpus = [&](const char* name, unsigned otherwise) -> Result<unsigned> {
    auto found = config.annotations.find(name);
    if (found == config.annotations.end()) return otherwise;
    return parse_cpus(name, found->second);
  };
  vm.memory = TRY(memory(kMemoryAnnotation, size.memory));
  if (auto asked = config.annotations.find(kMemoryAnnotation);
      asked != config.annotations.end() && limits_memory(resources)) {
    TRY(check_memory(asked->second, vm.memory, size.memory, facts.administrator));
  }
  size.memory = vm.memory;
  size.cpus = vm.cpus = TRY(cpus(kCpusAnnotation, size.cpus));
  VmSize largest = largest_size(size, facts.size);
  vm.max_memory = std::max(vm.memory, TRY(memory(kMaxMemoryAnnotation, largest.memory)));
  vm.max_cpus = std::max(vm.cpus, TRY(cpus(kMaxCpusAnnotation, largest.cpus)));
  if (vm.max_memory > vm.memory) vm.cmdline += kGrows;
  return {};
}

// Returns true if a process of the container can hold CAP_MKNOD over the whole machine, not only over a user namespace.
bool may_make_device_nodes(const oci::Config& config) {
  const Json::json_pointer kBounding("/process/capabilities/bounding"), kNamespaces("/linux/namespaces");
  if (!config.json.contains(kBounding)) return false;
  auto is_user = [](const Json& entry) { return entry["type"] == "user"; };
  if (config.json.contains(kNamespaces) && std::ranges::any_of(config.json[kNamespaces], is_user)) return false;
  return std::ranges::find(config.json[kBounding], "CAP_MKNOD") != config.json[kBounding].end();
}

}  // namespace

Result<vmm::Config> to_vm(const oci::Config& config, const HostFacts& facts, const HostPlan& host,
                          const std::string& prefix, bool debug) {
  vmm::Config vm;
  vm.kernel = facts.parts.kernel;
  vm.initrd = facts.parts.initramfs;
  vm.cmdline = vmm::default_command_line(debug);
  vm.console = debug;
  TRY(set_size(config, facts, vm));
  vmm::Fs share{.tag = protocol::kShareTag, .path = "", .readonly = false, .mounts = {}};
  share.mounts.push_back({.source = config.rootfs, .target = prefix + kRootTarget, .readonly = config.rootfs_readonly});
  for (const oci::Mount& mount : host.mounts) {
    if (!mount.bind) continue;
    share.mounts.push_back({.source = mount.source,
                            .target = mount.share_path,
                            .readonly = mount.readonly,
                            .recursive = mount.recursive,
                            .readonly_below = mount.readonly_below});
  }
  vm.fs.push_back(std::move(share));
  vm.vsock = vmm::Vsock{};
  FileIds ids = file_ids(host.mappings, host.mounts);
  vm.jail = {.enabled = true,
             .seccomp = facts.parts.seccomp,
             .device_nodes = may_make_device_nodes(config),
             .uids = std::move(ids.uids),
             .gids = std::move(ids.gids),
             .keep_groups = config.annotations.contains(kKeepGroupsAnnotation),
             .apparmor_profile = config.confinement.apparmor_profile,
             .selinux_label = config.confinement.selinux_label,
             .mount_label = config.mount_label};
  TRY_CONTEXT(vmm::check(vm), "the VM of this configuration");
  return vm;
}

}  // namespace nacre::runtime
