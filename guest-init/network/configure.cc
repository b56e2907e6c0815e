// SPDX-License-Identifier: Apache-2.0
#include "guest-init/network/configure.h"

#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/fd.h"
#include "base/netlink/message.h"
#include "base/netlink/socket.h"
#include "guest-init/kernel/loopback.h"

namespace nacre::guest {

namespace {

using netlink::Attribute;
using netlink::Bytes;
using netlink::MessageBuilder;
using netlink::MessageView;

constexpr uint32_t kLoopbackIndex = 1;  // in every network namespace
constexpr size_t kMaxMessage = 4096;    // bytes

// Is in a network namespace as long as it lives.
class InNamespace {
 public:
  static Result<InNamespace> enter(int netns) {
    InNamespace entered;
    if (netns < 0) return entered;
    entered.before_ = TRY(open_file("/proc/self/ns/net", O_RDONLY));
    if (::setns(netns, CLONE_NEWNET) < 0) return fail_errno("enter the container's network namespace");
    return entered;
  }
  InNamespace(InNamespace&&) = default;
  InNamespace(const InNamespace&) = delete;
  ~InNamespace() {
    // guest-init has every right over the machine's own namespace.
    if (before_ && ::setns(before_.get(), CLONE_NEWNET) < 0) std::abort();
  }

 private:
  InNamespace() = default;
  Fd before_;
};

struct Device {
  uint32_t index = 0;
  std::string mac;
};

Result<std::vector<Device>> list_devices(netlink::Socket& socket) {
  std::vector<Device> devices;
  for (const Bytes& bytes : TRY(socket.dump(MessageBuilder(RTM_GETLINK, 0, ifinfomsg{})))) {
    auto message = MessageView::first_of(bytes);
    auto head = message ? message->header<ifinfomsg>() : std::nullopt;
    if (!head || head->ifi_type != ARPHRD_ETHER) continue;
    auto mac = netlink::find(message->attributes<ifinfomsg>(), IFLA_ADDRESS);
    if (mac) devices.push_back({.index = static_cast<uint32_t>(head->ifi_index), .mac = netlink::mac_text(mac->value)});
  }
  return devices;
}

// The links with the machine's devices for them.
struct Configured {
  const protocol::NetworkLink* link;
  uint32_t device;
};

Result<std::vector<Configured>> find_devices(netlink::Socket& socket, const protocol::Network& network) {
  std::vector<Device> devices = TRY(list_devices(socket));
  std::vector<Configured> found;
  for (const protocol::NetworkLink& link : network.links) {
    if (link.name.empty() || link.name.size() > protocol::kMaxLinkName || link.name.find('/') != std::string::npos) {
      return fail("invalid name of a link: " + link.name, EINVAL);
    }
    auto device = std::ranges::find(devices, link.mac, &Device::mac);
    if (device == devices.end()) return fail("the machine has no network device " + link.mac, ENODEV);
    found.push_back({.link = &link, .device = device->index});
    devices.erase(device);
  }
  return found;
}

MessageBuilder change_of(uint32_t device) {
  ifinfomsg head{};
  head.ifi_index = static_cast<int>(device);
  return MessageBuilder(RTM_NEWLINK, 0, head);
}

// Names the devices as the links; a name may be that of another device now. Moves them into `netns`, if that is another
// namespace, where their indexes are the links' own.
Result<void> place(netlink::Socket& socket, std::vector<Configured>& configured, int netns) {
  for (Configured& each : configured) {
    MessageBuilder change = change_of(each.device);
    if (netns >= 0) {
      change.put(IFLA_NET_NS_FD, static_cast<uint32_t>(netns)).put(IFLA_IFNAME, each.link->name);
      change.put(IFLA_NEW_IFINDEX, static_cast<int32_t>(each.link->index));
      each.device = each.link->index;
    } else {
      change.put(IFLA_IFNAME, "nacre" + std::to_string(each.device));
    }
    TRY_CONTEXT(socket.ask(change), each.link->name);
  }
  if (netns >= 0) return {};
  for (const Configured& each : configured) {
    TRY_CONTEXT(socket.ask(change_of(each.device).put(IFLA_IFNAME, each.link->name)), each.link->name);
  }
  return {};
}

Result<void> set_ipv6(const std::string& link, const char* name, const char* value) {
  Fd file = TRY(open_file("/proc/sys/net/ipv6/conf/" + link + "/" + name, O_WRONLY));
  return write_all(file.get(), std::string_view(value));
}

Result<void> set_address_generation(netlink::Socket& socket, uint32_t device, uint8_t mode) {
  return socket.ask(change_of(device).nest(IFLA_AF_SPEC, [mode](MessageBuilder& families) {
    families.nest(AF_INET6, [mode](MessageBuilder& ipv6) { ipv6.put(IFLA_INET6_ADDR_GEN_MODE, mode); });
  }));
}

Result<void> switch_on(netlink::Socket& socket, const Configured& each) {
  if (each.link->ipv6) {
    // All addresses come from the host, where they have been looked for in the network already.
    TRY(set_address_generation(socket, each.device, IN6_ADDR_GEN_MODE_NONE));
    TRY(set_ipv6(each.link->name, "accept_dad", "0"));
  } else {
    TRY(set_ipv6(each.link->name, "disable_ipv6", "1"));
  }
  ifinfomsg head{};
  head.ifi_index = static_cast<int>(each.device);
  head.ifi_flags = head.ifi_change = IFF_UP;
  MessageBuilder change(RTM_NEWLINK, 0, head);
  if (each.link->mtu != 0) change.put(IFLA_MTU, each.link->mtu);
  change.put(IFLA_TXQLEN, each.link->tx_queue_length);
  TRY(socket.ask(change));
  // The kernel notices within a second that a link is up, or when somebody asks (rtnl_getlink() of rtnetlink.c). Before
  // that, addresses of IPv6 do not work.
  head.ifi_flags = head.ifi_change = 0;
  return socket.ask(MessageBuilder(RTM_GETLINK, 0, head));
}

Result<void> leave_to_the_guest(netlink::Socket& socket, const Configured& each) {
  if (!each.link->ipv6) return {};
  TRY(set_address_generation(socket, each.device, IN6_ADDR_GEN_MODE_EUI64));
  return set_ipv6(each.link->name, "accept_dad", "1");
}

// Returns the flags with which the kernel adds the object beside those that are like it.
uint16_t flags_for(uint16_t type) {
  switch (type) {
    case RTM_NEWROUTE:
      return NLM_F_CREATE | NLM_F_APPEND;
    case RTM_NEWRULE:
      return NLM_F_CREATE | NLM_F_EXCL;
    default:
      return NLM_F_CREATE | NLM_F_REPLACE;
  }
}

// Exchanges the host's indexes in messages for the guest's.
class Translation {
 public:
  explicit Translation(const std::vector<Configured>& configured) {
    for (const Configured& each : configured) indexes_[each.link->index] = each.device;
  }

  // Returns the message as a request; an error if it is none of those that the host may send.
  Result<Bytes> translate(const protocol::NetlinkMessage& words) const {
    if (words.words.size() > kMaxMessage / sizeof(uint32_t)) return fail("too long a netlink message", E2BIG);
    Bytes bytes;
    for (uint64_t word : words.words) {
      auto number = static_cast<uint32_t>(word);
      auto part = std::as_bytes(std::span(&number, 1));
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    auto message = MessageView::first_of(bytes);
    if (!message || message->bytes().size() > bytes.size()) return fail("no netlink message", EINVAL);
    bytes.resize(message->bytes().size());
    message = MessageView::first_of(bytes);
    switch (message->type()) {
      case RTM_NEWADDR:
        TRY(translate_at(bytes, sizeof(nlmsghdr) + offsetof(ifaddrmsg, ifa_index)));
        break;
      case RTM_NEWNEIGH:
        TRY(translate_at(bytes, sizeof(nlmsghdr) + offsetof(ndmsg, ndm_ifindex)));
        break;
      case RTM_NEWROUTE:
        TRY(translate_route(bytes, *message));
        break;
      case RTM_NEWRULE:
        break;
      default:
        return fail("a netlink message of type " + std::to_string(message->type()) + " is not the host's to send",
                    EINVAL);
    }
    nlmsghdr head;
    std::memcpy(&head, bytes.data(), sizeof(head));
    head.nlmsg_flags = flags_for(message->type());
    std::memcpy(bytes.data(), &head, sizeof(head));
    return bytes;
  }

 private:
  Result<void> translate_at(Bytes& bytes, size_t at) const {
    uint32_t index;
    if (bytes.size() < at + sizeof(index)) return fail("a netlink message is too short", EINVAL);
    std::memcpy(&index, bytes.data() + at, sizeof(index));
    if (index == kLoopbackIndex) return {};
    auto found = indexes_.find(index);
    if (found == indexes_.end()) return fail("a netlink message names a link that is not there", EINVAL);
    std::memcpy(bytes.data() + at, &found->second, sizeof(index));
    return {};
  }

  Result<void> translate_route(Bytes& bytes, const MessageView& message) const {
    auto head = message.header<rtmsg>();
    if (!head) return fail("a netlink message is too short", EINVAL);
    // What the kernel says of a route's state, which it does not take.
    head->rtm_flags &= RTNH_F_ONLINK | RTNH_F_PERVASIVE;
    std::memcpy(bytes.data() + sizeof(nlmsghdr), &*head, sizeof(*head));
    for (const Attribute& attribute : message.attributes<rtmsg>()) {
      const auto at = static_cast<size_t>(attribute.value.data() - bytes.data());
      if (attribute.type == RTA_OIF || attribute.type == RTA_IIF) TRY(translate_at(bytes, at));
      if (attribute.type == RTA_MULTIPATH) TRY(translate_hops(bytes, at, attribute.value.size()));
    }
    return {};
  }

  Result<void> translate_hops(Bytes& bytes, size_t at, size_t size) const {
    while (size >= sizeof(rtnexthop)) {
      rtnexthop hop;
      std::memcpy(&hop, bytes.data() + at, sizeof(hop));
      if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > size)
        return fail("a route's next hops are not understood", EINVAL);
      hop.rtnh_flags &= RTNH_F_ONLINK | RTNH_F_PERVASIVE;
      std::memcpy(bytes.data() + at, &hop, sizeof(hop));
      TRY(translate_at(bytes, at + offsetof(rtnexthop, rtnh_ifindex)));
      size_t step = std::min<size_t>(RTNH_ALIGN(hop.rtnh_len), size);
      at += step;
      size -= step;
    }
    return {};
  }

  std::map<uint32_t, uint32_t> indexes_;
};

bool is_of_local_table(const MessageView& route) {
  auto head = route.header<rtmsg>();
  return !head || head->rtm_table == RT_TABLE_LOCAL || (head->rtm_family != AF_INET && head->rtm_family != AF_INET6);
}

// Removes the routes that the kernel has made for the addresses. The host's messages have them, if it has them still.
Result<void> remove_routes(netlink::Socket& socket) {
  for (Bytes& bytes : TRY(socket.dump(MessageBuilder(RTM_GETROUTE, 0, rtmsg{})))) {
    auto message = MessageView::first_of(bytes);
    if (!message || message->type() != RTM_NEWROUTE || is_of_local_table(*message)) continue;
    nlmsghdr head;
    std::memcpy(&head, bytes.data(), sizeof(head));
    head.nlmsg_type = RTM_DELROUTE;
    head.nlmsg_flags = 0;
    std::memcpy(bytes.data(), &head, sizeof(head));
    auto removed = socket.ask(bytes);
    if (!removed && removed.error().code() != ESRCH) return removed;
  }
  return {};
}

// Adds objects in as many rounds as it takes: a route's gateway, for one, has to be reachable by another route. Returns
// the errors of those that the kernel refuses in the end.
std::vector<Error> add_all(netlink::Socket& socket, std::vector<Bytes> wanted) {
  std::vector<Error> refused;
  for (bool progress = true; progress && !wanted.empty();) {
    refused.clear();
    progress = false;
    std::vector<Bytes> left;
    for (Bytes& message : wanted) {
      auto added = socket.ask(message);
      if (added || added.error().code() == EEXIST) {
        progress = true;
        continue;
      }
      refused.push_back(added.error());
      left.push_back(std::move(message));
    }
    wanted = std::move(left);
  }
  return refused;
}

}  // namespace

Result<std::vector<std::string>> configure_network(const protocol::Network& network, int netns) {
  netlink::Socket machine = TRY(netlink::Socket::open());
  std::vector<Configured> configured = TRY(find_devices(machine, network));
  TRY(place(machine, configured, netns));
  InNamespace inside = TRY(InNamespace::enter(netns));
  netlink::Socket socket = TRY(netlink::Socket::open());
  TRY(raise_loopback());  // before its routes are looked at
  for (const Configured& each : configured) TRY_CONTEXT(switch_on(socket, each), each.link->name);

  const Translation translation(configured);
  std::map<uint16_t, std::vector<Bytes>> messages;
  for (const protocol::NetlinkMessage& words : network.messages) {
    Bytes bytes = TRY(translation.translate(words));
    messages[MessageView::first_of(bytes)->type()].push_back(std::move(bytes));
  }
  for (const Error& error : add_all(socket, std::move(messages[RTM_NEWADDR])))
    return std::unexpected(error.with_context("address"));
  TRY_CONTEXT(remove_routes(socket), "remove routes");
  std::vector<std::string> warnings;
  for (auto [type, what] :
       {std::pair(RTM_NEWROUTE, "route"), {RTM_NEWRULE, "routing rule"}, {RTM_NEWNEIGH, "neighbour"}}) {
    for (const Error& error : add_all(socket, std::move(messages[static_cast<uint16_t>(type)]))) {
      warnings.push_back(std::string("the guest's kernel refuses a ") + what + " of the network: " + error.message());
    }
  }
  for (const Configured& each : configured) TRY_CONTEXT(leave_to_the_guest(socket, each), each.link->name);
  return warnings;
}

}  // namespace nacre::guest
