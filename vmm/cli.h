// SPDX-License-Identifier: Apache-2.0
// The command line of `vmm`.
#pragma once

#include <functional>

#include "vmm/jail/filters.h"

namespace nacre::vmm {

// Returns the process's exit status (ExitStatus). Each thread calls `locked` once it is locked in. That is for tests,
// which try there what an attacker could still do.
int main(int argc, char** argv, const std::function<void(ThreadKind)>& locked = {});

}  // namespace nacre::vmm
