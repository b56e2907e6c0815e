// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/remove.h"

#include "runtime/config/config.h"
#include "runtime/container/hooks.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/host/resctrl/group.h"
#include "runtime/vm/files.h"
#include "runtime/vm/shared.h"

namespace nacre::runtime {

namespace {

constexpr int kEndTimeoutMs = 20'000;

}  // namespace

Result<void> end_processes(const ContainerDir& dir, const Processes& processes) {
  TRY_CONTEXT(kill_and_wait(processes.standin, kEndTimeoutMs), "the container's stand-in");
  return end_vm(dir, processes.vmm);
}

Result<void> end_vm(const ContainerDir& dir, const ProcessId& vmm) {
  // A container without these files never had a VM, or has left it in a removal that was cut short.
  if (!has_vm(dir)) return {};
  if (vm_is_shared(dir) && leave_shared_vm(dir, dir.path().substr(dir.path().rfind('/') + 1))) return {};
  // The kernel kills vmm with its stand-in. This is for a vmm whose stand-in could not set that up.
  TRY_CONTEXT(kill_and_wait(vmm, kEndTimeoutMs), "the container's VM");
  remove_vm_cgroup(dir);
  return {};
}

Result<void> destroy(ContainerDir& dir, const Processes& processes) {
  TRY(end_processes(dir, processes));
  remove_cgroup(processes.cgroup);
  if (auto group = resctrl::kept(dir)) resctrl::remove(*group);
  return dir.remove();
}

Result<void> remove_container(ContainerDir& dir, const Record& record) {
  TRY(destroy(dir, {.standin = record.standin, .vmm = record.vmm, .cgroup = record.cgroup}));
  run_late_hooks(TRY(oci::parse_json(record.hooks, "hooks")), "poststop", hook_state(record, "stopped", 0));
  return {};
}

Result<void> run_poststart_hooks(const Record& record) {
  auto hooks = TRY(oci::parse_json(record.hooks, "hooks"));
  auto run = run_hooks(hooks, "poststart", hook_state(record, "running", record.standin.pid));
  if (!run) TRY_CONTEXT(kill_and_wait(record.standin, kEndTimeoutMs), "the container's stand-in");
  return run;
}

}  // namespace nacre::runtime
