// SPDX-License-Identifier: Apache-2.0
// The network of a container's VM: the network namespace that the container has on the host is the guest's network.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/netlink/socket.h"
#include "base/result.h"
#include "guest-init/protocol/messages.h"
#include "runtime/network/links.h"

namespace nacre::runtime {

// As many as a VM of the runtime can have.
inline constexpr size_t kMaxNetworkDevices = 8;

class ContainerNetwork {
 public:
  // Joins the Ethernet links of the calling process's network namespace to taps. The caller has made sure that the
  // namespace is neither the host's nor that of a container which the links would be taken from.
  static Result<ContainerNetwork> join(const std::string& container);

  ContainerNetwork(ContainerNetwork&&) = default;
  ContainerNetwork& operator=(ContainerNetwork&&) = default;
  // Leaves the links to the namespace.
  ~ContainerNetwork();

  // From now on the links stay joined, whatever becomes of this object, which gives up its rights over the namespace.
  void keep();

  // Returns the container whose VM has the links; empty: this one.
  const std::string& owner() const { return owner_; }
  const protocol::Network& description() const { return description_; }
  // Returns the taps, in the order of description().links. They vanish when their last descriptor is closed.
  std::vector<Fd> take_taps() { return std::move(taps_); }

 private:
  explicit ContainerNetwork(netlink::Socket socket) : socket_(std::move(socket)) {}

  std::optional<netlink::Socket> socket_;  // until keep()
  std::string owner_;
  std::vector<int> joined_;  // indexes of links
  std::vector<Fd> taps_;
  protocol::Network description_;
};

}  // namespace nacre::runtime
