// SPDX-License-Identifier: Apache-2.0
// Tests saving a file server and restoring it: in the middle of work, after changes on the host, and from hostile
// states.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "devices/virtio/fs/fs_device.h"
#include "devices/virtio/fs/testing/fs_guest.h"
#include "devices/virtio/testing/fake_driver.h"
#include "devices/virtio/testing/hostile_state.h"

namespace nacre::virtio::fs {
namespace {

using testing::Layout;
using wire::Opcode;

using State = std::vector<std::byte>;

// A share, a tree next to it, and a file outside of both.
struct Share {
  Share() {
    for (const char* name : {"share", "share/inner", "tree"})
      std::filesystem::create_directory(top.path() + "/" + name);
    for (const char* name : {"share/file", "share/inner/deep", "share/readable", "tree/data"}) {
      std::ofstream(path(name)) << "content of " << name;
    }
    for (int i = 0; i < 40; i++) std::ofstream(path("share/inner/entry" + std::to_string(i)));
    std::ofstream(path("secret")) << "secret";
    std::filesystem::create_symlink("../../secret", path("share/inner/link"));
  }
  std::string path(const std::string& name) const { return top.path() + "/" + name; }
  Fd open_path(const std::string& name) const { return Fd(::open(path(name).c_str(), O_PATH | O_CLOEXEC)); }

  ScratchDirectory top;
};

// The device with a driver. The driver keeps its state between save() and restore().
struct Machine : Share {
  std::unique_ptr<FsDevice> make() {
    FsOptions options;
    options.tag = "rootfs";
    options.root = open_path("share");
    auto made = FsDevice::create(std::move(options)).value();
    BOOST_REQUIRE(made->add_tree("tree", open_path("tree")).has_value());
    return made;
  }
  void start() {
    device = make();
    driver.activate(*device);
    wire::InitIn in{.major = 7, .minor = 41, .max_readahead = 0, .flags = 0};
    call(Opcode::init, 0, object_bytes(in), sizeof(wire::InitOut));
  }
  State save() {
    StateWriter state;
    auto saved = device->save(state);
    BOOST_REQUIRE(saved.has_value());
    return state.content();
  }
  // Ends the device and continues with a new one.
  void move(const State& state) {
    device.reset();
    device = make();
    device->pause();
    StateReader reader(state);
    auto restored = device->restore(reader);
    BOOST_REQUIRE_MESSAGE(restored.has_value(), (restored ? "" : restored.error().message()));
    driver.activate(*device);
    device->resume();
  }
  void move() {
    device->pause();
    move(save());
  }

  Bytes request(Opcode opcode, uint64_t nodeid, const Bytes& body) {
    wire::InHeader header{};
    header.len = static_cast<uint32_t>(sizeof(header) + body.size());
    header.opcode = static_cast<uint32_t>(opcode);
    header.unique = ++unique;
    header.nodeid = nodeid;
    return object_bytes(header) + body;
  }
  uint16_t send(Opcode opcode, uint64_t nodeid, const Bytes& body, uint32_t room) {
    return driver.queue(1).send({request(opcode, nodeid, body)}, {16, room}, Layout::indirect);
  }
  FsGuest::Answer wait(uint16_t head) {
    auto used = driver.queue(1).wait_used_head(head);
    BOOST_REQUIRE(used);
    BOOST_REQUIRE_GE(used->written.size(), sizeof(wire::OutHeader));
    wire::OutHeader header;
    std::memcpy(&header, used->written.data(), sizeof(header));
    FsGuest::Answer answer;
    answer.replied = true;
    answer.error = -header.error;
    answer.body.assign(used->written.begin() + sizeof(header), used->written.end());
    return answer;
  }
  FsGuest::Answer call(Opcode opcode, uint64_t nodeid, const Bytes& body, uint32_t room) {
    return wait(send(opcode, nodeid, body, room));
  }
  uint64_t lookup(uint64_t parent, const std::string& name) {
    auto answer = call(Opcode::lookup, parent, string_bytes(name), sizeof(wire::EntryOut));
    BOOST_REQUIRE_EQUAL(answer.error, 0);
    return answer.as<wire::EntryOut>().nodeid;
  }
  uint64_t open(Opcode opcode, uint64_t nodeid, uint32_t flags) {
    auto answer = call(opcode, nodeid, object_bytes(wire::OpenIn{flags, 0}), sizeof(wire::OpenOut));
    BOOST_REQUIRE_EQUAL(answer.error, 0);
    return answer.as<wire::OpenOut>().fh;
  }
  std::string read(uint64_t fh) {
    wire::ReadIn in{};
    in.fh = fh;
    in.size = 100;
    auto answer = call(Opcode::read, 1, object_bytes(in), 100);
    if (answer.error != 0) return "error " + std::to_string(answer.error);
    return {reinterpret_cast<const char*>(answer.body.data()), answer.body.size()};
  }
  int getattr(uint64_t nodeid) {
    return call(Opcode::getattr, nodeid, object_bytes(wire::GetattrIn{}), sizeof(wire::AttrOut)).error;
  }
  static Bytes lock(uint64_t fh, uint64_t owner, uint32_t type, uint64_t start, uint64_t end, bool flock = false) {
    wire::LockIn in{};
    in.fh = fh;
    in.owner = owner;
    in.lock = {.start = start, .end = end, .type = type, .pid = static_cast<uint32_t>(owner + 1000)};
    in.lk_flags = flock ? wire::kLockFlock : 0;
    return object_bytes(in);
  }
  int set_lock(uint64_t fh, uint64_t owner, uint32_t type, uint64_t start, uint64_t end, bool flock = false) {
    return call(Opcode::setlk, 1, lock(fh, owner, type, start, end, flock), 0).error;
  }
  // Returns the names of one READDIR that starts at the cookie `offset`. Sets `last` to the cookie of the last entry.
  std::vector<std::string> list(uint64_t fh, uint64_t offset, uint32_t size, uint64_t& last) {
    std::vector<std::string> names;
    wire::ReadIn in{};
    in.fh = fh;
    in.offset = offset;
    in.size = size;
    auto answer = call(Opcode::readdir, 1, object_bytes(in), size);
    BOOST_REQUIRE_EQUAL(answer.error, 0);
    for (size_t at = 0; at + sizeof(wire::Dirent) <= answer.body.size();) {
      auto entry = answer.as<wire::Dirent>(at);
      names.emplace_back(reinterpret_cast<const char*>(answer.body.data()) + at + sizeof(entry), entry.namelen);
      last = entry.off;
      at += wire::align8(sizeof(entry) + entry.namelen);
    }
    return names;
  }

  testing::FakeDriver driver{{.queue_sizes = {16, 64}}};
  std::unique_ptr<FsDevice> device;
  uint64_t unique = 0;
};

BOOST_FIXTURE_TEST_SUITE(saved, Machine)

BOOST_AUTO_TEST_CASE(open_files_and_node_ids_keep_their_numbers) {
  start();
  uint64_t file = lookup(1, "file");
  uint64_t inner = lookup(1, "inner");
  uint64_t deep = lookup(inner, "deep");
  uint64_t data = lookup(lookup(1, "tree"), "data");
  uint64_t link = lookup(inner, "link");
  uint64_t writing = open(Opcode::open, file, O_WRONLY);
  uint64_t reading = open(Opcode::open, deep, O_RDONLY);
  uint64_t of_tree = open(Opcode::open, data, O_RDWR);
  move();
  move();  // a restored device can be saved like any other
  BOOST_TEST(read(reading) == "content of share/inner/deep");
  BOOST_TEST(read(of_tree) == "content of tree/data");
  BOOST_TEST(read(writing) == "error " + std::to_string(EBADF));
  wire::WriteIn in{};
  in.fh = writing;
  in.size = 3;
  BOOST_TEST(call(Opcode::write, 1, object_bytes(in) + Bytes(3, std::byte{'X'}), sizeof(wire::WriteOut)).error == 0);
  BOOST_TEST(std::filesystem::file_size(path("share/file")) == 21u);
  for (uint64_t nodeid : {file, inner, deep, data, link}) BOOST_TEST(getattr(nodeid) == 0);
  BOOST_TEST(lookup(inner, "deep") == deep);
  BOOST_TEST(lookup(1, "readable") > std::max({file, inner, deep, data, link}));
  BOOST_TEST(open(Opcode::open, file, O_RDONLY) > std::max({writing, reading, of_tree}));
  device->remove_tree("tree");
  BOOST_TEST(getattr(data) == ENOENT);
}

BOOST_AUTO_TEST_CASE(requests_in_the_queue_and_listings_go_on) {
  start();
  uint64_t directory = open(Opcode::opendir, lookup(1, "inner"), O_RDONLY);
  uint64_t middle = 0, end = 0;
  auto names = list(directory, 0, 300, middle);
  device->pause();
  uint16_t queued = send(Opcode::getattr, 1, object_bytes(wire::GetattrIn{}), sizeof(wire::AttrOut));
  move(save());
  BOOST_TEST(wait(queued).error == 0);
  while (true) {
    auto more = list(directory, middle, 300, end);
    if (more.empty()) break;
    names.insert(names.end(), more.begin(), more.end());
    middle = end;
  }
  std::ranges::sort(names);
  BOOST_TEST(names.size() == 44u);
  BOOST_TEST((std::ranges::adjacent_find(names) == names.end()));
}

BOOST_AUTO_TEST_CASE(locks_are_held_again_and_waited_for_on) {
  start();
  uint64_t file = lookup(1, "file");
  uint64_t first = open(Opcode::open, file, O_RDWR);
  uint64_t second = open(Opcode::open, file, O_RDWR);
  uint64_t readable = open(Opcode::open, lookup(1, "readable"), O_RDONLY);
  BOOST_TEST(set_lock(first, 1, F_WRLCK, 0, 99) == 0);
  BOOST_TEST(set_lock(first, 1, F_UNLCK, 40, 59) == 0);
  BOOST_TEST(set_lock(second, 2, F_RDLCK, 45, 50) == 0);
  BOOST_TEST(set_lock(readable, 1, F_RDLCK, 0, INT64_MAX) == 0);
  BOOST_TEST(set_lock(readable, 0, F_WRLCK, 0, INT64_MAX, true) == 0);
  uint16_t waiting = send(Opcode::setlkw, 1, lock(second, 2, F_WRLCK, 60, 60), 0);
  BOOST_TEST(getattr(1) == 0);
  move();

  auto is_free = [&](const char* name, short type, off_t start, off_t length) {
    Fd host(::open(path(name).c_str(), O_RDWR));
    struct flock lock{};
    lock.l_type = type;
    lock.l_start = start;
    lock.l_len = length;
    return ::fcntl(host.get(), F_OFD_SETLK, &lock) == 0;
  };
  BOOST_TEST(!is_free("share/file", F_RDLCK, 0, 40));
  BOOST_TEST(is_free("share/file", F_WRLCK, 40, 5));
  BOOST_TEST(!is_free("share/file", F_WRLCK, 45, 6));
  BOOST_TEST(is_free("share/file", F_RDLCK, 45, 6));
  BOOST_TEST(!is_free("share/file", F_RDLCK, 60, 40));
  BOOST_TEST(!is_free("share/readable", F_WRLCK, 5000, 1));
  Fd host(::open(path("share/readable").c_str(), O_RDWR));
  BOOST_TEST(::flock(host.get(), LOCK_SH | LOCK_NB) == -1);

  BOOST_TEST(getattr(1) == 0);
  BOOST_TEST(!driver.queue(1).pop_used().has_value());  // the request still waits
  BOOST_TEST(set_lock(first, 1, F_UNLCK, 0, INT64_MAX) == 0);
  BOOST_TEST(wait(waiting).error == 0);
  BOOST_TEST(!is_free("share/file", F_WRLCK, 60, 1));
  BOOST_TEST(set_lock(second, 2, F_UNLCK, 0, INT64_MAX) == 0);
  BOOST_TEST(is_free("share/file", F_WRLCK, 0, 0));
}

BOOST_AUTO_TEST_CASE(a_lock_that_somebody_else_has_now_is_an_error_that_names_the_file) {
  start();
  uint64_t file = open(Opcode::open, lookup(1, "file"), O_RDWR);
  for (bool flock : {false, true}) {
    BOOST_TEST(set_lock(file, 1, F_WRLCK, 0, 10, flock) == 0);
    device->pause();
    State state = save();
    device.reset();
    {
      Fd host(::open(path("share/file").c_str(), O_RDWR));
      struct flock held{};
      held.l_type = F_WRLCK;
      BOOST_TEST((flock ? ::flock(host.get(), LOCK_EX) : ::fcntl(host.get(), F_OFD_SETLK, &held)) == 0);
      device = make();
      device->pause();
      StateReader reader(state);
      auto restored = device->restore(reader);
      BOOST_REQUIRE(!restored.has_value());
      BOOST_TEST(restored.error().message().find(path("share/file")) != std::string::npos, restored.error().message());
    }
    move(state);
    BOOST_TEST(set_lock(file, 1, F_UNLCK, 0, 10, flock) == 0);
  }
}

BOOST_AUTO_TEST_CASE(files_that_are_gone_or_others_now_are_stale) {
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel, std::string_view line) { lines.emplace_back(line); });
  start();
  uint64_t inner = lookup(1, "inner");
  uint64_t gone = lookup(inner, "deep"), replaced = lookup(1, "file"), kept = lookup(1, "readable");
  uint64_t handle = open(Opcode::open, replaced, O_RDWR);
  uint64_t own = open(Opcode::open, kept, O_RDONLY);
  BOOST_TEST(set_lock(handle, 1, F_WRLCK, 0, 10) == 0);
  device->pause();
  State state = save();
  std::filesystem::remove(path("share/inner/deep"));
  std::ofstream(path("share/new")) << "another";
  std::filesystem::rename(path("share/new"), path("share/file"));
  move(state);
  BOOST_TEST(getattr(gone) == ESTALE);
  BOOST_TEST(getattr(replaced) == ESTALE);
  BOOST_TEST(read(handle) == "error " + std::to_string(ESTALE));
  BOOST_TEST(set_lock(handle, 1, F_WRLCK, 0, 10) == ESTALE);
  BOOST_TEST(getattr(inner) == 0);
  BOOST_TEST(read(own) == "content of share/readable");
  BOOST_TEST(lookup(1, "file") != replaced);
  wire::ReleaseIn release{};
  release.fh = handle;
  BOOST_TEST(call(Opcode::release, replaced, object_bytes(release), 0).error == 0);
  BOOST_TEST(call(Opcode::release, replaced, object_bytes(release), 0).error == EBADF);
  move();
  BOOST_TEST(getattr(gone) == ESTALE);
  BOOST_TEST(read(own) == "content of share/readable");
  device.reset();
  set_log_sink({});
  BOOST_REQUIRE(!lines.empty());
  BOOST_TEST(lines.front() == "virtio-fs: of 6 files that the guest holds, 3 are not found again and answer ESTALE");
}

BOOST_AUTO_TEST_CASE(trees_and_options_must_be_the_same) {
  start();
  lookup(1, "tree");
  device->pause();
  State state = save();
  device->resume();
  auto refused = [&](bool readonly) {
    FsOptions options;
    options.tag = "rootfs";
    options.root = open_path("share");
    options.readonly = readonly;
    auto other = FsDevice::create(std::move(options)).value();
    if (readonly) BOOST_REQUIRE(other->add_tree("tree", open_path("tree")).has_value());
    other->pause();
    StateReader reader(state);
    return other->restore(reader).error().message();
  };
  BOOST_TEST(refused(false).find("the tree tree is not there") != std::string::npos);
  BOOST_TEST(refused(true).find("other options") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_device_that_was_restored_can_be_reset) {
  start();
  uint64_t file = lookup(1, "file");
  uint64_t handle = open(Opcode::open, file, O_RDWR);
  BOOST_TEST(set_lock(handle, 1, F_WRLCK, 0, 10) == 0);
  device->pause();
  State state = save();
  device.reset();
  device = make();
  device->pause();
  StateReader reader(state);
  BOOST_REQUIRE(device->restore(reader).has_value());
  device->reset();
  device->resume();
  driver.restart();
  driver.activate(*device);
  wire::InitIn in{.major = 7, .minor = 41, .max_readahead = 0, .flags = 0};
  BOOST_TEST(call(Opcode::init, 0, object_bytes(in), sizeof(wire::InitOut)).error == 0);
  BOOST_TEST(getattr(file) == ENOENT);
  BOOST_TEST(set_lock(open(Opcode::open, lookup(1, "file"), O_RDWR), 2, F_WRLCK, 0, 10) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

// A session without a device. Its state has something of everything.
struct Busy : Share {
  Busy() : guest(path("share")) {
    guest.on_thread([&](Session& session) { BOOST_REQUIRE(session.add_tree("tree", open_path("tree"))); });
    auto look = [&](uint64_t parent, const char* name) {
      return guest.call(Opcode::lookup, parent, string_bytes(name)).as<wire::EntryOut>().nodeid;
    };
    auto open = [&](Opcode opcode, uint64_t nodeid, uint32_t flags) {
      return guest.call(opcode, nodeid, object_bytes(wire::OpenIn{flags, 0})).as<wire::OpenOut>().fh;
    };
    uint64_t inner = look(1, "inner");
    uint64_t deep = open(Opcode::open, look(inner, "deep"), O_RDONLY);
    uint64_t file = open(Opcode::open, look(1, "file"), O_RDWR);
    open(Opcode::open, look(look(1, "tree"), "data"), O_WRONLY);
    open(Opcode::opendir, inner, O_RDONLY);
    guest.call(Opcode::setlk, 1, Machine::lock(file, 1, F_WRLCK, 0, 9));
    guest.call(Opcode::setlk, 1, Machine::lock(deep, 0, F_RDLCK, 0, INT64_MAX, true));
    guest.start(Opcode::setlkw, 1, Machine::lock(file, 2, F_WRLCK, 0, 9));
    guest.on_thread([&](Session& session) {
      StateWriter state;
      BOOST_REQUIRE(session.save(state).has_value());
      saved = state.content();
      session.reset();
    });
  }
  Result<Session::Restored> restore(std::span<const std::byte> state) {
    Result<Session::Restored> result;
    guest.on_thread([&](Session& session) {
      StateReader reader(state);
      result = session.restore(reader);
    });
    return result;
  }
  // Returns whether any node id or handle shows a file outside the share.
  bool reaches_outside() {
    for (uint64_t number = 1; number < 12; number++) {
      for (const char* name : {"secret", "share"}) {
        auto found = guest.call(Opcode::lookup, number, string_bytes(name));
        if (found.error == 0 && found.as<wire::EntryOut>().nodeid != 0) return true;
      }
      wire::ReadIn read{};
      read.fh = number;
      read.size = 100;
      auto answer = guest.call(Opcode::read, 1, object_bytes(read));
      if (answer.body.size() == 6 && std::memcmp(answer.body.data(), "secret", 6) == 0) return true;
    }
    return false;
  }
  void forget() {
    guest.on_thread([](Session& session) { session.reset(); });
  }
  // Returns the saved state with `from` replaced by `to`, which has the same length.
  State with(const std::string& from, const std::string& to) const {
    State state = saved;
    auto bytes = std::as_bytes(std::span(from));
    auto at = std::ranges::search(state, bytes);
    BOOST_REQUIRE(!at.empty());
    BOOST_REQUIRE_EQUAL(from.size(), to.size());
    std::memcpy(&*at.begin(), to.data(), to.size());
    return state;
  }

  FsGuest guest;
  State saved;
};

BOOST_FIXTURE_TEST_SUITE(hostile_states, Busy)

BOOST_AUTO_TEST_CASE(the_state_itself_is_sound) {
  auto restored = restore(saved);
  BOOST_REQUIRE_MESSAGE(restored.has_value(), (restored ? "" : restored.error().message()));
  BOOST_TEST(restored->lost == 0u);
  BOOST_TEST(restored->files == 9u);
  BOOST_TEST(!reaches_outside());
  forget();
}

BOOST_AUTO_TEST_CASE(every_truncation_is_refused) {
  testing::each_truncation(saved, [&](std::span<const std::byte> state) { BOOST_TEST(!restore(state).has_value()); });
  BOOST_TEST(guest.inode_count() == 1u);
  BOOST_TEST(guest.handle_count() == 0u);
}

BOOST_AUTO_TEST_CASE(every_flipped_bit_is_refused_or_harmless) {
  size_t accepted = 0;
  testing::each_flipped_bit(saved, [&](std::span<const std::byte> state) {
    if (!restore(state)) return;
    if (accepted++ % 16 == 0) BOOST_TEST(!reaches_outside());
    forget();
  });
  BOOST_TEST(accepted > 0u);
  BOOST_TEST(guest.inode_count() == 1u);
}

BOOST_AUTO_TEST_CASE(paths_that_lead_out_are_refused) {
  for (const char* path : {"../../secr", "/inner/dee", "inner//dee", "inner/../x", "inner/dee/", "./nner/dee"}) {
    BOOST_TEST(!restore(with("inner/deep", path)).has_value(), path);
  }
  BOOST_TEST(!restore(with("inner/deep", std::string("inner\0deep", 10))).has_value());
}

BOOST_AUTO_TEST_CASE(a_path_through_a_symbolic_link_leads_nowhere) {
  std::filesystem::create_symlink("..", path("share/outer"));
  std::ofstream(path("deep")) << "secret";
  auto restored = restore(with("inner/deep", "outer/deep"));
  BOOST_REQUIRE(restored.has_value());
  BOOST_TEST(restored->lost == 2u);
  BOOST_TEST(!reaches_outside());
  forget();
}

BOOST_AUTO_TEST_CASE(another_file_of_the_tree_is_not_taken_for_the_saved_one) {
  std::filesystem::copy(path("share/inner/deep"), path("share/inner/copy"));
  auto restored = restore(with("inner/deep", "inner/copy"));
  BOOST_REQUIRE(restored.has_value());
  BOOST_TEST(restored->lost == 2u);
  forget();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs
