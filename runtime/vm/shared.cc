// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/shared.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "runtime/guest/connection.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/vm/control.h"
#include "runtime/vm/files.h"
#include "runtime/vm/part.h"
#include "runtime/vm/resize.h"
#include "runtime/vm/sizing.h"

namespace nacre::runtime {

namespace {

constexpr int kDeleteTimeoutMs = 20'000;
constexpr const char* kCgroupSuffix = ".vm";

Result<void> add_memory(MachineControl& control, const ContainerDir& dir, uint64_t wanted) {
  vmm::MachineSize now = TRY(control.ask(vmm::Resize{}));
  uint64_t memory = std::min(now.memory + wanted, now.max_memory);
  if (memory <= now.memory) return {};
  TRY(grow_memory([&](const vmm::Resize& request) { return control.ask(request); }, memory));
  return keep_part(dir, memory - now.memory);
}

Result<void> add_cpus(MachineControl& control, const ContainerDir& dir, const std::string& id, unsigned wanted) {
  vmm::MachineSize now = TRY(control.ask(vmm::Resize{}));
  unsigned cpus = std::min(now.cpus + wanted, now.max_cpus);
  if (cpus <= now.cpus) return {};
  TRY(control.ask(vmm::Resize{.cpus = cpus}));
  protocol::Update online{.container = id};
  online.cpus = static_cast<int>(cpus);
  TRY(ask_running(dir.fd(), online));
  return {};
}

std::string vm_cgroup(const ContainerDir& dir) {
  auto path = read_file(dir.file(kVmCgroupName));
  return path ? *path : "";
}

Result<void> shrink(const ContainerDir& dir, uint64_t part) {
  auto control = TRY(MachineControl::connect(dir.fd()));
  vmm::MachineSize now = TRY(control.ask(vmm::Resize{}));
  TRY(control.ask(vmm::Resize{.memory = now.memory - std::min(part, now.memory)}));
  return {};
}

}  // namespace

Result<void> add_to_shared_vm(const ContainerDir& dir, const std::string& id, const nlohmann::json& resources) {
  Fd lock = TRY(dir.lock_named(kUpdateLockName));
  auto control = TRY(MachineControl::connect(dir.fd()));
  VmSize alone = size_for(resources, host_size());
  TRY(add_memory(control, dir, alone.memory - std::min(alone.memory, guest_overhead(0))));
  if (limits_cpus(resources)) TRY(add_cpus(control, dir, id, alone.cpus));
  return {};
}

Result<void> separate_vm(const ContainerDir& dir, const Record& first) {
  Fd lock = TRY(dir.lock_named(kUpdateLockName));
  if (first.cgroup.empty() || !vm_cgroup(dir).empty()) return {};
  std::vector<pid_t> vm = children_among(processes_in(first.cgroup), first.vmm.pid);
  vm.insert(vm.begin(), first.vmm.pid);
  std::string cgroup = TRY(move_beside(first.cgroup, kCgroupSuffix, vm));
  // Written in place, because the file is linked into other directories.
  Fd file = TRY(open_at(dir.fd(), kVmCgroupName, O_WRONLY | O_TRUNC));
  return write_all(file.get(), cgroup);
}

bool leave_shared_vm(const ContainerDir& dir, const std::string& id) {
  // The guest has seen the connection end, so the container's processes end soon after the stand-in.
  auto left = ask(dir.fd(), protocol::Delete{.container = id}, kDeleteTimeoutMs);
  if (!left) log_debug("the guest does not delete " + id + ": " + left.error().message());
  // Of the last two containers that leave at the same time, one finds the other gone.
  auto lock = dir.lock_named(kUpdateLockName);
  if (!lock) log_warn(id + " leaves its VM without a lock: " + lock.error().message());
  if (!vm_is_shared(dir)) return false;
  leave_vm_files(dir);
  uint64_t part = kept_part(dir);
  auto shrunk = lock && part > 0 ? shrink(dir, part) : Result<void>();
  if (!shrunk) log_debug("the VM does not shrink: " + shrunk.error().message());
  return true;
}

void remove_vm_cgroup(const ContainerDir& dir) {
  remove_cgroup(vm_cgroup(dir));
}

}  // namespace nacre::runtime
