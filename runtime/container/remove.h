// SPDX-License-Identifier: Apache-2.0
// Ends containers, and removes what they leave on the host.
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// Ends a container's stand-in and its VM. If other containers use the VM too, the container leaves the VM
// running. Fails if a process does not end: everything must then stay for a later `delete`.
Result<void> end_processes(const ContainerDir& dir, const Processes& processes);

// Does so with the VM of a container whose stand-in has ended.
Result<void> end_vm(const ContainerDir& dir, const ProcessId& vmm);

// Ends what is left of a container and removes it. Needs the lock.
Result<void> destroy(ContainerDir& dir, const Processes& processes);

// Destroys a whole container and runs its poststop hooks. Needs the lock.
Result<void> remove_container(ContainerDir& dir, const Record& record);

// Runs the hooks that follow the start of the program. Called without the lock, because a hook may use any command on
// the container. A hook that fails stops the container (runtime-spec 1.3, runtime.md, "Lifecycle"; runc does so
// whatever the version).
Result<void> run_poststart_hooks(const Record& record);

}  // namespace nacre::runtime
