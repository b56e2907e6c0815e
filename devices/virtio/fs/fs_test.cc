// The session by single requests: what each says and what it does to the host's files.
#define BOOST_TEST_MODULE fs
#include <fcntl.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "devices/virtio/fs/fs_guest.h"

namespace nacre::virtio::fs {
namespace {

using wire::Opcode;

struct Share {
  ScratchDirectory directory;
  FsGuest guest{directory.path()};

  std::string path(const std::string& name) const { return directory.path() + "/" + name; }
  void put(const std::string& name, const std::string& text) { std::ofstream(path(name)) << text; }
  std::string get(const std::string& name) {
    std::ifstream file(path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  wire::EntryOut lookup(const std::string& name, uint64_t parent = 1) {
    auto answer = guest.call(Opcode::lookup, parent, string_bytes(name));
    BOOST_REQUIRE_EQUAL(answer.error, 0);
    return answer.as<wire::EntryOut>();
  }
};

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

BOOST_AUTO_TEST_CASE(reads_a_file_of_the_host) {
  Share share;
  share.put("hello", "hello, guest");
  auto entry = share.lookup("hello");
  BOOST_TEST(entry.attr.size == 12u);
  BOOST_TEST((entry.attr.mode & S_IFMT) == S_IFREG);
  auto open =
      share.guest.call(Opcode::open, entry.nodeid, object_bytes(wire::OpenIn{.flags = O_RDONLY, .open_flags = 0}));
  BOOST_REQUIRE_EQUAL(open.error, 0);
  wire::ReadIn in{};
  in.fh = open.as<wire::OpenOut>().fh;
  in.offset = 7;
  in.size = 4096;
  auto read = share.guest.call(Opcode::read, entry.nodeid, object_bytes(in));
  BOOST_TEST(read.error == 0);
  BOOST_TEST(text_of(read.body) == "guest");
  auto release =
      share.guest.call(Opcode::release, entry.nodeid,
                       object_bytes(wire::ReleaseIn{.fh = in.fh, .flags = 0, .release_flags = 0, .lock_owner = 0}));
  BOOST_TEST(release.error == 0);
  BOOST_TEST(share.guest.handle_count() == 0u);
}

BOOST_AUTO_TEST_CASE(creates_and_writes) {
  Share share;
  wire::CreateIn in{.flags = O_RDWR | O_CREAT | O_EXCL, .mode = 0666, .umask = 027, .open_flags = 0};
  share.guest.uid = 1234;
  share.guest.gid = 4321;
  auto created = share.guest.call(Opcode::create, 1, object_bytes(in) + string_bytes("new"));
  BOOST_REQUIRE_EQUAL(created.error, 0);
  auto out = created.as<wire::CreateOut>();
  BOOST_TEST(out.entry.attr.uid == 1234u);
  BOOST_TEST(out.entry.attr.gid == 4321u);
  BOOST_TEST((out.entry.attr.mode & 07777) == 0640u);
  wire::WriteIn write{};
  write.fh = out.open.fh;
  write.size = 100000;
  Bytes data(100000, std::byte{'x'});
  auto written = share.guest.call(Opcode::write, out.entry.nodeid, object_bytes(write) + data);
  BOOST_TEST(written.error == 0);
  BOOST_TEST(written.as<wire::WriteOut>().size == 100000u);
  BOOST_TEST(share.get("new") == std::string(100000, 'x'));
}

}  // namespace
}  // namespace nacre::virtio::fs
