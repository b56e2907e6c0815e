// What `ps` and `docker top` on the host show of a stand-in: the command line of the process that it stands for.
#pragma once

#include <nlohmann/json.hpp>

namespace nacre::runtime {

// `args` as in an OCI process. Without CAP_SYS_RESOURCE nothing changes (prctl(2), PR_SET_MM_ARG_START).
void show_command_line(const nlohmann::json& args);

}  // namespace nacre::runtime
