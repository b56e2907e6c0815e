// SPDX-License-Identifier: Apache-2.0
// A part of messages.h: a network namespace of the host, as the machine is to have it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nacre::protocol {

inline constexpr size_t kMaxLinkName = 15;  // bytes (IFNAMSIZ)

// A link of the container's network namespace on the host. The machine has a network device with its MAC.
struct NetworkLink {
  uint32_t index = 0;  // on the host; messages name the link by it
  std::string name = {};
  std::string mac = {};  // "02:42:ac:11:00:02"
  uint32_t mtu = 0;
  uint32_t tx_queue_length = 0;  // packets
  bool ipv6 = true;              // false: it has no IPv6

  static void fields(auto& io, auto& link) {
    io.number("index", link.index, 1, INT32_MAX);
    io.text("name", link.name);
    io.text("mac", link.mac);
    io.number("mtu", link.mtu, 0, UINT16_MAX);
    io.number("txQueueLength", link.tx_queue_length, 0, INT32_MAX);
    io.optional_flag("ipv6", link.ipv6, true);
  }
};

// A message of rtnetlink(7), RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWRULE or RTM_NEWNEIGH, as the host's kernel describes an
// object: each four bytes as one little-endian number.
struct NetlinkMessage {
  std::vector<uint64_t> words = {};

  static void fields(auto& io, auto& message) { io.numbers("words", message.words); }
};

// What a network namespace consists of beside its loopback interface.
struct Network {
  std::vector<NetworkLink> links = {};
  std::vector<NetlinkMessage> messages = {};

  static void fields(auto& io, auto& network) {
    io.objects("links", network.links);
    io.objects("messages", network.messages);
  }
};

}  // namespace nacre::protocol
