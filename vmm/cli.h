// SPDX-License-Identifier: Apache-2.0
// The command line of `vmm`.
#pragma once

namespace nacre::vmm {

// Returns the process's exit status (ExitStatus).
int main(int argc, char** argv);

}  // namespace nacre::vmm
