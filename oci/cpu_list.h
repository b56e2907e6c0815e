// SPDX-License-Identifier: Apache-2.0
// Lists of CPUs in the kernel's format, "0-3,7" (cpuset(7), "List format").
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nacre::oci {

// Counts the CPUs in a list, up to `most`. What is no list, which the kernel refuses as well, counts as nothing.
unsigned count_cpus(std::string_view list, unsigned most);

// Returns the list of some CPUs, given in ascending order.
std::string cpu_list(const std::vector<unsigned>& cpus);

}  // namespace nacre::oci
