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
  std::optional<uint32_t> type;          // BPF_DEVCG_DEV_*; none: every device, whatever the rest says
  std::optional<uint32_t> major, minor;  // none: any
  uint32_t access = 0;                   // BPF_DEVCG_ACC_*
};

// The program that lets an access through when, of the rules in their order, the last that is about it allows it; no
// rule: no access. Each of "read", "write" and "mknod" is looked at by itself.
std::vector<bpf_insn> compile_device_rules(std::span<const DeviceRule> rules);

// For the processes in the cgroup and below it, as long as the cgroup is there.
Result<void> filter_devices(int cgroup, std::span<const DeviceRule> rules);

}  // namespace nacre::guest
