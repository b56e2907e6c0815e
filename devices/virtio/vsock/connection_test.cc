// SPDX-License-Identifier: Apache-2.0
// Tests the logic of the protocol alone: credit, states, and what the guest is told.
#include "devices/virtio/vsock/connection.h"

#include <boost/test/unit_test.hpp>
#include <string>

#include "devices/virtio/vsock/byte_ring.h"
#include "devices/virtio/vsock/listener.h"
#include "devices/virtio/vsock/testing/vsock_guest.h"

namespace nacre::virtio::vsock::connection_test {

namespace {

using Verdict = Connection::Event;
constexpr PortPair kPorts{.guest = 10, .host = 20};
constexpr uint32_t kWindow = 1000;

Header packet(Op op, uint32_t len = 0, uint32_t flags = 0) {
  Header header{};
  header.type = kTypeStream;
  header.op = op;
  header.len = len;
  header.flags = flags;
  header.buf_alloc = 500;
  return header;
}

Connection open_connection() {
  auto connection = Connection::incoming(3, kPorts, kWindow, packet(Op::request));
  BOOST_TEST((connection.next_control()->op == Op::response));
  return connection;
}

iovec piece(std::string& text) {
  return {text.data(), text.size()};
}

std::string content(const ByteRing& ring) {
  std::array<iovec, 2> pieces;
  std::string text;
  size_t count = ring.peek(pieces);
  for (size_t i = 0; i < count; i++) text.append(static_cast<char*>(pieces[i].iov_base), pieces[i].iov_len);
  return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(connection)

BOOST_AUTO_TEST_CASE(outgoing_handshake) {
  auto connection = Connection::outgoing(3, kPorts, kWindow);
  BOOST_TEST(!connection.is_known_to_guest());
  auto request = connection.next_control();
  BOOST_REQUIRE(request);
  BOOST_TEST((request->op == Op::request));
  BOOST_TEST(uint64_t{request->src_cid} == kHostCid);
  BOOST_TEST(uint64_t{request->dst_cid} == 3u);
  BOOST_TEST(uint32_t{request->src_port} == kPorts.host);
  BOOST_TEST(uint32_t{request->dst_port} == kPorts.guest);
  BOOST_TEST(uint32_t{request->buf_alloc} == kWindow);
  BOOST_TEST(!connection.has_control());
  BOOST_TEST(connection.send_credit() == 0u);
  BOOST_TEST((connection.receive(packet(Op::response)) == Verdict::established));
  BOOST_TEST(connection.send_credit() == 500u);
  BOOST_TEST((connection.receive(packet(Op::response)) == Verdict::violation));
}

BOOST_AUTO_TEST_CASE(nothing_but_an_answer_before_open) {
  for (Op op : {Op::data, Op::request, Op::shutdown, Op::credit_update, Op{99}}) {
    auto connection = Connection::outgoing(3, kPorts, kWindow);
    connection.next_control();
    BOOST_TEST((connection.receive(packet(op)) == Verdict::violation));
  }
  auto unasked = Connection::outgoing(3, kPorts, kWindow);
  BOOST_TEST((unasked.receive(packet(Op::response)) == Verdict::violation));
}

BOOST_AUTO_TEST_CASE(guest_credit_is_enforced) {
  auto connection = open_connection();
  BOOST_TEST((connection.receive(packet(Op::data, 600)) == Verdict::data));
  BOOST_TEST((connection.receive(packet(Op::data, 400)) == Verdict::data));
  auto copy = connection;
  BOOST_TEST((copy.receive(packet(Op::data, 1)) == Verdict::violation));
  BOOST_TEST((copy.receive(packet(Op::data, UINT32_MAX)) == Verdict::violation));
  connection.forwarded(499);
  BOOST_TEST(!connection.has_control());
  connection.forwarded(1);  // half of the window is free again, which is worth a packet
  auto update = connection.next_control();
  BOOST_REQUIRE(update);
  BOOST_TEST((update->op == Op::credit_update));
  BOOST_TEST(uint32_t{update->fwd_cnt} == 500u);
  BOOST_TEST(!connection.has_control());
  BOOST_TEST((connection.receive(packet(Op::data, 500)) == Verdict::data));
}

BOOST_AUTO_TEST_CASE(our_credit) {
  auto connection = open_connection();
  connection.data(500);
  BOOST_TEST(connection.send_credit() == 0u);
  connection.want_credit();
  connection.want_credit();
  BOOST_TEST((connection.next_control()->op == Op::credit_request));
  connection.want_credit();
  BOOST_TEST(!connection.has_control());
  auto update = packet(Op::credit_update);
  update.fwd_cnt = 200;
  connection.receive(update);
  BOOST_TEST(connection.send_credit() == 200u);
  update.fwd_cnt = 501;  // more than was ever sent
  connection.receive(update);
  BOOST_TEST(connection.send_credit() == 0u);
  update.fwd_cnt = 500;
  update.buf_alloc = 0;
  connection.receive(update);
  BOOST_TEST(connection.send_credit() == 0u);
}

BOOST_AUTO_TEST_CASE(counters_wrap) {
  auto connection = Connection::incoming(3, kPorts, 1u << 30, packet(Op::request));
  for (int i = 0; i < 10; i++) {
    BOOST_TEST((connection.receive(packet(Op::data, 1u << 30)) == Verdict::data));
    connection.forwarded(1u << 30);
  }
  BOOST_TEST((connection.receive(packet(Op::data, (1u << 30) + 1)) == Verdict::violation));
}

BOOST_AUTO_TEST_CASE(shutdown) {
  auto connection = open_connection();
  connection.shut_down(kShutdownSend);
  BOOST_TEST(connection.send_credit() == 0u);
  BOOST_TEST(!connection.is_shutdown_told());
  auto told = connection.next_control();
  BOOST_TEST((told->op == Op::shutdown));
  BOOST_TEST(uint32_t{told->flags} == kShutdownSend);
  connection.shut_down(kShutdownReceive);
  BOOST_TEST(uint32_t{connection.next_control()->flags} == kShutdownBoth);
  BOOST_TEST((connection.receive(packet(Op::shutdown, 0, kShutdownSend | 0xf0)) == Verdict::shutdown));
  BOOST_TEST(connection.guest_shutdown() == kShutdownSend);
  BOOST_TEST((connection.receive(packet(Op::data, 1)) == Verdict::violation));
}

BOOST_AUTO_TEST_CASE(byte_ring) {
  ByteRing ring;
  std::string expected, all = pattern(100'000);
  size_t in = 0;
  for (size_t step : {1u, 5000u, 100u, 4095u, 4096u, 20000u, 3u, 60000u}) {
    std::string part = all.substr(in, step), second = all.substr(in + part.size(), 7);
    in += part.size() + second.size();
    std::array<iovec, 2> pieces{piece(part), piece(second)};
    ring.append(pieces);
    expected += part + second;
    size_t out = std::min<size_t>(step * 2 / 3, expected.size());
    ring.consume(out);
    expected.erase(0, out);
    BOOST_TEST((content(ring) == expected));
    BOOST_TEST(ring.size() == expected.size());
  }
  ring.consume(ring.size());
  BOOST_TEST(ring.empty());
  std::array<iovec, 2> pieces;
  BOOST_TEST(ring.peek(pieces) == 0u);
}

BOOST_AUTO_TEST_CASE(connect_lines) {
  auto line = parse_connect_line("CONNECT 1024");
  BOOST_REQUIRE(line);
  BOOST_TEST(line->port == 1024u);
  BOOST_TEST(!line->direction);
  BOOST_TEST((*parse_connect_line("CONNECT 1 r")->direction == HostEnd::Direction::read));
  BOOST_TEST((*parse_connect_line("CONNECT 1 w")->direction == HostEnd::Direction::write));
  BOOST_TEST((*parse_connect_line("CONNECT 1 rw")->direction == HostEnd::Direction::both));
  BOOST_TEST(parse_connect_line("CONNECT 4294967295")->port == UINT32_MAX);
  for (const char* bad : {"", "CONNECT", "CONNECT ", "CONNECT x", "CONNECT -1", "CONNECT 4294967296", "CONNECT 1x",
                          "connect 1", "CONNECT 1 ", "CONNECT 1 q", "CONNECT 1 rw ", "CONNECT  1", " CONNECT 1"}) {
    BOOST_TEST(!parse_connect_line(bad), bad);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace nacre::virtio::vsock::connection_test
