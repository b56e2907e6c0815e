// SPDX-License-Identifier: Apache-2.0
// Decides how large a container's VM is after an update, and resizes it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/vm/sizing.h"
#include "vmm/api/control.h"

namespace nacre::runtime {

// A VM before the update.
struct VmState {
  vmm::MachineSize size;
  uint64_t least_memory = 0;  // what the VM booted with, below which it does not shrink
  unsigned least_cpus = 1;
  // Shared VM only: the size that a VM for this container alone would have had before the update.
  std::optional<VmSize> part = std::nullopt;
};

// The new size. A value that is not given does not change.
struct WantedSize {
  std::optional<uint64_t> memory;
  std::optional<unsigned> cpus;
  std::vector<std::string> warnings;  // about limits that the VM cannot follow
};

// Returns the size for `changes`. They are part of `resources`, which are all limits of the container. A VM whose
// container has no limit never shrinks.
WantedSize wanted_size(const nlohmann::json& resources, const nlohmann::json& changes, const VmState& machine,
                       const HostSize& host);

// Asks vmm to resize, like MachineControl; tests have one of their own.
using ResizeCall = std::function<Result<vmm::MachineSize>(const vmm::Resize&)>;

// Grows the VM to `memory` and waits until the guest has taken it. On an error vmm is asked for the former size.
Result<void> grow_memory(const ResizeCall& resize, uint64_t memory);
// Shrinks the VM to `memory` and waits while the guest gives memory back. Returns what the VM then has.
Result<uint64_t> shrink_memory(const ResizeCall& resize, uint64_t memory);

}  // namespace nacre::runtime
