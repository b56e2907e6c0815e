// SPDX-License-Identifier: Apache-2.0
#include "runtime/network/container_network.h"

#include <utility>

#include "base/log.h"
#include "runtime/network/taps.h"

namespace nacre::runtime {

Result<ContainerNetwork> ContainerNetwork::join(const std::string& container) {
  ContainerNetwork network(TRY(netlink::Socket::open()));
  Links links = TRY(list_links(*network.socket_));
  network.owner_ = std::move(links.owner);
  if (!network.owner_.empty()) return network;
  if (links.ethernet.size() > kMaxNetworkDevices) {
    return fail("the network namespace has " + std::to_string(links.ethernet.size()) + " links; a VM can have " +
                    std::to_string(kMaxNetworkDevices),
                E2BIG);
  }
  for (const Link& link : links.ethernet) {
    // First, so that a link which is joined in part is left, too.
    network.joined_.push_back(link.index);
    network.taps_.push_back(TRY(join_to_tap(*network.socket_, link, container)));
  }
  network.description_ = TRY(describe_network(*network.socket_, links.ethernet));
  return network;
}

void ContainerNetwork::keep() {
  joined_.clear();
  socket_.reset();
}

ContainerNetwork::~ContainerNetwork() {
  for (int link : std::exchange(joined_, {})) {
    if (auto left = part_from_tap(*socket_, link); !left) {
      log_debug("link " + std::to_string(link) + " is not parted from its tap: " + left.error().message());
    }
  }
}

}  // namespace nacre::runtime
