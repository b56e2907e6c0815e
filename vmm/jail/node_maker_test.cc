// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE vmm_jail
#include "vmm/jail/node_maker.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <optional>
#include <string>
#include <thread>

#include "base/mount.h"

using namespace nacre;
using namespace nacre::vmm;
using virtio::fs::DeviceNode;

namespace {

// Its server is a thread: what it gives up is the thread's own.
struct Maker {
  Maker() {
    directory = make_filesystem("tmpfs", "", {}, MOUNT_ATTR_NODEV).value();
    auto [ours, theirs] = make_socketpair(SOCK_SEQPACKET).value();
    raw = ours.dup().value();
    client.emplace(std::move(ours));
    server = std::thread([this, socket = std::move(theirs)] { ended = serve_node_requests(socket, directory); });
  }
  ~Maker() {
    ::shutdown(raw.get(), SHUT_WR);
    server.join();
    BOOST_TEST(ended.has_value());
  }

  int make(const char* name, mode_t mode, dev_t device = makedev(1, 3), mode_t umask = 0) {
    auto made =
        client->make(directory.get(), name, {.mode = mode, .device = device, .uid = 5, .gid = 6, .umask = umask});
    return made ? 0 : made.error();
  }
  struct stat look(const char* name) {
    struct stat status{};
    BOOST_TEST(::fstatat(directory.get(), name, &status, AT_SYMLINK_NOFOLLOW) == 0);
    return status;
  }
  int answer(std::string_view packet, std::span<const int> fds) {
    BOOST_REQUIRE(send_with_fds(raw.get(), std::as_bytes(std::span(packet)), fds));
    int error = -1;
    BOOST_REQUIRE(::read(raw.get(), &error, sizeof(error)) == sizeof(error));
    return error;
  }

  Fd directory, raw;
  std::optional<NodeMakerClient> client;
  Result<void> ended;
  std::thread server;
};

boost::test_tools::assertion_result is_root(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result root(::geteuid() == 0);
  root.message() << "device nodes are made by root alone";
  return root;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(nodes, *boost::unit_test::precondition(is_root))

BOOST_AUTO_TEST_CASE(a_node_is_its_callers) {
  Maker maker;
  BOOST_TEST(maker.make("null", S_IFCHR | 0666, makedev(1, 3), 027) == 0);
  struct stat null = maker.look("null");
  BOOST_TEST(null.st_mode == (S_IFCHR | 0640));
  BOOST_TEST(null.st_rdev == makedev(1, 3));
  BOOST_TEST((null.st_uid == 5 && null.st_gid == 6));
  BOOST_TEST(maker.make("disk", S_IFBLK | 0600, makedev(259, 70000)) == 0);
  BOOST_TEST(maker.look("disk").st_rdev == makedev(259, 70000));
  BOOST_TEST(maker.make("null", S_IFCHR | 0666) == EEXIST);
}

BOOST_AUTO_TEST_CASE(nothing_but_devices_and_nowhere_else) {
  Maker maker;
  BOOST_REQUIRE(::mkdirat(maker.directory.get(), "below", 0755) == 0);
  for (mode_t mode : {S_IFREG, S_IFIFO, S_IFSOCK, S_IFDIR, 0}) BOOST_TEST(maker.make("x", mode | 0666) == EINVAL);
  for (const char* name : {"", ".", "..", "below/x", "../x", "/tmp/nacre-nodes-x"}) {
    BOOST_TEST(maker.make(name, S_IFCHR | 0666) == EINVAL);
  }
  BOOST_TEST(maker.make(std::string(300, 'x').c_str(), S_IFCHR | 0666) == ENAMETOOLONG);
  BOOST_TEST(::unlinkat(maker.directory.get(), "below", AT_REMOVEDIR) == 0);
  // Where vmm could open them.
  maker.directory = make_filesystem("tmpfs", "", {}, 0).value();
  BOOST_TEST(maker.make("x", S_IFCHR | 0666) == EPERM);
}

BOOST_AUTO_TEST_CASE(packets_that_are_no_requests) {
  Maker maker;
  std::array<int, 2> fds = {maker.directory.get(), maker.directory.get()};
  BOOST_TEST(maker.answer("x", std::span(fds).first(1)) == EINVAL);
  // S_IFCHR, and a name without an end.
  std::string all(4096, '!');
  BOOST_TEST(maker.answer(all, std::span(fds).first(1)) == EINVAL);
  BOOST_TEST(maker.answer(all, fds) == EINVAL);
  BOOST_TEST(maker.answer(all, {}) == EINVAL);
  BOOST_TEST(maker.make("still-there", S_IFCHR | 0666) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(a_maker_that_is_gone) {
  auto [ours, theirs] = make_socketpair(SOCK_SEQPACKET).value();
  NodeMakerClient client(std::move(ours));
  theirs.reset();
  auto made = client.make(AT_FDCWD, "x", {.mode = S_IFCHR, .device = 0, .uid = 0, .gid = 0, .umask = 0});
  BOOST_REQUIRE(!made);
  BOOST_TEST(made.error() == EIO);
}
