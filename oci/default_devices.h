// SPDX-License-Identifier: Apache-2.0
// Lists what every container finds in /dev (runtime-spec, config-linux.md, "Default Devices" and "Default symlinks").
// /dev/console comes with terminals.
#pragma once

#include <array>

namespace nacre::oci {

struct DefaultDevice {
  const char* path;
  unsigned major, minor;  // of a character device
};

inline constexpr std::array<DefaultDevice, 6> kDefaultDevices = {{{"/dev/null", 1, 3},
                                                                  {"/dev/zero", 1, 5},
                                                                  {"/dev/full", 1, 7},
                                                                  {"/dev/random", 1, 8},
                                                                  {"/dev/urandom", 1, 9},
                                                                  {"/dev/tty", 5, 0}}};

struct DefaultLink {
  const char *name, *target;
};

// The links of /dev.
inline constexpr std::array<DefaultLink, 6> kDefaultLinks = {{{"fd", "/proc/self/fd"},
                                                              {"stdin", "/proc/self/fd/0"},
                                                              {"stdout", "/proc/self/fd/1"},
                                                              {"stderr", "/proc/self/fd/2"},
                                                              {"core", "/proc/kcore"},
                                                              {"ptmx", "pts/ptmx"}}};

}  // namespace nacre::oci
