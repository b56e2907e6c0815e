// SPDX-License-Identifier: Apache-2.0
// Which devices a container may use: linux.resources.devices (runtime-spec 1.2, config-linux.md, "Allowed Device
// list"), enforced by a BPF program on its cgroup (cgroup-v2.rst, "Device controller").
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace nacre::guest {

struct DeviceRule {
  bool allow = false;
  std::optional<uint32_t> type;          // BPF_DEVCG_DEV_*; not set: every device, whatever the rest says
  std::optional<uint32_t> major, minor;  // not set: any
  uint32_t access = 0;                   // BPF_DEVCG_ACC_*
};

// Compiles the rules. For an access, the last rule that is about it decides; without such a rule the access is refused.
// Each of "read", "write" and "mknod" is decided by itself.
std::vector<bpf_insn> compile_device_rules(std::span<const DeviceRule> rules);

// Enforces the rules for the processes in the cgroup and below, for as long as the cgroup exists.
Result<void> filter_devices(int cgroup, std::span<const DeviceRule> rules);

}  // namespace nacre::guest
