// SPDX-License-Identifier: Apache-2.0
// Joins links of a network namespace to taps, which a VM's network devices read and write: every frame that a link
// receives goes to its tap, and every frame of the guest's leaves by the link. The links keep their names, MACs and
// addresses, so tools that enter the namespace see what they see under runc.
//
// tc(8) does it: on each of the two a filter (matchall) whose action (mirred) redirects what comes in to the other.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/netlink/socket.h"
#include "base/result.h"
#include "runtime/network/links.h"

namespace nacre::runtime {

// Makes a tap in the calling thread's network namespace, which `socket` has too, and joins the link to it. `owner` is
// the container's id. The tap is gone once its last descriptor is closed.
Result<Fd> join_to_tap(netlink::Socket& socket, const Link& link, const std::string& owner);

// Takes the filter off the link. Its frames reach the namespace itself again.
Result<void> part_from_tap(netlink::Socket& socket, int link);

}  // namespace nacre::runtime
