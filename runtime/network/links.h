// SPDX-License-Identifier: Apache-2.0
// The links of a container's network namespace on the host that the guest is to have: what callers (docker, netavark,
// CNI plugins, pasta) put there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/netlink/message.h"
#include "base/netlink/socket.h"
#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::runtime {

struct Link {
  int index = 0;
  std::string name;
  std::string mac;  // "02:42:ac:11:00:02"
  uint32_t mtu = 0;
  uint32_t tx_queue_length = 0;  // packets
  bool is_ipv6_disabled = false;
};

// The taps that nacre makes have an alias that begins with this (ip-link(8)).
inline constexpr std::string_view kTapAlias = "nacre:";

// What the network namespace of a socket holds.
struct Links {
  std::vector<Link> ethernet;  // those that the guest is to have, by index
  // Whose VM has them already: the alias of one of nacre's taps without its prefix; empty: nobody's.
  std::string owner;
};

Result<Links> list_links(netlink::Socket& socket);

// Returns what the guest has to configure on the links: addresses, routes, rules and permanent neighbours, as the
// kernel's own messages.
Result<protocol::Network> describe_network(netlink::Socket& socket, const std::vector<Link>& links);

}  // namespace nacre::runtime
