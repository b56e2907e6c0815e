// SPDX-License-Identifier: Apache-2.0
// Tests streams between a guest and unix sockets, through the queues.
#define BOOST_TEST_MODULE vsock
#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include "devices/virtio/vsock/testing/vsock_guest.h"

namespace nacre::virtio::vsock {

namespace {

using namespace std::chrono_literals;

constexpr size_t kMuch = 64 << 20;

struct Connected {
  Fd host;
  GuestStream* stream;
};

Connected connect_client(Guest& guest, uint32_t port, uint32_t buf_alloc = 65536) {
  Fd client = guest.client();
  write_text(client.get(), "CONNECT " + std::to_string(port) + "\n");
  GuestStream& stream = guest.accept(port, buf_alloc);
  BOOST_TEST(read_line(client.get()) == "OK " + std::to_string(stream.host_port) + "\n");
  return {std::move(client), &stream};
}

Connected connect_guest(Guest& guest, uint32_t port, uint32_t buf_alloc = 65536) {
  Fd listening = guest.listen_on(port);
  GuestStream& stream = guest.connect(port, buf_alloc);
  Fd accepted(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  BOOST_TEST(guest.wait([&] { return stream.open; }));
  return {std::move(accepted), &stream};
}

// Checks that a test leaves as many descriptors open as it found.
struct NoLeak {
  size_t before = open_fds();
  ~NoLeak() { BOOST_TEST(open_fds() == before); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(vsock, NoLeak)

BOOST_AUTO_TEST_CASE(identity) {
  Guest guest;
  VsockDevice& device = guest.device();
  BOOST_TEST(device.type() == 19u);
  BOOST_TEST(device.queue_max_sizes().size() == 3u);
  uint64_t cid = 0;
  device.read_config(0, std::as_writable_bytes(std::span(&cid, 1)));
  BOOST_TEST(cid == kGuestCid);
  uint32_t part = 7;
  device.read_config(6, std::as_writable_bytes(std::span(&part, 1)));
  BOOST_TEST(part == 0u);
  part = 7;
  device.read_config(UINT64_MAX, std::as_writable_bytes(std::span(&part, 1)));
  BOOST_TEST(part == 0u);
}

BOOST_AUTO_TEST_CASE(reserved_cids_are_refused) {
  auto loop = EventLoop::create().value();
  for (uint64_t cid : {0ull, 1ull, 2ull, 0xffffffffull, 1ull << 32}) {
    BOOST_TEST(
        !VsockDevice::create(*loop, VsockOptions{.guest_cid = cid, .uds_path = "", .listener = {}, .streams = {}}));
  }
}

BOOST_AUTO_TEST_CASE(host_connects) {
  Guest guest;
  auto [client, stream] = connect_client(guest, 52);
  write_text(client.get(), "hello");
  BOOST_TEST(guest.wait([&] { return stream->received == "hello"; }));
  stream->write("world");
  BOOST_TEST(read_exactly(client.get(), 5) == "world");
  // The guest closes, and the device answers with a reset.
  stream->send(Op::shutdown, {}, kShutdownBoth);
  BOOST_TEST(guest.wait([&] { return stream->reset; }));
  BOOST_TEST(at_end(client.get()));
  BOOST_TEST(guest.device_streams() == 0u);
}

BOOST_AUTO_TEST_CASE(without_event_index) {
  Guest guest({.event_index = false});
  auto [client, stream] = connect_client(guest, 52);
  std::string data = pattern(300'000);
  std::thread writer([&] { write_text(client.get(), data); });
  BOOST_TEST(guest.wait([&] { return stream->received.size() == data.size(); }));
  writer.join();
  BOOST_TEST((stream->received == data));
  std::string got;
  std::thread reader([&] { got = read_exactly(client.get(), data.size()); });
  stream->write(data);
  reader.join();
  BOOST_TEST((got == data));
}

BOOST_AUTO_TEST_CASE(connect_line_in_odd_chunks) {
  Guest guest;
  Fd client = guest.client();
  for (const char* part : {"C", "ONNE", "CT", " 7", "7", "\nearly"}) {
    write_text(client.get(), part);
    std::this_thread::sleep_for(5ms);
  }
  GuestStream& stream = guest.accept(77);
  BOOST_TEST(read_line(client.get()).starts_with("OK "));
  // The bytes after the line belong to the stream.
  BOOST_TEST(guest.wait([&] { return stream.received == "early"; }));
}

BOOST_AUTO_TEST_CASE(bad_connect_lines) {
  Guest guest;
  for (const char* line : {"HELLO\n", "CONNECT x\n", "CONNECT 1 r\n", "\n\n\n\n\n\n\n\n\n\n\n\n",
                           "CONNECT 1111111111111111111111111111111111111111111111111111\n"}) {
    Fd client = guest.client();
    write_text(client.get(), line);
    BOOST_TEST(at_end(client.get()), line);
  }
  BOOST_TEST(guest.device_streams() == 0u);
}

BOOST_AUTO_TEST_CASE(guest_refuses) {
  Guest guest;
  Fd client = guest.client();
  write_text(client.get(), "CONNECT 9\n");
  auto request = guest.stray(Op::request);
  BOOST_REQUIRE(request);
  guest.send_raw(guest.header(9, request->header.src_port, Op::reset));
  BOOST_TEST(at_end(client.get()));
  BOOST_TEST(guest.device_streams() == 0u);
}

BOOST_AUTO_TEST_CASE(guest_does_not_answer) {
  Guest guest({.connect_timeout = 100ms});
  Fd client = guest.client();
  write_text(client.get(), "CONNECT 9\n");
  BOOST_REQUIRE(guest.stray(Op::request));
  BOOST_TEST(guest.stray(Op::reset).has_value());
  BOOST_TEST(at_end(client.get()));
}

BOOST_AUTO_TEST_CASE(guest_connects) {
  Guest guest;
  auto [host, stream] = connect_guest(guest, 80);
  stream->write("ping");
  BOOST_TEST(read_exactly(host.get(), 4) == "ping");
  write_text(host.get(), "pong");
  BOOST_TEST(guest.wait([&] { return stream->received == "pong"; }));
  host.reset();
  BOOST_TEST(guest.wait([&] { return stream->shutdown == kShutdownBoth; }));
  stream->send(Op::reset);
  BOOST_TEST(guest.wait([&] { return guest.device_streams() == 0; }));
}

BOOST_AUTO_TEST_CASE(nobody_listens) {
  Guest guest;
  GuestStream& stream = guest.connect(81);
  BOOST_TEST(guest.wait([&] { return stream.reset; }));
  Guest without({.uds = false});
  GuestStream& other = without.connect(81);
  BOOST_TEST(without.wait([&] { return other.reset; }));
}

BOOST_AUTO_TEST_CASE(same_ports_again) {
  Guest guest;
  Fd listening = guest.listen_on(80);
  for (int i = 0; i < 5; i++) {
    guest.send_raw(guest.header(4000, 80, Op::request));
    BOOST_TEST(guest.stray(Op::response).has_value());
    Fd host(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    Header bye = guest.header(4000, 80, Op::shutdown);
    bye.flags = kShutdownBoth;
    guest.send_raw(bye);
    BOOST_TEST(guest.stray(Op::reset).has_value());
    BOOST_TEST(at_end(host.get()));
  }
}

// The host has closed both ways and only waits for the guest's acknowledgement when the guest uses the ports anew.
BOOST_AUTO_TEST_CASE(ports_reused_while_lingering) {
  Guest guest;
  Fd listening = guest.listen_on(80);
  guest.send_raw(guest.header(4000, 80, Op::request));
  BOOST_TEST(guest.stray(Op::response).has_value());
  Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
  BOOST_TEST(guest.stray(Op::shutdown).has_value());
  guest.send_raw(guest.header(4000, 80, Op::request));
  BOOST_TEST(guest.stray(Op::response).has_value());
  BOOST_TEST(guest.device_streams() == 1u);
}

BOOST_AUTO_TEST_CASE(unacknowledged_close_is_reset) {
  Guest guest({.linger_timeout = 100ms});
  auto [host, stream] = connect_guest(guest, 80);
  host.reset();
  BOOST_TEST(guest.wait([&] { return stream->shutdown == kShutdownBoth; }));
  BOOST_TEST(guest.wait([&] { return stream->reset; }));
  BOOST_TEST(guest.device_streams() == 0u);
}

BOOST_AUTO_TEST_CASE(inherited_stream) {
  auto [ours, theirs] = make_socketpair(SOCK_STREAM).value();
  std::vector<InheritedStream> streams;
  streams.push_back({1024, std::move(theirs)});
  Guest guest({.uds = false, .streams = std::move(streams)});
  write_text(ours.get(), "before");
  GuestStream& stream = guest.connect(1024);
  BOOST_TEST(guest.wait([&] { return stream.received == "before"; }));
  stream.write("answer");
  BOOST_TEST(read_exactly(ours.get(), 6) == "answer");
  // Only the first connection to the port gets the inherited socket.
  GuestStream& second = guest.connect(1024);
  BOOST_TEST(guest.wait([&] { return second.reset; }));
  stream.send(Op::shutdown, {}, kShutdownBoth);
  BOOST_TEST(at_end(ours.get()));
  GuestStream& third = guest.connect(1024);
  BOOST_TEST(guest.wait([&] { return third.reset; }));
}

BOOST_AUTO_TEST_CASE(much_to_the_guest_through_a_small_window) {
  Guest guest;
  auto [host, stream] = connect_guest(guest, 80, 10'000);
  std::string data = pattern(kMuch);
  stream->received.reserve(kMuch);
  std::thread writer([&, fd = host.get()] {
    write_text(fd, data);
    ::shutdown(fd, SHUT_WR);
  });
  BOOST_TEST(guest.wait([&] { return (stream->shutdown & kShutdownSend) != 0; }, 100s));
  writer.join();
  BOOST_TEST((stream->received == data));
}

BOOST_AUTO_TEST_CASE(much_from_the_guest_to_a_slow_reader) {
  Guest guest;
  auto [host, stream] = connect_guest(guest, 80);
  std::string data = pattern(kMuch);
  std::string got;
  std::thread reader([&, fd = host.get()] { got = read_to_end(fd); });
  stream->write(data);
  stream->send(Op::shutdown, {}, kShutdownSend);
  reader.join();
  BOOST_TEST((got == data));
}

BOOST_AUTO_TEST_CASE(guest_half_closes) {
  Guest guest;
  auto [client, stream] = connect_client(guest, 5);
  stream->write("last words");
  stream->send(Op::shutdown, {}, kShutdownSend);
  BOOST_TEST(read_to_end(client.get()) == "last words");
  write_text(client.get(), "still listening?");
  BOOST_TEST(guest.wait([&] { return stream->received == "still listening?"; }));
  client.reset();
  BOOST_TEST(guest.wait([&] { return stream->reset; }));
  BOOST_TEST((stream->shutdown & kShutdownSend) != 0u);  // the guest was told before the reset
}

BOOST_AUTO_TEST_CASE(host_half_closes) {
  Guest guest;
  auto [client, stream] = connect_client(guest, 5);
  write_text(client.get(), "question");
  ::shutdown(client.get(), SHUT_WR);
  BOOST_TEST(guest.wait([&] { return stream->shutdown != 0; }));
  BOOST_TEST(stream->shutdown == kShutdownSend);
  BOOST_TEST(stream->received == "question");
  stream->write("answer");
  stream->send(Op::shutdown, {}, kShutdownSend);
  BOOST_TEST(read_to_end(client.get()) == "answer");
  BOOST_TEST(guest.wait([&] { return stream->reset; }));
}

BOOST_AUTO_TEST_CASE(guest_receives_no_more) {
  Guest guest;
  auto [client, stream] = connect_client(guest, 5);
  stream->send(Op::shutdown, {}, kShutdownReceive);
  stream->write("but it sends");
  BOOST_TEST(read_exactly(client.get(), 12) == "but it sends");
  write_text(client.get(), "x");
  stream->send(Op::shutdown, {}, kShutdownSend);
  BOOST_TEST(guest.wait([&] { return stream->reset; }));
  BOOST_TEST(stream->received.empty());
}

// The device has taken the guest's bytes, so they reach the host although the guest has gone.
BOOST_AUTO_TEST_CASE(pending_data_outlives_the_guest) {
  for (bool by_reset : {false, true}) {
    Guest guest;
    auto [client, stream] = connect_client(guest, 5);
    std::string sent;
    while (stream->credit() > 0 && sent.size() < 400'000) {
      std::string part = pattern(std::min<size_t>(stream->credit(), 4096), static_cast<uint32_t>(sent.size()));
      stream->write(part);
      sent += part;
      while (guest.pump(1ms)) {
      }
    }
    BOOST_TEST(sent.size() >= Muxer::kBufferLarge);
    if (by_reset) {
      stream->send(Op::reset);
    } else {
      stream->send(Op::shutdown, {}, kShutdownBoth);
      BOOST_TEST(guest.wait([&] { return stream->reset; }));
    }
    BOOST_TEST((read_to_end(client.get()) == sent));
    BOOST_TEST(guest.wait([&] { return guest.device_streams() == 0; }));
  }
}

BOOST_AUTO_TEST_CASE(a_stalled_host_reader_stalls_nobody_else) {
  Guest guest;
  auto [stalled_host, stalled] = connect_client(guest, 5);
  auto [host, stream] = connect_client(guest, 6);
  while (stalled->credit() > 0) {
    stalled->write(std::string(std::min<size_t>(stalled->credit(), 4096), 'x'));
    while (guest.pump(1ms)) {
    }
  }
  std::string data = pattern(1 << 20);
  std::string got;
  std::thread reader([&, fd = host.get()] { got = read_exactly(fd, data.size()); });
  stream->write(data);
  reader.join();
  BOOST_TEST((got == data));
}

BOOST_AUTO_TEST_CASE(a_stalled_guest_reader_stalls_nobody_else) {
  Guest guest;
  auto [stalled_host, stalled] = connect_client(guest, 5);
  auto [host, stream] = connect_client(guest, 6);
  stalled->hold = true;
  std::string held = pattern(200'000, 9);
  std::thread stalled_writer([&, fd = stalled_host.get()] { write_text(fd, held); });
  BOOST_TEST(guest.wait([&] { return stalled->received_total == stalled->buf_alloc; }));
  std::string data = pattern(1 << 20);
  std::thread writer([&, fd = host.get()] { write_text(fd, data); });
  BOOST_TEST(guest.wait([&] { return stream->received.size() == data.size(); }));
  writer.join();
  BOOST_TEST((stream->received == data));
  stalled->release();
  BOOST_TEST(guest.wait([&] { return stalled->received.size() == held.size(); }));
  stalled_writer.join();
  BOOST_TEST((stalled->received == held));
}

BOOST_AUTO_TEST_CASE(no_receive_buffers_for_a_while) {
  Guest guest;
  auto [client, stream] = connect_client(guest, 5);
  guest.starve();
  std::string data = pattern(500'000);
  std::thread writer([&, fd = client.get()] { write_text(fd, data); });
  while (guest.pump(50ms)) {
  }
  stream->write("upstream goes on");
  BOOST_TEST(read_exactly(client.get(), 16) == "upstream goes on");
  guest.feed();
  BOOST_TEST(guest.wait([&] { return stream->received.size() == data.size(); }));
  writer.join();
  BOOST_TEST((stream->received == data));
}

BOOST_AUTO_TEST_CASE(reset_during_traffic) {
  Guest guest;
  for (int i = 0; i < 3; i++) {
    auto [client, stream] = connect_client(guest, 5);
    auto [other, second] = connect_client(guest, 6);
    std::thread writer([fd = client.get()] {
      std::string data(100'000, 'x');
      while (write_all(fd, data)) {
      }
    });
    second->write("taken");
    BOOST_TEST(guest.wait([&] { return stream->received.size() > 100'000; }));
    guest.restart();
    writer.join();
    BOOST_TEST(read_to_end(other.get()) == "taken");
  }
  auto [client, stream] = connect_client(guest, 5);
  write_text(client.get(), "again");
  BOOST_TEST(guest.wait([&] { return stream->received == "again"; }));
}

BOOST_AUTO_TEST_CASE(transport_reset_is_told) {
  Guest guest;
  auto [client, stream] = connect_client(guest, 5);
  guest.driver().queue(2).send({}, {4});
  guest.loop().post_and_wait([&] { guest.device().transport_reset(); });
  auto used = guest.driver().queue(2).wait_used();
  BOOST_REQUIRE(used);
  BOOST_TEST((used->written == testing::Bytes(4, std::byte{0})));
  BOOST_TEST(at_end(client.get()));
  // If no buffer is at hand, the driver is told as soon as there is one.
  guest.loop().post_and_wait([&] { guest.device().transport_reset(); });
  guest.driver().queue(2).send({}, {4});
  BOOST_TEST(guest.driver().queue(2).wait_used().has_value());
}

BOOST_AUTO_TEST_CASE(clients_wait_for_the_driver) {
  Guest guest;
  guest.device().reset();
  Fd client = guest.client();
  write_text(client.get(), "CONNECT 5\n");
  guest.loop().post_and_wait([] {});
  std::this_thread::sleep_for(50ms);
  guest.driver().restart();
  guest.driver().activate(guest.device());
  auto& rx = guest.driver().queue(0);
  rx.send({}, {4096});
  auto used = rx.wait_used();
  BOOST_REQUIRE(used);
  BOOST_TEST(used->written.size() == kHeaderSize);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace nacre::virtio::vsock
