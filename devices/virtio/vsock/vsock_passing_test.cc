// SPDX-License-Identifier: Apache-2.0
// Tests streams joined to descriptors that clients pass in, and their status channel.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "devices/virtio/vsock/testing/vsock_guest.h"

namespace nacre::virtio::vsock::vsock_passing_test {

namespace {

using namespace std::chrono_literals;

struct Passed {
  Fd status;
  GuestStream* stream;
};

Passed pass(Guest& guest, std::string_view word, Fd fd, uint32_t port = 5) {
  Fd client = guest.client();
  send_fd(client.get(), "CONNECT " + std::to_string(port) + std::string(word) + "\n", fd.get());
  fd.reset();
  GuestStream& stream = guest.accept(port);
  BOOST_TEST(read_line(client.get()).starts_with("OK "));
  return {std::move(client), &stream};
}

Fd temporary_file(std::string_view content = {}) {
  char path[] = "/tmp/vsock-file-XXXXXX";
  Fd file(::mkostemp(path, O_CLOEXEC));
  ::unlink(path);
  write_text(file.get(), content);
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

struct NoLeak {
  size_t before = open_fds();
  ~NoLeak() { BOOST_TEST(open_fds() == before); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(passing, NoLeak)

BOOST_AUTO_TEST_CASE(pipe_to_the_guest) {
  for (const char* word : {"", " r"}) {
    Guest guest;
    auto [read, write] = make_pipe().value();
    auto [status, stream] = pass(guest, word, std::move(read));
    std::string data = pattern(1 << 20);
    std::thread writer([&] {
      write_text(write.get(), data);
      write.reset();
    });
    BOOST_TEST(guest.wait([&] { return (stream->shutdown & kShutdownSend) != 0; }));
    writer.join();
    BOOST_TEST((stream->received == data));
    BOOST_TEST(at_end(status.get()));
  }
}

BOOST_AUTO_TEST_CASE(pipe_from_the_guest) {
  for (const char* word : {"", " w"}) {
    Guest guest;
    auto [read, write] = make_pipe().value();
    auto [status, stream] = pass(guest, word, std::move(write));
    std::string data = pattern(1 << 20);
    std::string got;
    std::thread reader([&] { got = read_to_end(read.get()); });
    stream->write(data);
    stream->send(Op::shutdown, {}, kShutdownSend);
    reader.join();
    BOOST_TEST((got == data));
    BOOST_TEST(at_end(status.get()));
    BOOST_TEST(guest.wait([&] { return stream->reset; }));
  }
}

// On some kernels, named pipes do not support RWF_NOWAIT. They then need the other way of not blocking.
BOOST_AUTO_TEST_CASE(fifo_both_ways) {
  Guest guest;
  std::string path = guest.uds() + ".fifo";
  BOOST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  Fd keep = open_file(path, O_RDWR).value();
  auto [status, stream] = pass(guest, "", open_file(path, O_WRONLY).value());
  std::string data = pattern(300'000);
  std::string got;
  std::thread reader([&] { got = read_exactly(keep.get(), data.size()); });
  stream->write(data);
  reader.join();
  BOOST_TEST((got == data));
  auto [second_status, second] = pass(guest, "", open_file(path, O_RDONLY).value(), 6);
  std::thread writer([&] { write_text(keep.get(), data); });
  BOOST_TEST(guest.wait([&, s = second] { return s->received.size() == data.size(); }));
  writer.join();
  BOOST_TEST((second->received == data));
}

BOOST_AUTO_TEST_CASE(flags_of_passed_descriptors_stay) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, "", read.dup().value());
  write_text(write.get(), "x");
  BOOST_TEST(guest.wait([&, s = stream] { return s->received == "x"; }));
  BOOST_TEST((::fcntl(read.get(), F_GETFL) & O_NONBLOCK) == 0);
}

BOOST_AUTO_TEST_CASE(files) {
  Guest guest;
  std::string data = pattern(700'000);
  Fd input = temporary_file(data);
  auto [status, stream] = pass(guest, " r", std::move(input));
  BOOST_TEST(guest.wait([&, s = stream] { return (s->shutdown & kShutdownSend) != 0; }));
  BOOST_TEST((stream->received == data));

  Fd output = temporary_file("0123456789");
  ::lseek(output.get(), 10, SEEK_SET);  // the offset is shared, as after a shell's `>>`
  auto [out_status, out] = pass(guest, " w", output.dup().value(), 6);
  out->write(data);
  guest.settle_sent();
  write_text(out_status.get(), "FLUSH " + std::to_string(data.size()) + "\n");
  BOOST_TEST(read_line(out_status.get()) == "OK " + std::to_string(data.size()) + "\n");
  ::lseek(output.get(), 10, SEEK_SET);
  BOOST_TEST((read_exactly(output.get(), data.size()) == data));
}

BOOST_AUTO_TEST_CASE(dev_null) {
  Guest guest;
  auto [in_status, in] = pass(guest, "", open_file("/dev/null", O_RDONLY).value());
  BOOST_TEST(guest.wait([&, s = in] { return (s->shutdown & kShutdownSend) != 0; }));
  BOOST_TEST(at_end(in_status.get()));
  auto [out_status, out] = pass(guest, "", open_file("/dev/null", O_WRONLY).value(), 6);
  out->write(std::string(1 << 20, 'x'));
  guest.settle_sent();
  write_text(out_status.get(), "FLUSH 1048576\n");
  BOOST_TEST(read_line(out_status.get()) == "OK 1048576\n");
  auto [both_status, both] = pass(guest, "", open_file("/dev/null", O_RDWR).value(), 7);
  BOOST_TEST(guest.wait([&, s = both] { return s->shutdown == kShutdownSend; }));
  both->write("gone");
  both->send(Op::shutdown, {}, kShutdownSend);
  BOOST_TEST(guest.wait([&, s = both] { return s->reset; }));
}

// Only credit holds an endless source back, and the source does not starve other streams.
BOOST_AUTO_TEST_CASE(dev_zero) {
  Guest guest;
  auto [status, stream] = pass(guest, "", open_file("/dev/zero", O_RDONLY).value());
  stream->keep = false;
  auto [read, write] = make_pipe().value();
  auto [other_status, other] = pass(guest, "", std::move(read), 6);
  write_text(write.get(), "through");
  BOOST_TEST(guest.wait([&, s = other] { return s->received == "through"; }));
  BOOST_TEST(guest.wait([&, s = stream] { return s->received_total > 1 << 20; }));
  stream->send(Op::shutdown, {}, kShutdownBoth);
  BOOST_TEST(guest.wait([&, s = stream] { return s->reset; }));
}

BOOST_AUTO_TEST_CASE(terminal) {
  Guest guest;
  Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  BOOST_REQUIRE(master);
  BOOST_REQUIRE(::grantpt(master.get()) == 0);
  BOOST_REQUIRE(::unlockpt(master.get()) == 0);
  Fd slave = open_file(::ptsname(master.get()), O_RDWR | O_NOCTTY).value();
  auto [status, stream] = pass(guest, "", slave.dup().value());
  write_text(master.get(), "typed\n");
  BOOST_TEST(guest.wait([&, s = stream] { return s->received == "typed\n"; }));
  stream->write("shown\n");
  std::string screen;
  while (!screen.ends_with("shown\r\n")) screen += read_exactly(master.get(), 1);
  BOOST_TEST((::fcntl(slave.get(), F_GETFL) & O_NONBLOCK) == 0);
  // The guest's output waits, since nobody reads the screen. The loop goes on.
  std::string much(100'000, 'y');
  stream->write(much);
  auto [read, write] = make_pipe().value();
  auto [other_status, other] = pass(guest, "", std::move(read), 6);
  write_text(write.get(), "alive");
  BOOST_TEST(guest.wait([&, s = other] { return s->received == "alive"; }));
  BOOST_TEST((read_exactly(master.get(), much.size()) == much));
}

BOOST_AUTO_TEST_CASE(socketpair_both_ways) {
  Guest guest;
  auto [ours, theirs] = make_socketpair(SOCK_STREAM).value();
  auto [status, stream] = pass(guest, " rw", std::move(theirs));
  write_text(ours.get(), "in");
  BOOST_TEST(guest.wait([&, s = stream] { return s->received == "in"; }));
  stream->write("out");
  stream->send(Op::shutdown, {}, kShutdownSend);
  BOOST_TEST(read_to_end(ours.get()) == "out");
  ours.reset();
  BOOST_TEST(at_end(status.get()));
  BOOST_TEST(guest.wait([&, s = stream] { return s->reset; }));
}

// Others hold the socket too. The end of the guest's output is not the end of their output.
BOOST_AUTO_TEST_CASE(socket_to_write_is_not_shut_down) {
  Guest guest;
  auto [ours, theirs] = make_socketpair(SOCK_STREAM).value();
  auto [status, stream] = pass(guest, " w", theirs.dup().value());
  stream->write("guest ");
  stream->send(Op::shutdown, {}, kShutdownSend);
  BOOST_TEST(at_end(status.get()));
  write_text(theirs.get(), "others");
  BOOST_TEST(read_exactly(ours.get(), 12) == "guest others");
}

BOOST_AUTO_TEST_CASE(flush) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " w", std::move(write));
  write_text(status.get(), "FLUSH 0\n");
  BOOST_TEST(read_line(status.get()) == "OK 0\n");
  stream->write("12345");
  guest.settle_sent();
  write_text(status.get(), "FLUSH 5\n");
  BOOST_TEST(read_line(status.get()) == "OK 5\n");
  // This is more than the pipe holds, so the answer waits for the reader.
  std::string data = pattern(249'995);
  stream->write(data);
  guest.settle_sent();
  write_text(status.get(), "FLUSH 250000\n");
  guest.loop().post_and_wait([] {});
  BOOST_TEST(::recv(status.get(), nullptr, 0, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC) == -1);
  BOOST_TEST(read_exactly(read.get(), 250'000) == "12345" + data);
  BOOST_TEST(read_line(status.get()) == "OK 250000\n");
  // This flush never succeeds, since the guest ends its output first.
  write_text(status.get(), "FLUSH 250001\n");
  stream->send(Op::shutdown, {}, kShutdownSend);
  BOOST_TEST(at_end(status.get()));
}

// The number may come from the guest, and the stream may stay open for ever, so the device must not wait for more
// bytes.
BOOST_AUTO_TEST_CASE(flush_of_more_than_the_guest_has_sent_is_refused_at_once) {
  for (const char* line : {"FLUSH 6\n", "FLUSH 4611686018427387904\n", "FLUSH 5\nFLUSH 18446744073709551615\n"}) {
    Guest guest;
    auto [read, write] = make_pipe().value();
    auto [status, stream] = pass(guest, " w", std::move(write));
    stream->write("12345");
    guest.settle_sent();
    write_text(status.get(), line);
    std::string answers = read_to_end(status.get());
    BOOST_TEST((answers.empty() || answers == "OK 5\n"));
    stream->write("67");
    BOOST_TEST(read_exactly(read.get(), 7) == "1234567");
  }
}

BOOST_AUTO_TEST_CASE(progress_tells_what_is_written_and_whether_the_descriptor_is_full) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " w", std::move(write));
  write_text(status.get(), "PROGRESS\n");
  BOOST_TEST(read_line(status.get()) == "WRITTEN 0\n");
  auto capacity = static_cast<size_t>(::fcntl(read.get(), F_GETPIPE_SZ));
  std::string data = pattern(capacity + 10'000);
  stream->write(data);
  guest.settle_sent();
  write_text(status.get(), "PROGRESS\nFLUSH " + std::to_string(data.size()) + "\nPROGRESS\n");
  for (int i = 0; i < 2; i++) {
    std::string line = read_line(status.get());
    BOOST_TEST(line.starts_with("WRITTEN "));
    BOOST_TEST(line.ends_with(" full\n"));
  }
  BOOST_TEST((read_exactly(read.get(), data.size()) == data));
  BOOST_TEST(read_line(status.get()) == "OK " + std::to_string(data.size()) + "\n");
  write_text(status.get(), "PROGRESS\n");
  BOOST_TEST(read_line(status.get()) == "WRITTEN " + std::to_string(data.size()) + "\n");
}

BOOST_AUTO_TEST_CASE(flush_after_the_readers_end) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " w", std::move(write));
  std::string data = pattern(200'000);
  stream->write(data);
  guest.settle_sent();
  write_text(status.get(), "FLUSH 200000\n");
  read.reset();
  BOOST_TEST(at_end(status.get()));
  BOOST_TEST(guest.wait([&, s = stream] { return (s->shutdown & kShutdownReceive) != 0; }));
}

BOOST_AUTO_TEST_CASE(flush_answers_a_client_that_closed_its_writing_side) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " w", std::move(write));
  std::string data = pattern(200'000);  // more than the pipe holds
  stream->write(data);
  guest.settle_sent();
  write_text(status.get(), "FLUSH 200000\n");
  ::shutdown(status.get(), SHUT_WR);
  BOOST_TEST((read_exactly(read.get(), data.size()) == data));
  BOOST_TEST(read_to_end(status.get()) == "OK 200000\n");
  stream->write("def");
  BOOST_TEST(read_exactly(read.get(), 3) == "def");
}

BOOST_AUTO_TEST_CASE(nonsense_on_the_status_channel) {
  for (const char* line :
       {"FLUSH\n", "FLUSH x\n", "FLUSH -1\n", "HELLO\n", "FLUSH 1 2\n", "PROGRESS 1\n", "progress\n"}) {
    Guest guest;
    auto [read, write] = make_pipe().value();
    auto [status, stream] = pass(guest, " w", std::move(write));
    write_text(status.get(), line);
    BOOST_TEST(at_end(status.get()));
    stream->write("goes on");
    BOOST_TEST(read_exactly(read.get(), 7) == "goes on");
  }
}

BOOST_AUTO_TEST_CASE(stream_outlives_its_client) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " w", std::move(write));
  status.reset();
  stream->write("no matter");
  BOOST_TEST(read_exactly(read.get(), 9) == "no matter");
  BOOST_TEST(guest.device_streams() == 1u);
}

// The guest's program must learn that nobody reads its output, as SIGPIPE would tell it.
BOOST_AUTO_TEST_CASE(reader_of_a_pipe_goes) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " w", std::move(write));
  read.reset();
  BOOST_TEST(guest.wait([&, s = stream] { return (s->shutdown & kShutdownReceive) != 0; }));
  stream->write("into the void");  // the guest may send this before the news arrives, so it is no violation
  stream->send(Op::shutdown, {}, kShutdownBoth);
  BOOST_TEST(guest.wait([&, s = stream] { return s->reset; }));
}

BOOST_AUTO_TEST_CASE(guest_writes_to_a_source) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " r", std::move(read));
  stream->write("?");
  BOOST_TEST(guest.wait([&, s = stream] { return s->shutdown == kShutdownReceive; }));
  write_text(write.get(), "!");
  BOOST_TEST(guest.wait([&, s = stream] { return s->received == "!"; }));
}

// If the direction in the CONNECT line contradicts the descriptor's access mode, the stream ends, and nothing else
// does.
BOOST_AUTO_TEST_CASE(wrong_direction) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " w", std::move(read));
  stream->write("x");
  BOOST_TEST(at_end(status.get()));
  BOOST_TEST(guest.wait([&, s = stream] { return s->shutdown == kShutdownBoth; }));
}

BOOST_AUTO_TEST_CASE(descriptor_with_any_byte_but_only_one) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  Fd client = guest.client();
  write_text(client.get(), "CON");
  std::this_thread::sleep_for(5ms);
  send_fd(client.get(), "NECT 123", write.get());
  std::this_thread::sleep_for(5ms);
  write_text(client.get(), "4 w\n");
  GuestStream& stream = guest.accept(1234);
  stream.write("ok");
  BOOST_TEST(read_exactly(read.get(), 2) == "ok");

  Fd greedy = guest.client();
  int two[] = {read.get(), write.get()};
  std::string_view line = "CONNECT 5\n";
  BOOST_REQUIRE(send_with_fds(greedy.get(), std::as_bytes(std::span(line)), two));
  BOOST_TEST(at_end(greedy.get()));
}

BOOST_AUTO_TEST_CASE(refused_with_a_descriptor) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  Fd client = guest.client();
  send_fd(client.get(), "CONNECT 9 w\n", write.get());
  write.reset();
  auto request = guest.stray(Op::request);
  BOOST_REQUIRE(request);
  guest.send_raw(guest.header(9, request->header.src_port, Op::reset));
  BOOST_TEST(at_end(client.get()));
  BOOST_TEST(at_end(read.get()));
}

BOOST_AUTO_TEST_CASE(output_is_written_after_a_reset) {
  Guest guest;
  auto [read, write] = make_pipe().value();
  auto [status, stream] = pass(guest, " w", std::move(write));
  std::string data = pattern(250'000);
  stream->write(data);
  guest.loop().post_and_wait([] {});
  while (guest.pump(20ms)) {
  }
  write_text(status.get(), "FLUSH 250000\n");
  guest.restart();
  BOOST_TEST((read_to_end(read.get()) == data));
  BOOST_TEST(read_line(status.get()) == "OK 250000\n");
  BOOST_TEST(at_end(status.get()));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace nacre::virtio::vsock::vsock_passing_test
