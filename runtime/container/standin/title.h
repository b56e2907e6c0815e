// SPDX-License-Identifier: Apache-2.0
// Changes the command line of a stand-in, as `ps` and `docker top` on the host show it, to that of the process in the
// guest.
#pragma once

#include <nlohmann/json.hpp>

namespace nacre::runtime {

// Shows `args`, as in an OCI process. Without CAP_SYS_RESOURCE nothing changes (prctl(2), PR_SET_MM_ARG_START).
void show_command_line(const nlohmann::json& args);

}  // namespace nacre::runtime
