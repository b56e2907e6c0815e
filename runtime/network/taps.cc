// SPDX-License-Identifier: Apache-2.0
#include "runtime/network/taps.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "base/log.h"

namespace nacre::runtime {

namespace {

using netlink::MessageBuilder;

// The last one: filters of others, which may count, mark or refuse packets, come before it.
constexpr uint32_t kPreference = 0xffff;

struct Tap {
  Fd fd;
  int index = 0;
  std::string name;
};

Result<Tap> make_tap() {
  Tap tap;
  tap.fd = TRY(open_file("/dev/net/tun", O_RDWR | O_NONBLOCK));
  ifreq request{};
  std::strcpy(request.ifr_name, "nacre%d");
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.fd.get(), TUNSETIFF, &request) < 0) return fail_errno("make a tap");
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket || ::ioctl(socket.get(), SIOCGIFINDEX, &request) < 0) return fail_errno("find the tap");
  tap.index = request.ifr_ifindex;
  tap.name = request.ifr_name;
  return tap;
}

// Keeps IPv6 off the tap. A host without IPv6 has no such file.
void keep_ipv6_off(const std::string& tap) {
  auto file = open_file("/proc/sys/net/ipv6/conf/" + tap + "/disable_ipv6", O_WRONLY);
  if (!file) return;
  if (auto done = write_all(file->get(), "1"); !done) log_debug(tap + " has IPv6: " + done.error().message());
}

// Switches the tap on. The namespace itself must not say or answer anything there.
Result<void> set_up_tap(netlink::Socket& socket, const Tap& tap, const Link& link, const std::string& owner) {
  keep_ipv6_off(tap.name);
  ifinfomsg head{};
  head.ifi_index = tap.index;
  head.ifi_flags = IFF_NOARP | IFF_UP;
  head.ifi_change = IFF_NOARP | IFF_UP;
  MessageBuilder message(RTM_NEWLINK, 0, head);
  message.put(IFLA_MTU, link.mtu).put(IFLA_IFALIAS, std::string(kTapAlias) + owner);
  TRY(socket.ask(message));
  // No queue: the host's default one may drop or hold what the link's own has let through.
  tcmsg qdisc{};
  qdisc.tcm_ifindex = tap.index;
  qdisc.tcm_parent = TC_H_ROOT;
  return socket.ask(MessageBuilder(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, qdisc).put(TCA_KIND, "noqueue"));
}

tcmsg filter_of(int link) {
  tcmsg filter{};
  filter.tcm_ifindex = link;
  filter.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  filter.tcm_info = TC_H_MAKE(kPreference << 16, htons(ETH_P_ALL));
  return filter;
}

// Redirects what comes in at the link `from` out of the link `to`.
Result<void> redirect(netlink::Socket& socket, int from, int to) {
  tcmsg qdisc{};
  qdisc.tcm_ifindex = from;
  qdisc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  qdisc.tcm_parent = TC_H_CLSACT;
  auto made = socket.ask(MessageBuilder(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, qdisc).put(TCA_KIND, "clsact"));
  if (!made && made.error().code() != EEXIST) return made;  // somebody else's serves, too
  tc_mirred mirred{};
  mirred.action = TC_ACT_STOLEN;
  mirred.eaction = TCA_EGRESS_REDIR;
  mirred.ifindex = static_cast<uint32_t>(to);
  // The action within the filter: one by itself would take rights over the host's own network.
  auto action = [&](MessageBuilder& message) {
    message.put(TCA_ACT_KIND, "mirred");
    message.nest(TCA_ACT_OPTIONS, [&](MessageBuilder& options) { options.put(TCA_MIRRED_PARMS, mirred); });
  };
  MessageBuilder filter(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, filter_of(from));
  filter.put(TCA_KIND, "matchall");
  filter.nest(TCA_OPTIONS, [&](MessageBuilder& options) {
    options.nest(TCA_MATCHALL_ACT, [&](MessageBuilder& actions) { actions.nest(1, action); });
  });
  auto added = socket.ask(filter);
  if (added || added.error().code() != EEXIST) return added;
  // That of a container which had the namespace before: its tap is gone.
  TRY(part_from_tap(socket, from));
  return socket.ask(filter);
}

}  // namespace

Result<Fd> join_to_tap(netlink::Socket& socket, const Link& link, const std::string& owner) {
  Tap tap = TRY(make_tap());
  TRY_CONTEXT(set_up_tap(socket, tap, link, owner), "set up the tap of " + link.name);
  TRY_CONTEXT(redirect(socket, tap.index, link.index), "redirect the guest's frames to " + link.name);
  TRY_CONTEXT(redirect(socket, link.index, tap.index), "redirect the frames of " + link.name + " to the guest");
  return std::move(tap.fd);
}

Result<void> part_from_tap(netlink::Socket& socket, int link) {
  return socket.ask(MessageBuilder(RTM_DELTFILTER, 0, filter_of(link)));
}

}  // namespace nacre::runtime
