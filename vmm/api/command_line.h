// SPDX-License-Identifier: Apache-2.0
// The kernel command line of a guest, by architecture: command_line_NAME.cc, chosen by the build.
#pragma once

#include <cstddef>
#include <string>

namespace nacre::vmm {

// Returns the words with which a guest kernel starts /init of its initramfs as fast as this machine allows. With
// `console` its messages go to the serial console; without it the kernel does not look for one.
std::string default_command_line(bool console);

// Returns how many bytes a command line can have.
size_t max_command_line();

}  // namespace nacre::vmm
