// SPDX-License-Identifier: Apache-2.0
// Manages a VM that containers share. Each container adds to the VM's size, and takes its part away again. The VM's
// cost is charged to a cgroup of its own.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// Grows the VM for a container that has joined it, before the container's program runs: by the size that a VM of its
// own would have for `resources` (linux.resources), less what the guest's kernel needs.
Result<void> add_to_shared_vm(const ContainerDir& dir, const std::string& id, const nlohmann::json& resources);

// Moves vmm to a host cgroup of its own, beside that of the container for which it was made, if that has not happened.
Result<void> separate_vm(const ContainerDir& dir, const Record& first);

// Makes the guest forget a container whose stand-in has ended, and shrinks the VM by what the container had added.
// Returns false if all others have left the VM meanwhile, so that the VM has to end.
bool leave_shared_vm(const ContainerDir& dir, const std::string& id);

// Removes the VM's host cgroup, once the VM has ended with the last of its containers.
void remove_vm_cgroup(const ContainerDir& dir);

}  // namespace nacre::runtime
