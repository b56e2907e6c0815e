// SPDX-License-Identifier: Apache-2.0
// Tests what a malicious guest may try. Nothing may crash, hang or fill the device, or disturb other streams.
#include <boost/test/unit_test.hpp>

#include "devices/virtio/vsock/testing/vsock_guest.h"

namespace nacre::virtio::vsock::vsock_hostile_test {

namespace {

using namespace std::chrono_literals;

// A stream that must still work at the end of each test.
struct Hostile {
  size_t before = open_fds();
  std::unique_ptr<Guest> guest = std::make_unique<Guest>();
  Fd client;
  GuestStream* good = nullptr;

  Hostile() {
    client = guest->client();
    write_text(client.get(), "CONNECT 99\n");
    good = &guest->accept(99);
    read_line(client.get());
  }
  ~Hostile() {
    write_text(client.get(), "alive");
    BOOST_TEST(guest->wait([&] { return good->received == "alive"; }));
    good->write("and well");
    BOOST_TEST(read_exactly(client.get(), 8) == "and well");
    BOOST_TEST(guest->driver().interrupt().broken_count() == 0u);
    client.reset();
    guest.reset();
    BOOST_TEST(open_fds() == before);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(hostile, Hostile)

BOOST_AUTO_TEST_CASE(wrong_addresses_and_types) {
  Fd listening = guest->listen_on(80);
  Header header = guest->header(1, 80, Op::request);
  header.src_cid = 4;
  guest->send_raw(header);
  header.src_cid = kGuestCid | 1ull << 32;
  guest->send_raw(header);
  header = guest->header(1, 80, Op::request);
  header.dst_cid = 7;  // for another guest, which is refused and not ignored
  guest->send_raw(header);
  auto reset = guest->stray(Op::reset);
  BOOST_REQUIRE(reset);
  BOOST_TEST(uint64_t{reset->header.src_cid} == 7u);
  header = guest->header(1, 80, Op::request);
  header.type = 2;  // seqpacket, which we do not offer
  guest->send_raw(header);
  reset = guest->stray(Op::reset);
  BOOST_REQUIRE(reset);
  BOOST_TEST(uint16_t{reset->header.type} == 2u);
  header.op = Op::reset;
  guest->send_raw(header);  // a reset gets no answer
  BOOST_TEST(!guest->pump(50ms));
  BOOST_TEST(guest->device_streams() == 1u);
}

BOOST_AUTO_TEST_CASE(unknown_operations) {
  for (uint16_t op : {0, 8, 255, 65535}) {
    guest->send_raw(guest->header(1, 2, Op{op}));
    BOOST_TEST(guest->stray(Op::reset).has_value());
  }
  Fd listening = guest->listen_on(80);
  for (uint16_t op : {0, 1, 2, 8, 65535}) {  // on a connection, these operations end it
    GuestStream& stream = guest->connect(80);
    BOOST_TEST(guest->wait([&] { return stream.open; }));
    stream.send(Op{op});
    BOOST_TEST(guest->wait([&] { return stream.reset; }));
  }
}

BOOST_AUTO_TEST_CASE(lengths) {
  Fd listening = guest->listen_on(80);
  for (uint32_t len : {6u, 65536u, 262145u, UINT32_MAX}) {
    GuestStream& stream = guest->connect(80);
    BOOST_TEST(guest->wait([&] { return stream.open; }));
    guest->send_raw(guest->header(stream.guest_port, 80, Op::data, len), "12345");
    BOOST_TEST(guest->wait([&] { return stream.reset; }));
  }
  // If the length is shorter than what follows, the rest is ignored. So are chains shorter than a header, and chains
  // without readable bytes.
  Fd host_side;
  GuestStream& stream = guest->connect(80);
  BOOST_TEST(guest->wait([&] { return stream.open; }));
  guest->send_raw(guest->header(stream.guest_port, 80, Op::data, 2), "12345");
  guest->send_raw(guest->header(stream.guest_port, 80, Op::data, 0), "12345");
  for (int i = 0; i < 5; i++) host_side.reset(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  BOOST_TEST(read_exactly(host_side.get(), 2) == "12");
  auto& tx = guest->driver().queue(1);
  tx.send({testing::Bytes(43)}, {});
  tx.send({testing::Bytes(1)}, {100});
  tx.send({}, {100});
}

BOOST_AUTO_TEST_CASE(credit_is_enforced) {
  Fd listening = guest->listen_on(80);
  GuestStream& stream = guest->connect(80);
  BOOST_TEST(guest->wait([&] { return stream.open; }));
  Fd stalled(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::string part(4096, 'x');
  for (int i = 0; i < 1000 && !stream.reset; i++) {  // 4 MB, whatever the credit is
    guest->send_raw(guest->header(stream.guest_port, 80, Op::data, 4096), part);
    guest->pump(0ms);
  }
  BOOST_TEST(guest->wait([&] { return stream.reset; }));
}

BOOST_AUTO_TEST_CASE(lies_about_its_own_credit) {
  Fd listening = guest->listen_on(80);
  GuestStream& stream = guest->connect(80);
  BOOST_TEST(guest->wait([&] { return stream.open; }));
  Fd host(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  Header lie = guest->header(stream.guest_port, 80, Op::credit_update);
  lie.buf_alloc = UINT32_MAX;
  lie.fwd_cnt = 0x80000000;
  guest->send_raw(lie);
  write_text(host.get(), "x");
  guest->pump(50ms);
  lie.buf_alloc = 0;
  for (int i = 0; i < 200; i++) guest->send_raw(lie);
  for (int i = 0; i < 200; i++) stream.send(Op::credit_request);
  stream.send(Op::reset);
}

BOOST_AUTO_TEST_CASE(thousands_of_refused_requests) {
  for (uint32_t i = 0; i < 5000; i++) guest->send_raw(guest->header(i, 1, Op::request));
  size_t resets = 0;
  guest->wait([&] {
    for (; !guest->strays().empty(); guest->strays().pop_front()) resets++;
    return resets >= 5000;
  });
  BOOST_TEST(resets == 5000u);
}

// The guest is owed a reset for each request, but there is no receive buffer to put the resets into. The device stops
// taking packets, and continues when it can.
BOOST_AUTO_TEST_CASE(refused_requests_without_receive_buffers) {
  guest->starve();
  while (guest->pump(20ms)) {
  }
  auto& tx = guest->driver().queue(1);
  size_t sent = 0, taken = 0;
  for (auto last = Clock::now(); Clock::now() - last < 2s;) {  // until the device takes no more
    for (; sent < taken + 100; sent++) {
      tx.send({testing::bytes_of_object(guest->header(static_cast<uint32_t>(sent), 1, Op::request))}, {});
    }
    for (; tx.pop_used(); last = Clock::now()) taken++;
    guest->pump(0ms);
  }
  BOOST_TEST(taken >= Muxer::kMaxResets);
  BOOST_TEST(taken < Muxer::kMaxResets + 200);
  guest->feed();
  size_t resets = 0;
  guest->wait([&] {
    for (; !guest->strays().empty(); guest->strays().pop_front()) resets++;
    return resets >= sent;
  });
  BOOST_TEST(resets >= sent);
  while (guest->take_used(1, 10ms)) {
  }
}

BOOST_AUTO_TEST_CASE(more_connections_than_allowed) {
  Fd listening = guest->listen_on(80);
  size_t open = 0, refused = 0;
  auto start = Clock::now();
  BOOST_REQUIRE(set_nonblocking(listening.get(), true));
  auto count = [&] {
    // The host accepts and drops each connection at once. The device then waits up to two seconds for the guest to
    // acknowledge.
    while (Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC))) {
    }
    for (; !guest->strays().empty(); guest->strays().pop_front()) {
      Op op = guest->strays().front().header.op;
      open += op == Op::response ? 1 : 0;
      refused += op == Op::reset ? 1 : 0;
    }
  };
  for (uint32_t i = 0; i < 1100; i++) {
    guest->send_raw(guest->header(i, 80, Op::request));
    guest->pump(0ms);
    count();
  }
  guest->wait([&] {
    count();
    return open + refused >= 1100;
  });
  BOOST_TEST(open >= Muxer::kMaxStreams - 1);
  if (Clock::now() - start < 1500ms) BOOST_TEST(guest->device_streams() == Muxer::kMaxStreams);
  BOOST_TEST(guest->wait([&] {
    count();
    return guest->device_streams() == 1;
  }));
}

BOOST_AUTO_TEST_CASE(requests_and_resets_without_receive_buffers) {
  Fd listening = guest->listen_on(80);
  guest->starve();
  while (guest->pump(20ms)) {
  }
  for (uint32_t i = 0; i < 300; i++) {
    guest->send_raw(guest->header(7, 80, Op::request));
    Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
    guest->send_raw(guest->header(7, 80, Op::reset));
  }
  BOOST_TEST(guest->wait([&] { return guest->device_streams() == 1; }));
  guest->feed();
}

BOOST_AUTO_TEST_CASE(answers_nobody_asked_for) {
  guest->send_raw(guest->header(99, good->host_port + 1, Op::response));
  BOOST_TEST(guest->stray(Op::reset).has_value());
  guest->send_raw(guest->header(98, good->host_port, Op::data, 3), "abc");
  BOOST_TEST(guest->stray(Op::reset).has_value());
}

BOOST_AUTO_TEST_CASE(useless_receive_buffers) {
  auto& rx = guest->driver().queue(0);
  guest->starve();
  while (guest->pump(20ms)) {
  }
  write_text(client.get(), "");
  for (uint32_t size : {1u, 43u, 44u}) rx.send({}, {size});
  rx.send({testing::Bytes(100)}, {});  // the device cannot write to this buffer
  guest->feed();
}

BOOST_AUTO_TEST_CASE(random_packets) {
  uint32_t state = 12345;
  auto random = [&state](uint32_t below) {
    state = state * 1664525 + 1013904223;
    return (state >> 8) % below;
  };
  Fd listening = guest->listen_on(80);
  BOOST_REQUIRE(set_nonblocking(listening.get(), true));
  for (int i = 0; i < 20'000; i++) {
    Header header = guest->header(random(4), random(2) == 0 ? 80 : 81, Op{static_cast<uint16_t>(random(9))});
    header.len = random(8) == 0 ? random(100) : 0;
    header.flags = random(4);
    header.buf_alloc = random(3) == 0 ? 0 : random(1 << 20);
    header.fwd_cnt = random(3) == 0 ? random(UINT32_MAX) : 0;
    guest->send_raw(header, std::string(random(60), 'r'));
    if (random(20) == 0) Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)).reset();
    guest->pump(0ms);
    guest->strays().clear();
  }
  BOOST_TEST(guest->device_streams() <= 5u);
}

BOOST_AUTO_TEST_SUITE_END()

// A broken queue stops the device until its reset, and breaks nothing else.
BOOST_AUTO_TEST_CASE(broken_queue) {
  size_t before = open_fds();
  {
    Guest guest;
    Fd client = guest.client();
    write_text(client.get(), "CONNECT 5\n");
    guest.accept(5);
    read_line(client.get());
    auto& tx = guest.driver().queue(1);
    tx.set_available_index(static_cast<uint16_t>(tx.available_index() + 1000));
    tx.kick();
    BOOST_TEST(guest.driver().interrupt().wait_broken());
    BOOST_TEST(at_end(client.get()));
    guest.restart();
    Fd again = guest.client();
    write_text(again.get(), "CONNECT 6\n");
    guest.accept(6);
    BOOST_TEST(read_line(again.get()).starts_with("OK "));
  }
  BOOST_TEST(open_fds() == before);
}

}  // namespace nacre::virtio::vsock::vsock_hostile_test
