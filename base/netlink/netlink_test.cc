// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE netlink
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "base/netlink/message.h"
#include "base/netlink/socket.h"

using namespace nacre;
using namespace nacre::netlink;

namespace {

ifinfomsg link_header(int index) {
  ifinfomsg head{};
  head.ifi_index = index;
  return head;
}

MessageView view_of(const MessageBuilder& message) {
  auto view = MessageView::first_of(message.bytes());
  BOOST_REQUIRE(view);
  return *view;
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_built_is_read) {
  MessageBuilder message(RTM_NEWLINK, NLM_F_CREATE, link_header(7));
  message.put(IFLA_IFNAME, "eth0")
      .put(IFLA_MTU, uint32_t{1400})
      .put(IFLA_ADDRESS, std::array<uint8_t, 6>{2, 0, 0, 0, 0, 1});
  message.nest(IFLA_AF_SPEC, [](MessageBuilder& families) {
    families.nest(AF_INET6, [](MessageBuilder& ipv6) { ipv6.put(IFLA_INET6_ADDR_GEN_MODE, uint8_t{1}); });
  });
  MessageView view = view_of(message);
  BOOST_TEST(view.bytes().size() == message.bytes().size());
  BOOST_TEST(view.bytes().size() % 4 == 0u);
  BOOST_TEST(view.type() == RTM_NEWLINK);
  BOOST_TEST(view.flags() == (NLM_F_REQUEST | NLM_F_CREATE));
  BOOST_TEST(view.header<ifinfomsg>()->ifi_index == 7);
  auto attributes = view.attributes<ifinfomsg>();
  BOOST_REQUIRE(attributes.size() == 4u);
  BOOST_TEST(find(attributes, IFLA_IFNAME)->text() == "eth0");
  BOOST_TEST(find(attributes, IFLA_MTU)->as<uint32_t>().value() == 1400u);
  BOOST_TEST(!find(attributes, IFLA_MTU)->as<uint16_t>());
  BOOST_TEST(find(attributes, IFLA_ADDRESS)->value.size() == 6u);
  BOOST_TEST(!find(attributes, IFLA_LINK));
  auto ipv6 = find(parse_attributes(find(attributes, IFLA_AF_SPEC)->value), AF_INET6);
  BOOST_TEST(find(parse_attributes(ipv6->value), IFLA_INET6_ADDR_GEN_MODE)->as<uint8_t>().value() == 1);
}

// Every length of a message, and every part of it, with each byte changed in turn: nothing is read beyond its end (the
// sanitizers watch).
BOOST_AUTO_TEST_CASE(broken_messages_are_read_as_far_as_they_go) {
  MessageBuilder message(RTM_NEWROUTE, 0, rtmsg{});
  message.put(RTA_OIF, uint32_t{3}).nest(RTA_METRICS, [](MessageBuilder& m) { m.put(RTAX_MTU, uint32_t{1400}); });
  const Bytes whole(message.bytes().begin(), message.bytes().end());
  size_t read = 0;
  for (size_t size = 0; size <= whole.size(); size++) {
    for (size_t at = 0; at < size; at++) {
      for (unsigned value : {0u, 1u, 3u, 4u, 0x7fu, 0xffu}) {
        Bytes broken(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
        broken[at] = std::byte(value);
        auto view = MessageView::first_of(broken);
        if (!view) continue;
        BOOST_TEST_REQUIRE(view->bytes().size() <= broken.size());
        for (const Attribute& attribute : view->attributes<rtmsg>()) {
          for (std::byte byte : attribute.value) read += byte != std::byte{0};
          for (const Attribute& inner : parse_attributes(attribute.value)) read += inner.value.size();
        }
      }
    }
  }
  BOOST_TEST(read > 0u);
}

BOOST_AUTO_TEST_CASE(an_attribute_with_a_length_that_does_not_fit_ends_the_list) {
  MessageBuilder message(RTM_NEWLINK, 0, link_header(1));
  message.put(IFLA_IFNAME, "lo").put(IFLA_MTU, uint32_t{1});
  Bytes bytes(message.bytes().begin(), message.bytes().end());
  bytes[sizeof(nlmsghdr) + sizeof(ifinfomsg)] = std::byte{0};  // the first attribute's length
  BOOST_TEST(MessageView::first_of(bytes)->attributes<ifinfomsg>().empty());
  bytes[sizeof(nlmsghdr) + sizeof(ifinfomsg)] = std::byte{200};
  BOOST_TEST(MessageView::first_of(bytes)->attributes<ifinfomsg>().empty());
}

struct InNewNamespace {
  InNewNamespace() { BOOST_REQUIRE(::unshare(CLONE_NEWNET) == 0); }
};

BOOST_FIXTURE_TEST_CASE(the_kernel_lists_links_and_explains_errors, InNewNamespace,
                        *boost::unit_test::precondition([](auto) { return ::geteuid() == 0; })) {
  Socket socket = std::move(Socket::open().value());
  auto links = socket.dump(MessageBuilder(RTM_GETLINK, 0, ifinfomsg{}));
  BOOST_REQUIRE(links);
  BOOST_REQUIRE(!links->empty());
  auto first = MessageView::first_of(links->front());
  BOOST_TEST(first->header<ifinfomsg>()->ifi_index == 1);
  BOOST_TEST(find(first->attributes<ifinfomsg>(), IFLA_IFNAME)->text() == "lo");

  ifinfomsg up = link_header(1);
  up.ifi_flags = up.ifi_change = IFF_UP;
  BOOST_TEST(socket.ask(MessageBuilder(RTM_NEWLINK, 0, up)).has_value());

  auto none = socket.ask(MessageBuilder(RTM_NEWLINK, 0, link_header(4711)));
  BOOST_REQUIRE(!none);
  BOOST_TEST(none.error().code() == ENODEV);
  // The kernel's own words (NETLINK_EXT_ACK).
  auto address = socket.ask(MessageBuilder(
      RTM_NEWADDR, NLM_F_CREATE,
      ifaddrmsg{.ifa_family = AF_INET, .ifa_prefixlen = 33, .ifa_flags = 0, .ifa_scope = 0, .ifa_index = 1}));
  BOOST_REQUIRE(!address);
  BOOST_TEST(address.error().message().find(": invalid argument") != std::string::npos, address.error().message());
  // An error is the answer to one request alone.
  BOOST_TEST(socket.ask(MessageBuilder(RTM_NEWLINK, 0, up)).has_value());
}
