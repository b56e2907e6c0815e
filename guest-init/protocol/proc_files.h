// SPDX-License-Identifier: Apache-2.0
// What "procfs" tells of a container's /proc: proc(5), as a process in the container's pid namespace would read it.
#pragma once

#include <array>
#include <string_view>

namespace nacre::protocol {

// Below /proc/PID.
inline constexpr std::array<std::string_view, 13> kProcessFiles = {
    "cgroup",        "cmdline", "comm",  "gid_map", "limits",  "loginuid", "oom_score",
    "oom_score_adj", "stat",    "statm", "status",  "uid_map", "wchan"};
// Below /proc/PID/ns: each a link to "NAME:[NUMBER]", with another NAME for none of them.
inline constexpr std::array<std::string_view, 8> kNamespaceLinks = {"cgroup", "ipc",  "mnt",  "net",
                                                                    "pid",    "time", "user", "uts"};
// Below /proc.
inline constexpr std::array<std::string_view, 5> kMachineFiles = {"loadavg", "meminfo", "stat", "uptime", "version"};

}  // namespace nacre::protocol
