// SPDX-License-Identifier: Apache-2.0
// Tests a tap of the kernel, in a network namespace of the test's own.
#include "devices/virtio/net/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <cstring>

#include "devices/virtio/net/testing/net_machine.h"

namespace nacre::virtio::net::tap_test {
namespace {

using namespace nacre::testing;

boost::test_tools::assertion_result has_taps(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result has(::geteuid() == 0 && ::access("/dev/net/tun", R_OK | W_OK) == 0);
  has.message() << "taps take the host's root and /dev/net/tun";
  return has;
}

Fd attach(const char* name, int flags) {
  Fd tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  std::strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
  request.ifr_flags = static_cast<short>(flags);
  BOOST_REQUIRE(::ioctl(tun.get(), TUNSETIFF, &request) == 0);
  return tun;
}

void set_up(const char* name, bool up) {
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
  BOOST_REQUIRE(::ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0);
  request.ifr_flags = static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  BOOST_REQUIRE(::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0);
}

// Sees and sends the frames of a link, with their headers.
Fd packet_socket(const char* name) {
  Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5)));  // a type for experiments
  BOOST_REQUIRE(socket.valid());
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(0x88b5);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(name));
  BOOST_REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  return socket;
}

Bytes typed_frame(size_t size, unsigned seed) {
  Bytes frame = make_frame(size, seed);
  std::memset(frame.data(), 0xff, 6);
  std::memset(frame.data() + 6, 2, 6);
  frame[12] = std::byte{0x88};
  frame[13] = std::byte{0xb5};
  return frame;
}

void make_persistent(const Fd& tap) {
  BOOST_REQUIRE(::ioctl(tap.get(), TUNSETPERSIST, 1) == 0);
}

// Is in a network namespace of its own while it lives.
struct OwnNetwork {
  OwnNetwork() { BOOST_REQUIRE(::unshare(CLONE_NEWNET) == 0); }
  ~OwnNetwork() { ::setns(before.get(), CLONE_NEWNET); }
  Fd before = open_file("/proc/self/ns/net", O_RDONLY).value();
};

std::string error_of_open(const std::string& name) {
  auto tap = Tap::open(name);
  return tap ? "no error" : tap.error().message();
}

BOOST_AUTO_TEST_SUITE(taps, *boost::unit_test::precondition(has_taps))

BOOST_AUTO_TEST_CASE(frames_pass_a_real_tap) {
  OwnNetwork network;
  make_persistent(attach("t0", IFF_TAP | IFF_NO_PI));
  NetMachine machine;
  machine.device = NetDevice::create(*machine.loop, {.backend = Tap::open("t0").value(), .mac = kNetMac}).value();
  uint64_t offered = machine.device->features();
  BOOST_TEST((offered & kFeatureCsum && offered & kFeatureHostTso4 && offered & kFeatureGuestTso6));
  set_up("t0", true);
  Fd host = packet_socket("t0");
  machine.start();
  for (unsigned i = 0; i < 50; i++) {
    Bytes out = typed_frame(60 + 20 * i, i), in = typed_frame(1060 - 20 * i, i + 1);
    BOOST_REQUIRE(machine.tx().request({join({}, out)}, {}).has_value());
    Bytes seen(2000);
    ssize_t size = ::recv(host.get(), seen.data(), seen.size(), 0);
    BOOST_REQUIRE(size > 0);
    seen.resize(static_cast<size_t>(size));
    BOOST_TEST((seen == out));
    machine.offer({400});
    machine.offer({400});
    machine.offer({400});
    BOOST_REQUIRE(::send(host.get(), in.data(), in.size(), 0) == static_cast<ssize_t>(in.size()));
    // The kernel sends frames of its own (neighbour discovery).
    for (;;) {
      auto received = machine.take();
      BOOST_REQUIRE(received.has_value());
      if (received->frame == in) break;
      machine.offer({400});
      BOOST_TEST((received->frame[12] != std::byte{0x88}));
    }
  }
  BOOST_TEST(machine.device->transmitted().dropped == 0u);
  // A link that is down takes no frame.
  set_up("t0", false);
  BOOST_TEST(machine.tx().request({join({}, typed_frame(60, 0))}, {}).has_value());
  BOOST_TEST(machine.device->transmitted().dropped == 1u);
  BOOST_TEST(machine.driver.interrupt().config_count() == 0u);
  machine.device->reset();
}

BOOST_AUTO_TEST_CASE(a_tap_that_is_removed_is_a_link_that_is_down) {
  OwnNetwork network;
  make_persistent(attach("t0", IFF_TAP | IFF_NO_PI));
  NetMachine machine;
  machine.device = NetDevice::create(*machine.loop, {.backend = Tap::open("t0").value(), .mac = kNetMac}).value();
  machine.start();
  machine.offer({2048});
  machine.turn();
  BOOST_REQUIRE(std::system("ip link delete t0") == 0);
  for (int i = 0; i < 100 && machine.driver.interrupt().config_count() == 0; i++) {
    BOOST_REQUIRE(machine.loop->run_once(100));
  }
  BOOST_TEST(machine.driver.interrupt().config_count() == 1u);
  BOOST_TEST(machine.tx().request({join({}, typed_frame(60, 0))}, {}).has_value());
  machine.turn();
  BOOST_TEST(machine.is_asleep());
  machine.device->reset();
}

BOOST_AUTO_TEST_CASE(every_set_of_features_is_one_that_the_kernel_takes) {
  OwnNetwork network;
  make_persistent(attach("t0", IFF_TAP | IFF_NO_PI));
  auto tap = Tap::open("t0").value();
  std::vector<uint64_t> bits;
  for (uint64_t rest = tap->offloads(); rest != 0; rest &= rest - 1) bits.push_back(rest & -rest);
  for (uint64_t set = 0; set < 1ull << bits.size(); set++) {
    uint64_t features = 0;
    for (size_t i = 0; i < bits.size(); i++) features |= set >> i & 1 ? bits[i] : 0;
    BOOST_REQUIRE(tap->accept(features).has_value());
  }
}

BOOST_AUTO_TEST_CASE(taps_that_cannot_be_used) {
  OwnNetwork network;
  BOOST_TEST(error_of_open("t0") == "tap t0 does not exist");
  Fd busy = attach("t1", IFF_TAP | IFF_NO_PI);
  BOOST_TEST(error_of_open("t1") == "tap t1 is in use");
  make_persistent(attach("t2", IFF_TUN | IFF_NO_PI));
  BOOST_TEST(error_of_open("t2") == "t2 is no tap, or one of several queues");
  BOOST_TEST(error_of_open("lo") == "lo is no tap, or one of several queues");
  BOOST_TEST(!Tap::open("").has_value());
  BOOST_TEST(!Tap::open(std::string(16, 'x')).has_value());
  BOOST_TEST(::if_nametoindex("t0") == 0u);  // none was made
  // Inherited descriptors.
  BOOST_TEST(!Tap::adopt(open_file("/dev/null", O_RDWR).value()).has_value());
  BOOST_TEST(!Tap::adopt(open_file("/dev/net/tun", O_RDWR).value()).has_value());
  auto without_headers = Tap::adopt(std::move(busy));
  BOOST_TEST(!without_headers.has_value());
  BOOST_TEST(!Tap::adopt(attach("t3", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)).has_value());
  BOOST_TEST(Tap::adopt(attach("t4", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)).has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::net::tap_test
