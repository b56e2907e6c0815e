// How large the machine of a container is to be after an update, and how it comes to be so.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/vm/sizing.h"
#include "vmm/api/control.h"

namespace nacre::update {

struct Machine {
  vmm::MachineSize size;      // as it is
  uint64_t least_memory = 0;  // what it booted with, which stays
  unsigned least_cpus = 1;
  // Of one that several containers share: what one for this container alone would have had before.
  std::optional<runtime::VmSize> part = std::nullopt;
};

// None: as it is.
struct Wanted {
  std::optional<uint64_t> memory;
  std::optional<unsigned> cpus;
  std::vector<std::string> warnings;  // of limits that the machine cannot follow
};

// `changes` are part of `resources`, which are all that the container has. Without a limit a machine never shrinks.
Wanted wanted_size(const nlohmann::json& resources, const nlohmann::json& changes, const Machine& machine,
                   const runtime::HostSize& host);

// MachineControl::resize, for tests.
using ResizeCall = std::function<Result<vmm::MachineSize>(const vmm::Resize&)>;

// Asks for `memory`, more than the machine has, and waits until the guest has taken it. On an error the machine is
// asked to be as it was.
Result<void> grow_memory(const ResizeCall& resize, uint64_t memory);
// Asks for less, and waits while the guest gives some back. What it then has.
Result<uint64_t> shrink_memory(const ResizeCall& resize, uint64_t memory);

}  // namespace nacre::update
