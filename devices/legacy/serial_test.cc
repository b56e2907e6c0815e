// SPDX-License-Identifier: Apache-2.0
// The UART as Linux's 8250 driver finds and uses it, and as a careless guest does.
#define BOOST_TEST_MODULE serial
#include "devices/legacy/serial.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <string>

#include "devices/legacy/serial_fd_sink.h"
#include "devices/virtio/testing/hostile_state.h"

namespace nacre {
namespace {

struct CountingIrq final : IrqLine {
  void trigger() override { count++; }
  int count = 0;
};

struct StringSink final : SerialSink {
  size_t write(std::span<const std::byte> data) override {
    calls++;
    size_t taken = std::min(data.size(), room);
    text.append(reinterpret_cast<const char*>(data.data()), taken);
    room -= taken;
    return taken;
  }
  std::string text;
  size_t room = SIZE_MAX;
  size_t calls = 0;
};

struct Fixture {
  uint8_t in(uint64_t offset) {
    std::byte value{0xdd};
    port.read(offset, std::span(&value, 1));
    return std::to_integer<uint8_t>(value);
  }
  void out(uint64_t offset, unsigned value) {
    std::byte data{static_cast<uint8_t>(value)};
    port.write(offset, std::span<const std::byte>(&data, 1));
  }
  size_t type(std::string_view text) { return port.receive(std::as_bytes(std::span(text))); }

  CountingIrq irq;
  StringSink sink;
  Serial port{irq, sink};
};

BOOST_FIXTURE_TEST_SUITE(probing, Fixture)

// The steps of Linux's autoconfig() that tell a 16550A from its relatives.
BOOST_AUTO_TEST_CASE(linux_finds_a_16550a) {
  out(1, 0);
  BOOST_TEST((in(1) & 0x0f) == 0);
  out(1, 0xff);
  BOOST_TEST(in(1) == 0x0f);  // with bit 6 it would be an XScale UART
  out(1, 0);
  out(4, 0x10 | 0x08 | 0x02);
  BOOST_TEST((in(6) & 0xf0) == 0x90);  // loopback: RTS shows as CTS, OUT2 as DCD
  out(4, 0x10 | 0x04 | 0x01);
  BOOST_TEST((in(6) & 0xf0) == 0x60);
  out(4, 0);
  BOOST_TEST((in(6) & 0xf0) == 0xb0);
  out(3, 0xbf);
  out(2, 0);
  out(3, 0);
  out(2, 0x01);
  BOOST_TEST((in(2) >> 6) == 3);
  out(3, 0x80);
  BOOST_TEST(in(2) != 0);  // no extended feature register
  out(3, 0);
  out(2, 0x21);
  BOOST_TEST((in(2) >> 5) == 6);  // 7 would be a 16750
  for (unsigned value : {0xa5u, 0x5au}) {
    out(7, value);
    BOOST_TEST(in(7) == value);
  }
}

BOOST_AUTO_TEST_CASE(divisor_latch) {
  out(3, 0x83);
  out(0, 0x34);
  out(1, 0x12);
  BOOST_TEST(in(0) == 0x34);
  BOOST_TEST(in(1) == 0x12);
  out(3, 0x03);
  BOOST_TEST(in(1) == 0);
  BOOST_TEST(sink.text.empty());
}

// serial8250_do_startup(): without these it falls back to a timer.
BOOST_AUTO_TEST_CASE(transmitter_interrupt_is_trusted) {
  out(1, 0x02);
  BOOST_TEST(in(2) == 0x02);
  out(1, 0);
  out(1, 0x02);
  BOOST_TEST(in(2) == 0x02);
  BOOST_TEST(in(2) == 0x01);  // reading has acknowledged it
  out(1, 0);
  BOOST_TEST(in(5) == 0x60);
}

BOOST_AUTO_TEST_CASE(loopback_carries_data) {
  out(4, 0x10);
  out(0, 'x');
  BOOST_TEST((in(5) & 0x01) == 1);
  BOOST_TEST(type("typed") == 0u);  // the line in is cut off
  BOOST_TEST(in(0) == 'x');
  BOOST_TEST(sink.text.empty());
  for (size_t i = 0; i < Serial::kInputLimit + 10; i++) out(0, 'y');
  BOOST_TEST((in(5) & 0x02) == 0x02);  // overrun, told once
  BOOST_TEST((in(5) & 0x02) == 0);
}

BOOST_AUTO_TEST_CASE(accesses_that_make_no_sense) {
  std::array<std::byte, 8> data;
  for (size_t size : {2, 4, 8}) {
    data.fill(std::byte{0x41});
    port.write(0, std::span<const std::byte>(data).first(size));
    port.read(5, std::span(data).first(size));
    BOOST_TEST((data[0] == std::byte{0}));
  }
  BOOST_TEST(sink.text.empty());
  out(8, 1);
  BOOST_TEST(in(8) == 0);
  BOOST_TEST(in(UINT64_MAX) == 0);
  out(5, 0xff);
  out(6, 0xff);
  BOOST_TEST(in(5) == 0x60);
  BOOST_TEST(in(6) == 0xb0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(output, Fixture)

BOOST_AUTO_TEST_CASE(goes_out_at_once) {
  for (char c : std::string("hello\n")) out(0, static_cast<uint8_t>(c));
  BOOST_TEST(sink.text == "hello\n");
  BOOST_TEST(irq.count == 0);
}

BOOST_AUTO_TEST_CASE(each_byte_raises_the_interrupt_again) {
  out(1, 0x02);
  BOOST_TEST(irq.count == 1);
  for (int i = 2; i < 10; i++) {
    BOOST_TEST(in(2) == 0x02);
    out(0, 'a');
    BOOST_TEST(irq.count == i);
  }
}

BOOST_AUTO_TEST_CASE(slow_reader_is_back_pressure) {
  sink.room = 3;
  out(1, 0x02);
  in(2);
  int before = irq.count;
  // A driver that looks at the line status, as Linux does.
  size_t sent = 0;
  while ((in(5) & 0x20) && sent < 2 * Serial::kOutputLimit) {
    in(2);
    out(0, 'a' + sent % 26);
    sent++;
  }
  BOOST_TEST(sent == Serial::kOutputLimit + 3);
  BOOST_TEST(sink.calls == 4u);  // a sink that has said no is left alone
  before = irq.count;
  in(2);
  for (int i = 0; i < 100; i++) out(0, '!');  // one that doesn't look loses
  BOOST_TEST(in(2) == 0x01);
  BOOST_TEST(irq.count == before);
  sink.room = SIZE_MAX;
  port.output_ready();
  BOOST_TEST(irq.count == before + 1);
  BOOST_TEST(in(2) == 0x02);
  BOOST_REQUIRE(sink.text.size() == sent);
  for (size_t i = 0; i < sent; i++) BOOST_REQUIRE(sink.text[i] == static_cast<char>('a' + i % 26));
  BOOST_TEST(in(5) == 0x60);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(input, Fixture)

BOOST_AUTO_TEST_CASE(interrupt_until_read) {
  out(2, 0x01);
  out(1, 0x01);
  BOOST_TEST(type("ab") == 2u);
  BOOST_TEST(irq.count == 1);
  BOOST_TEST(in(2) == 0xc4);
  BOOST_TEST(in(5) == 0x61);
  BOOST_TEST(in(0) == 'a');
  BOOST_TEST(in(2) == 0xc4);
  BOOST_TEST(in(0) == 'b');
  BOOST_TEST(in(2) == 0xc1);
  BOOST_TEST(in(0) == 0);
  type("c");
  BOOST_TEST(irq.count == 2);
}

BOOST_AUTO_TEST_CASE(input_comes_before_output) {
  out(1, 0x03);
  type("a");
  BOOST_TEST(in(2) == 0x04);
  in(0);
  BOOST_TEST(in(2) == 0x02);
  BOOST_TEST(in(2) == 0x01);
}

BOOST_AUTO_TEST_CASE(enabled_after_the_fact) {
  type("a");
  BOOST_TEST(irq.count == 0);
  out(1, 0x01);
  BOOST_TEST(irq.count == 1);
}

BOOST_AUTO_TEST_CASE(bounded) {
  int calls = 0;
  port.set_on_input_space([&] { calls++; });
  std::string much(Serial::kInputLimit + 100, 'x');
  BOOST_TEST(type(much) == Serial::kInputLimit);
  BOOST_TEST(type("more") == 0u);
  for (size_t i = 0; i + 1 < Serial::kInputLimit; i++) in(0);
  BOOST_TEST(calls == 0);
  in(0);
  BOOST_TEST(calls == 1);
  in(0);
  BOOST_TEST(calls == 1);
  type(much);
  out(2, 0x03);  // clearing the FIFO makes room as well
  BOOST_TEST(calls == 2);
  BOOST_TEST((in(5) & 1) == 0);
  BOOST_TEST(type("ok") == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(descriptors)

// A port over a descriptor that somebody else may leave unread.
struct Wired {
  explicit Wired(int fd)
      : loop(EventLoop::create().value()), sink(SerialFdSink::create(*loop, fd).value()), port(irq, *sink) {
    ::signal(SIGPIPE, SIG_IGN);
    sink->set_on_room([this] { port.output_ready(); });
  }
  void send(size_t count) {
    for (size_t i = 0; i < count; i++) {
      std::byte data{static_cast<uint8_t>(i % 251)};
      port.write(0, std::span<const std::byte>(&data, 1));
    }
  }
  // Reads until `count` bytes have come in their order, running the loop between.
  bool arrives(int fd, size_t count) {
    std::array<uint8_t, 4096> chunk;
    for (size_t seen = 0, idle = 0; seen < count;) {
      ssize_t n = ::read(fd, chunk.data(), chunk.size());
      for (ssize_t i = 0; i < n; i++) {
        if (chunk[static_cast<size_t>(i)] != seen++ % 251) return false;
      }
      idle = n > 0 ? 0 : idle + 1;
      if (idle > 100 || !loop->run_once(10)) return false;
    }
    return true;
  }

  CountingIrq irq;
  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<SerialFdSink> sink;
  Serial port;
};

BOOST_AUTO_TEST_CASE(full_pipe) {
  Pipe pipe = make_pipe().value();
  BOOST_REQUIRE(set_nonblocking(pipe.read.get(), true).has_value());
  Wired wired(pipe.write.get());
  BOOST_TEST((::fcntl(pipe.write.get(), F_GETFL) & O_NONBLOCK) == 0);  // others share it
  wired.send(100000);                                                  // more than a pipe holds: returns all the same
  BOOST_TEST(wired.arrives(pipe.read.get(), 100000));
  wired.send(100);
}

BOOST_AUTO_TEST_CASE(full_socket) {
  auto pair = make_socketpair(SOCK_STREAM).value();
  int size = 4096;
  BOOST_REQUIRE(::setsockopt(pair.first.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
  BOOST_REQUIRE(set_nonblocking(pair.second.get(), true).has_value());
  Wired wired(pair.first.get());
  wired.send(50000);
  BOOST_TEST(wired.arrives(pair.second.get(), 50000));
}

BOOST_AUTO_TEST_CASE(reader_gone) {
  Pipe pipe = make_pipe().value();
  Wired wired(pipe.write.get());
  pipe.read.reset();
  wired.send(3 * Serial::kOutputLimit);
  std::byte status{};
  wired.port.read(5, std::span(&status, 1));
  BOOST_TEST((status == std::byte{0x60}));  // the guest goes on
}

BOOST_AUTO_TEST_CASE(file_is_appended_where_it_stands) {
  char path[] = "/tmp/nacre-serial-XXXXXX";
  Fd file(::mkstemp(path));
  ::unlink(path);
  BOOST_REQUIRE(write_all(file.get(), "before").has_value());
  Wired wired(file.get());
  wired.send(3);
  BOOST_REQUIRE(write_all(file.get(), "after").has_value());
  BOOST_TEST(::lseek(file.get(), 0, SEEK_SET) == 0);
  BOOST_TEST(*read_fd(file.get()) == std::string("before\0\1\2after", 14));
}

BOOST_AUTO_TEST_CASE(a_file_grows_to_a_mebibyte_and_no_further) {
  char path[] = "/tmp/nacre-serial-XXXXXX";
  Fd file(::mkstemp(path));
  ::unlink(path);
  Wired wired(file.get());
  auto chunk = std::vector<std::byte>(1000, std::byte{'x'});
  for (size_t sent = 0; sent < 3 << 20; sent += chunk.size()) BOOST_REQUIRE(wired.sink->write(chunk) == chunk.size());
  BOOST_TEST(::lseek(file.get(), 0, SEEK_SET) == 0);
  std::string text = read_fd(file.get()).value();
  BOOST_TEST(text.size() <= 1u << 20);
  BOOST_TEST(text.size() > 1000u << 10);
  BOOST_TEST(text.ends_with("x\n[no more of the console is kept]\n"));
}

BOOST_AUTO_TEST_CASE(sink_ends_while_it_waits) {
  Pipe pipe = make_pipe().value();
  auto loop = EventLoop::create().value();
  CountingIrq irq;
  for (bool armed : {false, true}) {
    auto sink = SerialFdSink::create(*loop, pipe.write.get()).value();
    std::array<std::byte, 512> data{};
    while (sink->write(data) == data.size()) {
    }
    if (armed) BOOST_TEST(loop->run_once(0).has_value());
    sink.reset();
    BOOST_TEST(loop->run_once(0).has_value());
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(saved_state, Fixture)

std::vector<std::byte> save(Serial& port) {
  StateWriter state;
  port.save(state);
  return state.content();
}

BOOST_AUTO_TEST_CASE(a_port_at_work_goes_on_in_a_new_one) {
  out(3, 0x83);
  out(0, 1);
  out(1, 2);
  out(3, 0x03);
  out(2, 0x01);
  out(1, 0x03);
  out(7, 0x5a);
  sink.room = 2;
  for (char c : std::string_view("output")) out(0, static_cast<uint8_t>(c));
  BOOST_REQUIRE(type("input") == 5u);
  BOOST_REQUIRE(in(0) == 'i');
  auto state = save(port);

  Fixture there;
  StateReader reader(state);
  BOOST_REQUIRE(there.port.restore(reader).has_value());
  BOOST_TEST(reader.end().has_value());
  BOOST_TEST(sink.text + there.sink.text == "output");
  BOOST_TEST(there.irq.count == 1);
  BOOST_TEST(there.in(2) == 0xc4);
  std::string text;
  while (there.in(5) & 1) text += static_cast<char>(there.in(0));
  BOOST_TEST(text == "nput");
  BOOST_TEST(there.in(1) == 0x03);
  BOOST_TEST(there.in(7) == 0x5a);
  there.out(3, 0x83);
  BOOST_TEST(there.in(0) == 1);
  BOOST_TEST(there.in(1) == 2);
}

BOOST_AUTO_TEST_CASE(truncated_and_damaged_states_are_refused_or_harmless) {
  out(1, 0x03);
  BOOST_REQUIRE(type("input") == 5u);
  auto state = save(port);
  testing::each_truncation(state, [](std::span<const std::byte> cut) {
    Fixture there;
    StateReader reader(cut);
    BOOST_TEST(!there.port.restore(reader).has_value());
    BOOST_TEST(there.in(5) == 0x60);  // as it was
  });
  testing::each_flipped_bit(state, [](std::span<const std::byte> damaged) {
    Fixture there;
    StateReader reader(damaged);
    (void)there.port.restore(reader);
    for (uint64_t i = 0; i < 8; i++) there.in(i);
    for (uint64_t i = 0; i < 8; i++) there.out(i, 0xff);
    there.out(3, 0x03);
    BOOST_TEST((there.in(1) & 0xf0) == 0);
  });
}

BOOST_AUTO_TEST_CASE(more_than_the_fifos_hold_is_refused) {
  auto forge = [](size_t output, size_t input) {
    StateWriter state;
    state.section("serial", 1, [&] {
      for (int i = 0; i < 3; i++) state.boolean(false);
      state.u16(12);
      state.u8(0);
      state.boolean(false);
      for (int i = 0; i < 3; i++) state.u8(0);
      state.bytes(std::vector<std::byte>(output));
      state.bytes(std::vector<std::byte>(input));
    });
    Fixture there;
    StateReader reader(state.content());
    return there.port.restore(reader).has_value();
  };
  BOOST_TEST(forge(Serial::kOutputLimit, Serial::kInputLimit));
  BOOST_TEST(!forge(Serial::kOutputLimit + 1, 0));
  BOOST_TEST(!forge(0, Serial::kInputLimit + 1));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre
