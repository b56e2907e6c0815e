// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/server.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BOOST_TEST_MODULE vmm
#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <optional>

namespace nacre::vmm {
namespace {

struct Handler final : ControlHandler {
  Result<MachineSize> handle(CallerId, const ControlRequest& request, Fd descriptor) override {
    requests.push_back(request);
    got_descriptor = descriptor.valid();
    return MachineSize{.memory = 4, .present = 3, .max_memory = 5, .cpus = 1, .max_cpus = 2};
  }
  void caller_is_gone(CallerId) override { gone++; }

  std::vector<ControlRequest> requests;
  bool got_descriptor = false;
  int gone = 0;
};

// A server on a socket without a path, and callers of it on the same thread.
struct Fixture {
  Fixture() {
    set_log_sink([](LogLevel, std::string_view) {});
    Fd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    address.sun_family = AF_UNIX;  // an address of this length: the kernel makes one up
    BOOST_REQUIRE_EQUAL(::bind(listener.get(), as_sockaddr(), sizeof(sa_family_t)), 0);
    BOOST_REQUIRE_EQUAL(::listen(listener.get(), 128), 0);
    length = sizeof(address);
    BOOST_REQUIRE_EQUAL(::getsockname(listener.get(), as_sockaddr(), &length), 0);
    loop = EventLoop::create().value();
    server = ControlServer::create(*loop, std::move(listener), handler).value();
  }
  sockaddr* as_sockaddr() { return reinterpret_cast<sockaddr*>(&address); }

  Fd connect() {
    Fd caller(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    BOOST_REQUIRE_EQUAL(::connect(caller.get(), as_sockaddr(), length), 0);
    return caller;
  }
  // Turns the loop until the caller has an answer, or the end.
  std::string answer(const Fd& caller) {
    std::array<char, 2 * kMaxControlPacket> packet;
    for (;;) {
      ssize_t n = ::recv(caller.get(), packet.data(), packet.size(), 0);
      if (n >= 0) return std::string(packet.data(), static_cast<size_t>(n));
      if (errno == ECONNRESET) return "";
      BOOST_REQUIRE_EQUAL(errno, EAGAIN);
      BOOST_REQUIRE(loop->run_once(-1));
    }
  }
  std::string ask(const Fd& caller, std::string_view packet, std::span<const int> fds = {}) {
    BOOST_REQUIRE(send_with_fds(caller.get(), std::as_bytes(std::span(packet)), fds));
    return answer(caller);
  }

  sockaddr_un address{};
  socklen_t length = 0;
  std::unique_ptr<EventLoop> loop;
  Handler handler;
  std::unique_ptr<ControlServer> server;
};

constexpr const char* kSize = "size memory=4 present=3 max_memory=5 cpus=1 max_cpus=2";

// Takes away every descriptor that the process could still open.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    Fd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(next.get());
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

BOOST_FIXTURE_TEST_SUITE(control_server, Fixture)

BOOST_AUTO_TEST_CASE(requests_reach_the_handler_with_their_descriptor) {
  Fd caller = connect();
  BOOST_TEST(ask(caller, "resize cpus=2") == kSize);
  BOOST_REQUIRE_EQUAL(handler.requests.size(), 1u);
  BOOST_TEST((std::get<Resize>(handler.requests[0]).cpus == 2u));
  BOOST_TEST(!handler.got_descriptor);
  Fd root(::open("/", O_PATH | O_CLOEXEC));
  int number = root.get();
  BOOST_TEST(ask(caller, "share tag=t name=n", std::span(&number, 1)) == kSize);
  BOOST_TEST(handler.got_descriptor);
}

BOOST_AUTO_TEST_CASE(packets_that_make_no_sense_get_an_error_and_change_nothing) {
  Fd caller = connect();
  BOOST_TEST(ask(caller, std::string_view("resize\0memory=1", 15)) == "error unknown request");
  BOOST_TEST(ask(caller, "\xff\xfe") == "error unknown request");
  BOOST_TEST(ask(caller, std::string(kMaxControlPacket, 'x')) == "error unknown request");
  BOOST_TEST(ask(caller, "resize memory=18446744073709551616") == "error memory: not a number");
  std::array<int, 2> two = {0, 1};
  BOOST_TEST(ask(caller, "share tag=t name=n", two) == "error more than one descriptor");
  BOOST_TEST(handler.requests.empty());
  BOOST_TEST(ask(caller, "resize") == kSize);
}

BOOST_AUTO_TEST_CASE(a_packet_that_is_too_long_is_no_request) {
  Fd caller = connect();
  // Cut off, it would make sense.
  std::string packet = "share tag=t name=";
  packet.append(kMaxControlPacket, 'x');
  BOOST_TEST(ask(caller, packet) == "error a packet that is too long");
  BOOST_TEST(handler.requests.empty());
  BOOST_TEST(ask(connect(), "resize") == kSize);
}

BOOST_AUTO_TEST_CASE(the_handler_hears_of_callers_that_go) {
  Fd stays = connect();
  {
    Fd goes = connect();
    BOOST_TEST(ask(goes, "hold") == kSize);
  }
  BOOST_TEST(ask(stays, "hold") == kSize);
  while (handler.gone == 0) BOOST_REQUIRE(loop->run_once(-1));
  BOOST_TEST(handler.gone == 1);
  BOOST_TEST(ask(stays, "resize") == kSize);
}

BOOST_AUTO_TEST_CASE(a_caller_that_reads_no_answers_is_dropped_alone) {
  Fd mute = connect(), other = connect();
  while (handler.gone == 0) {
    if (::send(mute.get(), "resize", 6, MSG_NOSIGNAL) < 0 && errno != EAGAIN) break;
    BOOST_REQUIRE(loop->run_once(0));
  }
  BOOST_TEST(handler.gone == 1);
  BOOST_TEST(ask(other, "resize") == kSize);
}

BOOST_AUTO_TEST_CASE(without_descriptors_the_server_pauses_and_serves_its_caller_later) {
  int refused = 0;
  set_log_sink([&](LogLevel, std::string_view line) { refused += line.find("accept") != std::string_view::npos; });
  Fd caller = connect();
  {
    NoDescriptors none;
    BOOST_REQUIRE(loop->run_once(-1));
    BOOST_TEST(refused == 1);
    // A server that spins tries again in each turn.
    for (int turn = 0; turn < 8; turn++) BOOST_REQUIRE(loop->run_once(0));
    BOOST_TEST(refused < 8);
  }
  BOOST_TEST(ask(caller, "resize") == kSize);
  set_log_sink([](LogLevel, std::string_view) {});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::vmm
