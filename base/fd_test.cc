// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <thread>

#include "base/mapping.h"

namespace nacre {
namespace {

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

bool is_cloexec(const Fd& fd) {
  return ::fcntl(fd.get(), F_GETFD) == FD_CLOEXEC;
}

struct Scratch {
  Scratch() {
    char name[] = "/tmp/nacre-fd-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::string path;
};

BOOST_AUTO_TEST_SUITE(fd)

BOOST_AUTO_TEST_CASE(owns_and_closes) {
  int number;
  {
    Fd fd = make_eventfd().value();
    number = fd.get();
    BOOST_TEST(is_open(number));
    Fd moved = std::move(fd);
    BOOST_TEST(!fd.valid());  // NOLINT: what a move leaves behind is promised
    BOOST_TEST(moved.get() == number);
    Fd& same = moved;
    moved = std::move(same);
    BOOST_TEST(is_open(number));
  }
  BOOST_TEST(!is_open(number));
  Fd fd = make_eventfd().value();
  int released = fd.release();
  BOOST_TEST(is_open(released));
  Fd again(released);
  again = Fd();
  BOOST_TEST(!is_open(released));
}

BOOST_AUTO_TEST_CASE(close_on_exec_always) {
  Scratch scratch;
  Pipe pipe = make_pipe().value();
  auto pair = make_socketpair(SOCK_STREAM).value();
  Fd file = open_file(scratch.path + "/f", O_CREAT | O_RDWR, 0600).value();
  Fd copy = file.dup().value();
  Fd event = make_eventfd().value();
  for (const Fd* each : {&pipe.read, &pipe.write, &pair.first, &pair.second, &file, &copy, &event}) {
    BOOST_TEST(is_cloexec(*each));
  }
  BOOST_TEST(set_cloexec(file.get(), false).has_value());
  BOOST_TEST(!is_cloexec(file));
}

BOOST_AUTO_TEST_CASE(errors_name_the_path_and_keep_errno) {
  auto missing = open_file("/nonexistent/file", O_RDONLY);
  BOOST_REQUIRE(!missing.has_value());
  BOOST_TEST(missing.error().code() == ENOENT);
  BOOST_TEST(missing.error().message() == "open /nonexistent/file: no such file or directory");
  BOOST_TEST(!read_file("/nonexistent/file").has_value());
  BOOST_TEST(!Fd().dup().has_value());
}

BOOST_AUTO_TEST_CASE(all_or_an_error) {
  Pipe pipe = make_pipe().value();
  std::string much(300000, 'm');  // more than a pipe holds: several turns on each side
  std::thread writer([&] {
    if (!write_all(pipe.write.get(), much)) std::abort();
    pipe.write.reset();
  });
  std::string seen(much.size(), '\0');
  BOOST_TEST(read_all(pipe.read.get(), std::as_writable_bytes(std::span(seen))).has_value());
  BOOST_TEST((seen == much));
  std::array<std::byte, 1> more;
  BOOST_TEST(!read_all(pipe.read.get(), more).has_value());  // end of file
  writer.join();
}

BOOST_AUTO_TEST_CASE(whole_files) {
  Scratch scratch;
  std::string path = scratch.path + "/f";
  BOOST_TEST(replace_file(path, "one").has_value());
  BOOST_TEST(replace_file(path, std::string(20000, 'x'), 0640).has_value());
  struct stat status;
  BOOST_REQUIRE(::stat(path.c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0640u);
  BOOST_TEST(read_file(path).value().size() == 20000u);
  BOOST_TEST(read_file(path, 20000).has_value());
  auto too_large = read_file(path, 19999);
  BOOST_REQUIRE(!too_large.has_value());
  BOOST_TEST(too_large.error().code() == EFBIG);
  // A failure leaves nothing behind.
  std::filesystem::create_directory(scratch.path + "/d");
  BOOST_TEST(!replace_file(scratch.path + "/d", "x").has_value());
  size_t count = 0;
  for ([[maybe_unused]] auto& entry : std::filesystem::directory_iterator(scratch.path)) count++;
  BOOST_TEST(count == 2u);
}

BOOST_AUTO_TEST_CASE(descriptors_over_a_socket) {
  auto pair = make_socketpair(SOCK_STREAM).value();
  Pipe pipe = make_pipe().value();
  std::array<int, 2> sent{pipe.write.get(), pipe.read.get()};
  std::array<std::byte, 3> data{std::byte{1}, std::byte{2}, std::byte{3}};
  BOOST_TEST(send_with_fds(pair.first.get(), data, sent).has_value());
  std::array<std::byte, 16> buffer{};
  Received received = receive_with_fds(pair.second.get(), buffer).value();
  BOOST_TEST(received.size == 3u);
  BOOST_REQUIRE(received.fds.size() == 2u);
  BOOST_TEST(is_cloexec(received.fds[0]));
  BOOST_TEST(write_all(received.fds[0].get(), "through").has_value());
  std::string text(7, ' ');
  BOOST_TEST(read_all(pipe.read.get(), std::as_writable_bytes(std::span(text))).has_value());
  BOOST_TEST(text == "through");
  std::array<int, 17> too_many;
  too_many.fill(pipe.read.get());
  BOOST_TEST(!send_with_fds(pair.first.get(), data, too_many).has_value());
  pair.first.reset();
  BOOST_TEST(receive_with_fds(pair.second.get(), buffer).value().size == 0u);
  BOOST_TEST(!send_with_fds(pair.second.get(), data, {}).has_value());  // and no SIGPIPE
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(mapping)

BOOST_AUTO_TEST_CASE(aligned_zero_pages) {
  for (size_t alignment : {size_t{4096}, size_t{2} << 20}) {
    Mapping mapping = Mapping::anonymous(3 << 20, alignment).value();
    BOOST_TEST(mapping.size() == 3u << 20);
    BOOST_TEST(reinterpret_cast<uintptr_t>(mapping.data()) % alignment == 0u);
    BOOST_TEST((mapping.bytes().front() == std::byte{0} && mapping.bytes().back() == std::byte{0}));
    mapping.bytes().back() = std::byte{1};
    Mapping moved = std::move(mapping);
    BOOST_TEST(mapping.size() == 0u);  // NOLINT: what a move leaves behind is promised
    BOOST_TEST((moved.bytes().back() == std::byte{1}));
  }
}

BOOST_AUTO_TEST_CASE(too_much_is_an_error) {
  BOOST_TEST(!Mapping::anonymous(size_t{1} << 60).has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre
