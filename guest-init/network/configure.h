// SPDX-License-Identifier: Apache-2.0
// Gives the machine's network devices what the host's links have: names, addresses, routes, rules, neighbours.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::guest {

// Finds the devices by their MACs, and configures them in the network namespace `netns` (a descriptor; -1: the
// machine's own, which the calling thread is in). Devices and their addresses that cannot be had are an error; other
// messages that the kernel refuses are returned as lines.
Result<std::vector<std::string>> configure_network(const protocol::Network& network, int netns);

}  // namespace nacre::guest
