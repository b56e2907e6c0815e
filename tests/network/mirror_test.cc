// SPDX-License-Identifier: Apache-2.0
// What the runtime reads of one network namespace and guest-init sets up in another is the same to ip(8).
#define BOOST_TEST_MODULE mirror
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <string>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/netlink/socket.h"
#include "guest-init/network/configure.h"
#include "runtime/network/links.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

std::string shell(const std::string& script) {
  FILE* program = ::popen(("set -e; " + script).c_str(), "r");
  BOOST_REQUIRE(program != nullptr);
  std::string out;
  for (int c; (c = std::fgetc(program)) != EOF;) out += static_cast<char>(c);
  BOOST_REQUIRE_MESSAGE(::pclose(program) == 0, script);
  return out;
}

// A network namespace; the process is in one of them at a time.
class Namespace {
 public:
  Namespace() {
    BOOST_REQUIRE(::unshare(CLONE_NEWNET) == 0);
    fd_ = std::move(open_file("/proc/thread-self/ns/net", O_RDONLY).value());
  }
  void enter() const { BOOST_REQUIRE(::setns(fd_.get(), CLONE_NEWNET) == 0); }
  int fd() const { return fd_.get(); }

 private:
  Fd fd_;
};

// Takes out of ip's output what is each namespace's own: numbers of links, and what a pair of links is.
void normalize(Json& value) {
  if (value.is_array()) {
    for (Json& entry : value) normalize(entry);
  } else if (value.is_object()) {
    for (const char* name :
         {"ifindex", "link", "link_index", "link_netnsid", "valid_life_time", "preferred_life_time"}) {
      value.erase(name);
    }
    for (auto& [name, entry] : value.items()) normalize(entry);
  }
}

std::map<std::string, std::string> shown() {
  // An address of IPv6 becomes valid a moment after it is made.
  shell("for i in $(seq 100); do [ -n \"$(ip -6 addr show tentative)\" ] || break; sleep 0.1; done");
  std::map<std::string, std::string> all;
  for (const char* what : {"-4 route show table all", "-6 route show table all", "-4 rule show", "-6 rule show",
                           "-4 neigh show nud permanent", "-6 neigh show nud permanent"}) {
    all[what] = shell(std::string("ip ") + what + " | grep -v 'dev peer' | sort");
  }
  Json links = Json::parse(shell("ip -j addr show"));
  normalize(links);
  auto& list = links.get_ref<Json::array_t&>();
  auto name_of = [](const Json& link) { return link.at("ifname").get<std::string>(); };
  std::erase_if(list, [&](const Json& link) { return name_of(link).starts_with("peer"); });
  std::ranges::sort(list, {}, name_of);
  all["addr show"] = links.dump(1);
  return all;
}

constexpr const char* kMacs[] = {"02:42:ac:11:00:02", "02:42:ac:12:00:09"};

// Makes the links that a caller would, whose other ends are in no namespace of the test.
void make_links(const char* first, const char* second) {
  int i = 0;
  for (const char* name : {first, second}) {
    std::string peer = "peer" + std::to_string(i);
    shell("ip link add " + std::string(name) + " address " + kMacs[i++] + " type veth peer name " + peer);
    shell("ip link set " + peer + " up; echo 1 > /proc/sys/net/ipv6/conf/" + peer + "/disable_ipv6");
  }
  shell("ip link set lo up");
}

struct Fixture {
  Fixture() {
    source.enter();
    make_links("eth0", "backend");
    shell(R"(
        ip link set eth0 up mtu 1400; ip link set backend up txqueuelen 500
        ip addr add 172.17.0.2/16 brd 172.17.255.255 dev eth0
        ip addr add 172.17.0.3/16 dev eth0
        ip addr add 10.9.0.1/32 dev eth0 label eth0:one scope link
        ip addr add 192.168.7.9/24 dev backend noprefixroute
        ip addr add 10.200.0.1/32 dev lo
        ip addr add fd00:17::2/64 dev eth0 nodad
        ip route add default via 172.17.0.1
        ip route add 10.1.0.0/16 via 172.17.0.7 dev eth0 mtu 1300 metric 20
        ip route add 169.254.1.1 dev backend scope link
        ip route add 10.2.0.0/16 via 169.254.1.1 dev backend onlink
        ip route add 10.3.0.0/16 nexthop via 172.17.0.8 dev eth0 weight 2 nexthop via 169.254.1.1 dev backend onlink
        ip route add blackhole 10.4.0.0/16
        ip route add 10.5.0.0/16 via 172.17.0.1 table 100 src 172.17.0.3
        ip rule add from 172.17.0.3 lookup 100 priority 1000
        ip rule add iif backend lookup 101
        ip -6 route add default via fd00:17::1 dev eth0
        ip -6 route add fd00:99::/64 via fe80::1 dev backend onlink metric 7
        ip neigh add 172.17.0.1 lladdr 02:42:00:00:00:01 dev eth0 nud permanent
    )");
    network = std::move(describe().value());
    expected = shown();
  }

  Result<protocol::Network> describe() {
    auto socket = TRY(netlink::Socket::open());
    auto links = TRY(runtime::list_links(socket));
    std::erase_if(links.ethernet, [](const auto& link) { return link.name.starts_with("peer"); });
    return runtime::describe_network(socket, links.ethernet);
  }

  void check() {
    auto found = shown();
    for (const auto& [what, text] : expected)
      BOOST_TEST(found[what] == text, what << "\n" << found[what] << "instead of\n" << text);
  }

  Namespace source;
  protocol::Network network;
  std::map<std::string, std::string> expected;
};

boost::test_tools::assertion_result is_root(boost::unit_test::test_unit_id) {
  return ::geteuid() == 0;
}

}  // namespace

BOOST_TEST_DECORATOR(*boost::unit_test::precondition(is_root))
BOOST_FIXTURE_TEST_SUITE(mirror, Fixture)

BOOST_AUTO_TEST_CASE(in_the_machines_own_namespace) {
  Namespace machine;
  // Each has the other's name at first.
  make_links("backend", "eth0");
  auto done = guest::configure_network(network, -1);
  BOOST_REQUIRE_MESSAGE(done, done.error().message());
  BOOST_TEST(done->empty(), (done->empty() ? "" : done->front()));
  check();
}

BOOST_AUTO_TEST_CASE(in_a_namespace_of_the_containers_own) {
  Namespace own;
  shell("ip link set lo up");
  Namespace machine;
  make_links("eth5", "eth6");
  auto done = guest::configure_network(network, own.fd());
  BOOST_REQUIRE_MESSAGE(done, done.error().message());
  BOOST_TEST(done->empty(), (done->empty() ? "" : done->front()));
  // The calling thread is where it was.
  BOOST_TEST(shell("ip -j link show eth0 2>&1 || true").find("does not exist") != std::string::npos);
  own.enter();
  for (const auto& link : network.links) {
    BOOST_TEST(shell("ip -o link show " + link.name).starts_with(std::to_string(link.index) + ": "));
  }
  check();
}

BOOST_AUTO_TEST_CASE(a_link_without_a_device_is_an_error) {
  Namespace machine;
  auto done = guest::configure_network(network, -1);
  BOOST_REQUIRE(!done);
  BOOST_TEST(done.error().message() == "the machine has no network device " + std::string(kMacs[0]));
}

BOOST_AUTO_TEST_CASE(messages_that_the_host_may_not_send_are_refused) {
  Namespace machine;
  make_links("x0", "x1");
  auto refused = [&](size_t word, uint64_t value) {
    protocol::Network changed = network;
    changed.messages.front().words.at(word) = value;
    auto done = guest::configure_network(changed, -1);
    return done ? std::string() : done.error().message();
  };
  // nlmsghdr: the length; then the type and flags.
  BOOST_TEST(refused(0, 4096) == "no netlink message");
  BOOST_TEST(refused(0, 3) == "no netlink message");
  BOOST_TEST(refused(1, RTM_SETLINK) == "a netlink message of type 19 is not the host's to send");
  BOOST_TEST(refused(1, RTM_DELADDR) == "a netlink message of type 21 is not the host's to send");
  // ifaddrmsg: the link.
  BOOST_TEST(refused(5, 4711) == "a netlink message names a link that is not there");
}

BOOST_AUTO_TEST_SUITE_END()
