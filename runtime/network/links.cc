// SPDX-License-Identifier: Apache-2.0
#include "runtime/network/links.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

namespace nacre::runtime {

namespace {

using netlink::Attribute;
using netlink::Bytes;
using netlink::MessageBuilder;
using netlink::MessageView;

constexpr uint32_t kLoopbackIndex = 1;  // in every network namespace

// Returns one number of IFLA_AF_SPEC's list of IPv6 settings (DEVCONF_* of <linux/ipv6.h>); 0 if the host has no IPv6.
int32_t ipv6_setting(const std::vector<Attribute>& link, size_t which) {
  auto families = netlink::find(link, IFLA_AF_SPEC);
  if (!families) return 0;
  auto ipv6 = netlink::find(netlink::parse_attributes(families->value), AF_INET6);
  if (!ipv6) return 0;
  auto settings = netlink::find(netlink::parse_attributes(ipv6->value), IFLA_INET6_CONF);
  if (!settings || settings->value.size() < (which + 1) * sizeof(int32_t)) return 0;
  int32_t value;
  std::memcpy(&value, settings->value.data() + which * sizeof(value), sizeof(value));
  return value;
}

// The indexes of links that the guest has, too.
class Known {
 public:
  explicit Known(const std::vector<Link>& links) {
    for (const Link& link : links) indexes_.push_back(static_cast<uint32_t>(link.index));
  }
  bool has(uint32_t index) const { return index == kLoopbackIndex || std::ranges::count(indexes_, index) != 0; }
  bool has(const std::optional<Attribute>& index) const {
    auto number = index ? index->as<uint32_t>() : std::nullopt;
    return number && has(*number);
  }

 private:
  std::vector<uint32_t> indexes_;
};

bool wants_address(const MessageView& message, const Known& known) {
  auto head = message.header<ifaddrmsg>();
  if (!head || !known.has(head->ifa_index)) return false;
  if (head->ifa_family == AF_INET) return true;
  auto flags = netlink::find(message.attributes<ifaddrmsg>(), IFA_FLAGS);
  // The kernel makes temporary addresses of IPv6 (RFC 8981) by itself.
  return !(flags && flags->as<uint32_t>().value_or(0) & IFA_F_TEMPORARY);
}

bool knows_next_hops(const Attribute& multipath, const Known& known) {
  auto rest = multipath.value;
  while (rest.size() >= sizeof(rtnexthop)) {
    rtnexthop hop;
    std::memcpy(&hop, rest.data(), sizeof(hop));
    if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > rest.size()) return false;
    if (!known.has(static_cast<uint32_t>(hop.rtnh_ifindex))) return false;
    rest = rest.subspan(std::min<size_t>(RTNH_ALIGN(hop.rtnh_len), rest.size()));
  }
  return true;
}

// The guest's kernel makes the routes of the local table (broadcast, multicast, own addresses) from addresses.
bool wants_route(const MessageView& message, const Known& known) {
  auto head = message.header<rtmsg>();
  if (!head || (head->rtm_family != AF_INET && head->rtm_family != AF_INET6)) return false;
  if (head->rtm_flags & RTM_F_CLONED || head->rtm_table == RT_TABLE_LOCAL) return false;
  auto attributes = message.attributes<rtmsg>();
  switch (head->rtm_type) {
    case RTN_BLACKHOLE:
    case RTN_UNREACHABLE:
    case RTN_PROHIBIT:
    case RTN_THROW:
      return true;
    case RTN_UNICAST:
      if (auto multipath = netlink::find(attributes, RTA_MULTIPATH)) return knows_next_hops(*multipath, known);
      return known.has(netlink::find(attributes, RTA_OIF));
    default:
      return false;
  }
}

bool wants_neighbour(const MessageView& message, const Known& known) {
  auto head = message.header<ndmsg>();
  return head && known.has(static_cast<uint32_t>(head->ndm_ifindex)) && (head->ndm_state & NUD_PERMANENT) &&
         (head->ndm_family == AF_INET || head->ndm_family == AF_INET6);
}

// The rule that comes first, without a priority, is the kernel's own: look in the local table.
bool wants_rule(const MessageView& message) {
  auto head = message.header<fib_rule_hdr>();
  return head && netlink::find(message.attributes<fib_rule_hdr>(), FRA_PRIORITY) &&
         (head->family == AF_INET || head->family == AF_INET6);
}

void add(const Bytes& message, protocol::Network& network) {
  protocol::NetlinkMessage words;
  for (size_t at = 0; at + sizeof(uint32_t) <= message.size(); at += sizeof(uint32_t)) {
    uint32_t word;
    std::memcpy(&word, message.data() + at, sizeof(word));
    words.words.push_back(word);
  }
  network.messages.push_back(std::move(words));
}

// Asks for a list and adds those of its messages that the guest is to have.
template <typename Header, typename Wants>
Result<void> add_list(netlink::Socket& socket, uint16_t type, protocol::Network& network, Wants wants) {
  for (const Bytes& bytes : TRY(socket.dump(MessageBuilder(type, 0, Header{})))) {
    auto message = MessageView::first_of(bytes);
    if (message && wants(*message)) add(bytes, network);
  }
  return {};
}

}  // namespace

Result<Links> list_links(netlink::Socket& socket) {
  Links links;
  for (const Bytes& bytes : TRY_CONTEXT(socket.dump(MessageBuilder(RTM_GETLINK, 0, ifinfomsg{})), "list links")) {
    auto message = MessageView::first_of(bytes);
    auto head = message ? message->header<ifinfomsg>() : std::nullopt;
    if (!head || message->type() != RTM_NEWLINK) continue;
    auto attributes = message->attributes<ifinfomsg>();
    auto alias = netlink::find(attributes, IFLA_IFALIAS);
    if (alias && alias->text().starts_with(kTapAlias)) {
      links.owner = alias->text().substr(kTapAlias.size());
      continue;
    }
    auto name = netlink::find(attributes, IFLA_IFNAME);
    auto mac = netlink::find(attributes, IFLA_ADDRESS);
    auto mtu = netlink::find(attributes, IFLA_MTU), length = netlink::find(attributes, IFLA_TXQLEN);
    if (head->ifi_type != ARPHRD_ETHER || !(head->ifi_flags & IFF_UP) || !name || !mac || !mtu) continue;
    if (mac->value.size() != ETH_ALEN) continue;
    Link link;
    link.index = head->ifi_index;
    link.name = name->text();
    link.mac = netlink::mac_text(mac->value);
    link.mtu = mtu->as<uint32_t>().value_or(0);
    if (length) link.tx_queue_length = length->as<uint32_t>().value_or(0);
    link.is_ipv6_disabled = ipv6_setting(attributes, DEVCONF_DISABLE_IPV6) != 0;
    links.ethernet.push_back(std::move(link));
  }
  std::ranges::sort(links.ethernet, {}, &Link::index);
  return links;
}

Result<protocol::Network> describe_network(netlink::Socket& socket, const std::vector<Link>& links) {
  protocol::Network network;
  for (const Link& link : links) {
    network.links.push_back({.index = static_cast<uint32_t>(link.index),
                             .name = link.name,
                             .mac = link.mac,
                             .mtu = link.mtu,
                             .tx_queue_length = link.tx_queue_length,
                             .ipv6 = !link.is_ipv6_disabled});
  }
  const Known known(links);
  TRY_CONTEXT(add_list<ifaddrmsg>(socket, RTM_GETADDR, network, [&](auto& m) { return wants_address(m, known); }),
              "list addresses");
  TRY_CONTEXT(add_list<rtmsg>(socket, RTM_GETROUTE, network, [&](auto& m) { return wants_route(m, known); }),
              "list routes");
  TRY_CONTEXT(add_list<fib_rule_hdr>(socket, RTM_GETRULE, network, [](auto& m) { return wants_rule(m); }),
              "list rules");
  TRY_CONTEXT(add_list<ndmsg>(socket, RTM_GETNEIGH, network, [&](auto& m) { return wants_neighbour(m, known); }),
              "list neighbours");
  return network;
}

}  // namespace nacre::runtime
