// What a container changes of a VM that it shares with others: its size on the way in and out, and that the VM's cost
// is not one container's alone.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// Before the program of a container that has joined a VM runs: adds to the VM what one of its own would have for
// `resources` (linux.resources), but for what the guest's kernel needs.
Result<void> add_to_shared_vm(const ContainerDir& dir, const std::string& id, const nlohmann::json& resources);

// Moves vmm to a host cgroup of its own, beside that of the container for which it was made, if nobody has yet.
Result<void> separate_vm(const ContainerDir& dir, const Record& first);

// The guest forgets the container, and the VM shrinks by what it had added. For one whose stand-in has ended.
void leave_shared_vm(const ContainerDir& dir, const std::string& id);

// When the VM has ended with the last of its containers.
void remove_vm_cgroup(const ContainerDir& dir);

}  // namespace nacre::runtime
