// SPDX-License-Identifier: Apache-2.0
// Tests the locks of the guest's processes against each other, against those of another guest, and against those of the
// host.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "devices/virtio/fs/testing/fs_calls.h"

namespace nacre::virtio::fs::fs_lock_test {
namespace {

using namespace std::chrono_literals;
using wire::Opcode;

constexpr uint64_t kEnd = INT64_MAX;

// A guest that has opened the shared file.
struct Opener {
  explicit Opener(const std::string& directory, int flags = O_RDWR) : guest(directory) { file = open(flags); }

  wire::OpenOut open(int flags) {
    auto entry = guest.call(Opcode::lookup, 1, string_bytes("file")).as<wire::EntryOut>();
    nodeid = entry.nodeid;
    wire::OpenIn in{.flags = static_cast<uint32_t>(flags), .open_flags = 0};
    return guest.call(Opcode::open, nodeid, object_bytes(in)).as<wire::OpenOut>();
  }
  Bytes lock(uint64_t owner, int type, uint64_t start = 0, uint64_t end = kEnd, bool flock = false, uint64_t fh = 0) {
    wire::LockIn in{.fh = fh != 0 ? fh : file.fh,
                    .owner = owner,
                    .lock = {.start = start,
                             .end = end,
                             .type = static_cast<uint32_t>(type),
                             .pid = static_cast<uint32_t>(owner + 1000)},
                    .lk_flags = flock ? wire::kLockFlock : 0,
                    .padding = 0};
    return object_bytes(in);
  }
  int set(uint64_t owner, int type, uint64_t start = 0, uint64_t end = kEnd) {
    return guest.call(Opcode::setlk, nodeid, lock(owner, type, start, end)).error;
  }
  int flock(uint64_t fh, int type) { return guest.call(Opcode::setlk, nodeid, lock(0, type, 0, kEnd, true, fh)).error; }
  wire::FileLock get(uint64_t owner, int type, uint64_t start = 0, uint64_t end = kEnd) {
    return guest.call(Opcode::getlk, nodeid, lock(owner, type, start, end)).as<wire::LockOut>().lock;
  }
  int flush(uint64_t owner) {
    return guest.call(Opcode::flush, nodeid, object_bytes(wire::FlushIn{file.fh, 0, 0, owner})).error;
  }

  FsGuest guest;
  uint64_t nodeid = 0;
  wire::OpenOut file{};
};

struct SharedFile {
  SharedFile() { Fd(::open(path().c_str(), O_CREAT | O_WRONLY, 0644)); }
  std::string path() const { return directory.path() + "/file"; }
  ScratchDirectory directory;
};

BOOST_FIXTURE_TEST_SUITE(locks, SharedFile)

BOOST_AUTO_TEST_CASE(the_pid_of_a_lock_is_that_of_its_owner) {
  Opener a(directory.path());
  BOOST_TEST(a.set(1, F_WRLCK, 0, 9) == 0);
  BOOST_TEST(a.set(2, F_RDLCK, 10, 19) == 0);
  Fd host(::open(path().c_str(), O_RDWR));
  struct flock held{};
  held.l_type = F_WRLCK;
  held.l_start = 20;
  held.l_len = 10;
  BOOST_REQUIRE_EQUAL(::fcntl(host.get(), F_OFD_SETLK, &held), 0);
  BOOST_TEST(a.get(3, F_WRLCK, 5, 5).pid == 1001u);
  BOOST_TEST(a.get(3, F_WRLCK, 15, 15).pid == 1002u);
  BOOST_TEST(a.get(1, F_WRLCK, 15, kEnd).pid == 1002u);
  BOOST_TEST(a.get(3, F_WRLCK, 25, 25).type == uint32_t{F_WRLCK});
  BOOST_TEST(a.get(3, F_WRLCK, 25, 25).pid == 0u);
  BOOST_TEST(a.set(1, F_UNLCK, 0, 9) == 0);
  BOOST_TEST(a.get(2, F_WRLCK, 0, 9).type == uint32_t{F_UNLCK});
}

BOOST_AUTO_TEST_CASE(owners_of_one_guest) {
  Opener a(directory.path());
  BOOST_TEST(a.set(1, F_WRLCK, 0, 99) == 0);
  BOOST_TEST(a.set(2, F_WRLCK, 50, 60) == EAGAIN);
  BOOST_TEST(a.set(2, F_RDLCK, 50, 60) == EAGAIN);
  BOOST_TEST(a.set(2, F_WRLCK, 100, 200) == 0);
  BOOST_TEST(a.set(1, F_UNLCK, 50, 99) == 0);
  BOOST_TEST(a.set(2, F_RDLCK, 50, 60) == 0);
  wire::FileLock found = a.get(2, F_WRLCK, 0, kEnd);
  BOOST_TEST(found.type == uint32_t{F_WRLCK});
  BOOST_TEST(found.start == 0u);
  BOOST_TEST(found.end == 49u);
  BOOST_TEST(found.pid == 1001u);
  BOOST_TEST(a.get(2, F_RDLCK, 50, 60).type == uint32_t{F_UNLCK});
  BOOST_TEST(a.flush(2) == 0);  // closing any descriptor releases the process's locks
  BOOST_TEST(a.set(1, F_WRLCK) == 0);
  BOOST_TEST(a.set(1, F_WRLCK, 10, 5) == EINVAL);
  BOOST_TEST(a.set(1, 77) == EINVAL);
  BOOST_TEST(a.set(1, F_WRLCK, uint64_t{1} << 63, UINT64_MAX) == EINVAL);
}

BOOST_AUTO_TEST_CASE(two_guests_and_the_host) {
  Opener a(directory.path()), b(directory.path());
  BOOST_TEST(a.set(1, F_RDLCK) == 0);
  BOOST_TEST(b.set(1, F_RDLCK) == 0);
  BOOST_TEST(b.set(1, F_WRLCK) == EAGAIN);
  Fd host(::open(path().c_str(), O_RDWR));
  struct flock lock{};
  lock.l_type = F_WRLCK;
  BOOST_TEST(::fcntl(host.get(), F_OFD_SETLK, &lock) == -1);
  BOOST_TEST(a.set(1, F_UNLCK) == 0);
  BOOST_TEST(b.set(1, F_UNLCK) == 0);
  BOOST_TEST(::fcntl(host.get(), F_OFD_SETLK, &lock) == 0);
  BOOST_TEST(a.set(1, F_RDLCK) == EAGAIN);
  BOOST_TEST(a.get(1, F_RDLCK).type == uint32_t{F_WRLCK});
}

BOOST_AUTO_TEST_CASE(whole_file_locks_belong_to_handles) {
  Opener a(directory.path());
  auto second = a.open(O_RDONLY);
  BOOST_TEST(a.flock(a.file.fh, F_WRLCK) == 0);
  BOOST_TEST(a.flock(second.fh, F_RDLCK) == EAGAIN);
  Fd host(::open(path().c_str(), O_RDONLY));
  BOOST_TEST(::flock(host.get(), LOCK_SH | LOCK_NB) == -1);
  BOOST_TEST(a.set(1, F_WRLCK) == 0);  // POSIX locks and flock(2) locks do not conflict
  BOOST_TEST(a.guest.call(Opcode::release, a.nodeid, object_bytes(wire::ReleaseIn{a.file.fh, 0, 2, 0})).error == 0);
  BOOST_TEST(a.flock(second.fh, F_WRLCK) == 0);
}

BOOST_AUTO_TEST_CASE(waiting) {
  Opener a(directory.path()), b(directory.path());
  BOOST_TEST(a.set(1, F_WRLCK) == 0);
  uint64_t same_guest = a.guest.start(Opcode::setlkw, a.nodeid, a.lock(2, F_WRLCK, 0, 9));
  uint64_t other_guest = b.guest.start(Opcode::setlkw, b.nodeid, b.lock(1, F_WRLCK, 10, 19));
  BOOST_TEST(!a.guest.wait(same_guest, 50ms));
  BOOST_TEST(!b.guest.wait(other_guest, 50ms));
  // The server goes on serving meanwhile.
  BOOST_TEST(a.guest.call(Opcode::getattr, a.nodeid, object_bytes(wire::GetattrIn{})).error == 0);
  BOOST_TEST(a.set(1, F_UNLCK) == 0);
  auto first = a.guest.wait(same_guest, 60s);
  BOOST_REQUIRE(first);
  BOOST_TEST(first->error == 0);
  auto second = b.guest.wait(other_guest, 60s);
  BOOST_REQUIRE(second);
  BOOST_TEST(second->error == 0);
  BOOST_TEST(a.set(1, F_WRLCK, 0, 0) == EAGAIN);
  BOOST_TEST(a.set(1, F_WRLCK, 15, 15) == EAGAIN);
}

BOOST_AUTO_TEST_CASE(waiting_is_interrupted) {
  Opener a(directory.path());
  BOOST_TEST(a.set(1, F_WRLCK) == 0);
  uint64_t waiting = a.guest.start(Opcode::setlkw, a.nodeid, a.lock(2, F_WRLCK));
  BOOST_TEST(!a.guest.wait(waiting, 20ms));
  BOOST_TEST(!a.guest.call(Opcode::interrupt, 0, object_bytes(wire::InterruptIn{waiting + 5000})).replied);
  BOOST_TEST(!a.guest.wait(waiting, 20ms));
  BOOST_TEST(!a.guest.call(Opcode::interrupt, 0, object_bytes(wire::InterruptIn{waiting})).replied);
  auto answer = a.guest.wait(waiting, 60s);
  BOOST_REQUIRE(answer);
  BOOST_TEST(answer->error == EINTR);
}

BOOST_AUTO_TEST_CASE(locks_are_bounded) {
  Opener a(directory.path());
  // Locks every other byte, so that no two ranges become one.
  constexpr size_t kOwners = 64, kEach = Session::kMaxLocks / kOwners;
  for (size_t i = 0; i < Session::kMaxLocks; i++) {
    BOOST_REQUIRE(a.set(1 + i / kEach, F_RDLCK, 2 * i, 2 * i) == 0);
  }
  BOOST_TEST(a.set(1, F_RDLCK, 1 << 20, 1 << 20) == ENOLCK);
  BOOST_TEST(a.set(100, F_RDLCK, 0, 0) == ENOLCK);
  // An owner who gives a lock up makes room for another owner's.
  BOOST_TEST(a.set(1, F_UNLCK, 0, 0) == 0);
  BOOST_TEST(a.set(100, F_RDLCK, 100, kEnd) == 0);
  BOOST_TEST(a.set(100, F_UNLCK, 200, 300) == ENOLCK);  // two of one
  BOOST_TEST(a.set(100, F_UNLCK, 200, kEnd) == 0);
  for (size_t owner = 1; owner <= kOwners; owner++) BOOST_TEST(a.flush(owner) == 0);
  BOOST_TEST(a.set(100, F_UNLCK, 120, 130) == 0);
}

BOOST_AUTO_TEST_CASE(waiting_is_bounded) {
  Opener a(directory.path());
  BOOST_TEST(a.set(1, F_WRLCK) == 0);
  std::vector<uint64_t> waiting;
  for (size_t i = 0; i < Session::kMaxWaitingLocks; i++) {
    waiting.push_back(a.guest.start(Opcode::setlkw, a.nodeid, a.lock(2 + i % 3, F_WRLCK)));
  }
  BOOST_TEST(a.guest.call(Opcode::setlkw, a.nodeid, a.lock(9, F_WRLCK)).error == ENOLCK);
  // The end of the session answers all waiting requests.
  BOOST_TEST(a.guest.call(Opcode::destroy, 0).error == 0);
  for (uint64_t unique : waiting) {
    auto answer = a.guest.wait(unique, 60s);
    BOOST_REQUIRE(answer);
    BOOST_TEST(answer->error == EIO);
  }
}

BOOST_AUTO_TEST_CASE(waiting_for_a_handle_that_goes) {
  Opener a(directory.path());
  auto second = a.open(O_RDWR);
  BOOST_TEST(a.flock(a.file.fh, F_WRLCK) == 0);
  uint64_t waiting = a.guest.start(Opcode::setlkw, a.nodeid, a.lock(0, F_WRLCK, 0, kEnd, true, second.fh));
  BOOST_TEST(a.guest.call(Opcode::release, a.nodeid, object_bytes(wire::ReleaseIn{second.fh, 0, 0, 0})).error == 0);
  auto answer = a.guest.wait(waiting, 60s);
  BOOST_REQUIRE(answer);
  BOOST_TEST(answer->error == EBADF);
}

BOOST_AUTO_TEST_CASE(access_modes) {
  Opener reader(directory.path(), O_RDONLY), writer(directory.path(), O_WRONLY);
  BOOST_TEST(reader.set(1, F_WRLCK) == EBADF);
  BOOST_TEST(writer.set(1, F_RDLCK) == EBADF);
  BOOST_TEST(reader.set(1, F_RDLCK) == 0);
  BOOST_TEST(reader.set(1, F_UNLCK) == 0);
  BOOST_TEST(writer.set(1, F_WRLCK) == 0);
}

BOOST_AUTO_TEST_CASE(left_to_the_guest) {
  SessionOptions options;
  options.host_locks = false;
  FsGuest guest(directory.path(), options, std::nullopt);
  wire::InitIn in{.major = 7, .minor = 41, .max_readahead = 0, .flags = ~0u & ~static_cast<uint32_t>(wire::kInitExt)};
  auto out = guest.call(Opcode::init, 0, object_bytes(in)).as<wire::InitOut>();
  BOOST_TEST((out.flags & wire::kInitPosixLocks) == 0u);
  BOOST_TEST((out.flags & wire::kInitFlockLocks) == 0u);
  BOOST_TEST((out.flags & wire::kInitDoReaddirplus) != 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs::fs_lock_test
