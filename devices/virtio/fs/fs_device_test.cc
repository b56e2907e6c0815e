// SPDX-License-Identifier: Apache-2.0
// Tests the device on virtqueues: the worker thread, resets, and drivers that break the rules of the rings.
#include "devices/virtio/fs/fs_device.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/log.h"
#include "devices/virtio/fs/testing/fs_guest.h"
#include "devices/virtio/testing/fake_driver.h"

namespace nacre::virtio::fs::fs_device_test {
namespace {

using testing::FakeDriver;
using testing::Layout;
using testing::RawDescriptor;
using wire::Opcode;

struct Machine {
  Machine() { std::ofstream(directory.path() + "/file") << "content"; }

  void create(bool readonly = false) {
    FsOptions options;
    options.tag = "rootfs";
    options.root = directory.open();
    options.readonly = readonly;
    device = FsDevice::create(std::move(options)).value();
  }
  void start() {
    if (!device) create();
    driver.activate(*device);
    wire::InitIn in{.major = 7, .minor = 41, .max_readahead = 0, .flags = 0};
    BOOST_REQUIRE_EQUAL(call(Opcode::init, 0, object_bytes(in), sizeof(wire::InitOut)).error, 0);
  }
  Bytes request(Opcode opcode, uint64_t nodeid, const Bytes& body) {
    wire::InHeader header{.len = static_cast<uint32_t>(sizeof(wire::InHeader) + body.size()),
                          .opcode = static_cast<uint32_t>(opcode),
                          .unique = ++unique,
                          .nodeid = nodeid,
                          .uid = uid,
                          .gid = 0,
                          .pid = 1,
                          .total_extlen = 0,
                          .padding = 0};
    return object_bytes(header) + body;
  }
  FsGuest::Answer call(Opcode opcode, uint64_t nodeid, const Bytes& body, uint32_t room,
                       Layout layout = Layout::indirect) {
    auto used = driver.queue(1).request({request(opcode, nodeid, body)}, {16, room}, layout);
    BOOST_REQUIRE(used);
    FsGuest::Answer answer;
    BOOST_REQUIRE_GE(used->written.size(), sizeof(wire::OutHeader));
    wire::OutHeader header;
    std::memcpy(&header, used->written.data(), sizeof(header));
    BOOST_TEST(header.len == used->length);
    BOOST_TEST(header.unique == unique);
    answer.replied = true;
    answer.error = -header.error;
    answer.body.assign(used->written.begin() + sizeof(header), used->written.end());
    return answer;
  }
  wire::EntryOut lookup(const std::string& name) {
    auto answer = call(Opcode::lookup, 1, string_bytes(name), sizeof(wire::EntryOut));
    BOOST_REQUIRE_EQUAL(answer.error, 0);
    return answer.as<wire::EntryOut>();
  }

  ScratchDirectory directory;
  FakeDriver driver{{.queue_sizes = {16, 64}}};
  std::unique_ptr<FsDevice> device;
  uint64_t unique = 0;
  uint32_t uid = 0;
};

BOOST_FIXTURE_TEST_SUITE(device, Machine)

BOOST_AUTO_TEST_CASE(configuration_space) {
  create();
  BOOST_TEST(device->type() == 26u);
  std::array<std::byte, 64> config;
  device->read_config(0, config);
  BOOST_TEST(std::memcmp(config.data(), "rootfs\0\0", 8) == 0);
  uint32_t queues;
  std::memcpy(&queues, config.data() + 36, 4);
  BOOST_TEST(queues == 1u);
  BOOST_TEST((config[63] == std::byte{0}));
  std::array<std::byte, 4> beyond;
  beyond.fill(std::byte{1});
  device->read_config(UINT64_MAX, beyond);
  BOOST_TEST((beyond[0] == std::byte{0}));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_shared) {
  auto make = [](std::string tag, Fd root) {
    FsOptions options;
    options.tag = std::move(tag);
    options.root = std::move(root);
    return FsDevice::create(std::move(options)).has_value();
  };
  BOOST_TEST(make(std::string(36, 't'), directory.open()));
  BOOST_TEST(!make(std::string(37, 't'), directory.open()));
  BOOST_TEST(!make("", directory.open()));
  BOOST_TEST(!make("t", Fd()));
  BOOST_TEST(!make("t", Fd(::open((directory.path() + "/file").c_str(), O_PATH))));
}

BOOST_AUTO_TEST_CASE(reads_and_writes) {
  start();
  auto file = lookup("file");
  BOOST_TEST(file.attr.size == 7u);
  auto open = call(Opcode::open, file.nodeid, object_bytes(wire::OpenIn{O_RDWR, 0}), sizeof(wire::OpenOut));
  wire::WriteIn write{};
  write.fh = open.as<wire::OpenOut>().fh;
  write.size = 300000;
  Bytes data(300000, std::byte{'w'});
  BOOST_TEST(
      call(Opcode::write, file.nodeid, object_bytes(write) + data, sizeof(wire::WriteOut), Layout::direct).error == 0);
  wire::ReadIn read{};
  read.fh = write.fh;
  read.size = 1 << 20;
  auto answer = call(Opcode::read, file.nodeid, object_bytes(read), 1 << 20);
  BOOST_TEST((answer.body == data));
}

BOOST_AUTO_TEST_CASE(forget_has_no_reply) {
  start();
  auto file = lookup("file");
  auto used = driver.queue(0).request({request(Opcode::forget, file.nodeid, object_bytes(wire::ForgetIn{1}))}, {});
  BOOST_REQUIRE(used);
  BOOST_TEST(used->length == 0u);
  BOOST_TEST(call(Opcode::getattr, file.nodeid, object_bytes(wire::GetattrIn{}), 104).error == ENOENT);
}

BOOST_AUTO_TEST_CASE(many_requests_at_once) {
  start();
  for (int round = 0; round < 50; round++) {
    std::vector<uint16_t> heads;
    for (int i = 0; i < 30; i++) {
      heads.push_back(driver.queue(1).add({request(Opcode::lookup, 1, string_bytes("file"))},
                                          {sizeof(wire::OutHeader) + sizeof(wire::EntryOut)}, Layout::indirect));
    }
    driver.queue(1).make_available(heads);
    driver.queue(1).kick_if_wanted();
    for (size_t i = 0; i < heads.size(); i++) {
      auto used = driver.queue(1).wait_used();
      BOOST_REQUIRE(used);
      BOOST_TEST(used->length == sizeof(wire::OutHeader) + sizeof(wire::EntryOut));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_lock_waits_and_is_granted) {
  start();
  auto file = lookup("file");
  auto open = call(Opcode::open, file.nodeid, object_bytes(wire::OpenIn{O_RDWR, 0}), sizeof(wire::OpenOut));
  wire::LockIn lock{};
  lock.fh = open.as<wire::OpenOut>().fh;
  lock.owner = 1;
  lock.lock = {.start = 0, .end = INT64_MAX, .type = F_WRLCK, .pid = 1};
  Fd host(::open((directory.path() + "/file").c_str(), O_RDWR));
  struct flock held{};
  held.l_type = F_WRLCK;
  BOOST_REQUIRE_EQUAL(::fcntl(host.get(), F_OFD_SETLK, &held), 0);
  uint16_t head = driver.queue(1).send({request(Opcode::setlkw, file.nodeid, object_bytes(lock))}, {16});
  BOOST_TEST(call(Opcode::getattr, file.nodeid, object_bytes(wire::GetattrIn{}), 104).error == 0);
  held.l_type = F_UNLCK;
  BOOST_REQUIRE_EQUAL(::fcntl(host.get(), F_OFD_SETLK, &held), 0);
  auto used = driver.queue(1).wait_used_head(head);
  BOOST_REQUIRE(used);
  wire::OutHeader header;
  std::memcpy(&header, used->written.data(), sizeof(header));
  BOOST_TEST(header.error == 0);
}

BOOST_AUTO_TEST_CASE(resets_and_starts_again) {
  start();
  auto file = lookup("file");
  // A request that waits for a lock is dropped and not answered.
  auto open = call(Opcode::open, file.nodeid, object_bytes(wire::OpenIn{O_RDWR, 0}), sizeof(wire::OpenOut));
  wire::LockIn lock{};
  lock.fh = open.as<wire::OpenOut>().fh;
  lock.lock = {.start = 0, .end = 10, .type = F_WRLCK, .pid = 1};
  BOOST_TEST(call(Opcode::setlk, file.nodeid, object_bytes(lock), 0).error == 0);
  lock.owner = 2;
  driver.queue(1).send({request(Opcode::setlkw, file.nodeid, object_bytes(lock))}, {16});
  device->reset();
  device->reset();
  driver.restart();
  start();
  BOOST_TEST(call(Opcode::getattr, file.nodeid, object_bytes(wire::GetattrIn{}), 104).error == ENOENT);
  BOOST_TEST(lookup("file").attr.size == 7u);
  Fd host(::open((directory.path() + "/file").c_str(), O_RDWR));
  struct flock free{};
  free.l_type = F_WRLCK;
  BOOST_TEST(::fcntl(host.get(), F_OFD_SETLK, &free) == 0);
}

// vCPU threads have already given up their privileges when the guest activates the device.
BOOST_AUTO_TEST_CASE(activated_by_a_thread_without_privileges) {
  create();
  std::thread([&] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2]{};
    BOOST_REQUIRE_EQUAL(::syscall(SYS_capset, &header, none), 0);
    start();
  }).join();
  uid = 1234;
  wire::CreateIn in{O_RDWR | O_CREAT | O_EXCL, 0640, 0, 0};
  auto answer = call(Opcode::create, 1, object_bytes(in) + string_bytes("new"), sizeof(wire::CreateOut));
  BOOST_TEST(answer.error == 0);
  BOOST_TEST(answer.as<wire::CreateOut>().entry.attr.uid == 1234u);
}

BOOST_AUTO_TEST_CASE(a_driver_that_breaks_the_rings) {
  start();
  // This chain loops.
  driver.queue(1).write_descriptor(3, {.address = 0x10000000, .length = 16, .flags = testing::kNext, .next = 3});
  driver.queue(1).make_available(3);
  driver.queue(1).kick();
  BOOST_TEST(driver.interrupt().wait_broken());
  device->reset();
  driver.restart();
  start();
  BOOST_TEST(lookup("file").attr.size == 7u);
}

// A driver that refills the request queue as fast as the device empties it, for a bounded number of requests. If
// something else is served while requests are left, it did not have to wait for the end of the flood.
struct Flood {
  static constexpr uint64_t kRequests = 6000;
  static constexpr uint16_t kDepth = 60;

  explicit Flood(Machine& machine) : queue(machine.driver.queue(1)) {
    for (int i = 0; i < 400; i++) std::ofstream(machine.directory.path() + "/" + std::to_string(i));
    auto open = machine.call(Opcode::opendir, 1, object_bytes(wire::OpenIn{O_RDONLY, 0}), sizeof(wire::OpenOut));
    wire::ReadIn read{};
    read.fh = open.as<wire::OpenOut>().fh;
    read.size = 16 << 10;
    for (int i = 0; i < kDepth; i++) {
      heads.push_back(
          queue.add({machine.request(Opcode::readdir, 1, object_bytes(read))}, {16 + read.size}, Layout::indirect));
    }
    first_used = queue.used_index();
    filler = std::jthread([this] { fill(); });
    while (added < 2 * kDepth) std::this_thread::yield();
  }
  void fill() {
    queue.make_available(heads);
    queue.kick();
    added = kDepth;
    while (added < kRequests) {
      auto in_flight = static_cast<uint16_t>(queue.available_index() - queue.used_index());
      if (in_flight >= kDepth) continue;
      queue.make_available(heads[added++ % kDepth]);
    }
    is_over = true;
  }

  testing::FakeQueue& queue;
  std::vector<uint16_t> heads;
  uint16_t first_used = 0;
  std::atomic<uint64_t> added = 0;
  std::atomic<bool> is_over = false;
  std::jthread filler;
};

BOOST_AUTO_TEST_CASE(tree_changes_and_resets_are_served_during_a_flood_of_requests) {
  start();
  Flood flood(*this);
  BOOST_TEST(device->add_tree("tree", directory.open()).has_value());
  BOOST_TEST(!flood.is_over);
  device->remove_tree("tree");
  BOOST_TEST(!flood.is_over);
  device->reset();
  BOOST_TEST(!flood.is_over);
  flood.added = Flood::kRequests;
}

BOOST_AUTO_TEST_CASE(the_hiprio_queue_is_served_during_a_flood_of_requests) {
  start();
  auto file = lookup("file");
  Flood flood(*this);
  auto used = driver.queue(0).request({request(Opcode::forget, file.nodeid, object_bytes(wire::ForgetIn{1}))}, {});
  BOOST_TEST(used.has_value());
  BOOST_TEST(!flood.is_over);
  flood.added = Flood::kRequests;
}

BOOST_AUTO_TEST_CASE(a_lock_is_granted_during_a_flood_of_requests) {
  start();
  auto file = lookup("file");
  auto open = call(Opcode::open, file.nodeid, object_bytes(wire::OpenIn{O_RDWR, 0}), sizeof(wire::OpenOut));
  wire::LockIn lock{};
  lock.fh = open.as<wire::OpenOut>().fh;
  lock.owner = 1;
  lock.lock = {.start = 0, .end = INT64_MAX, .type = F_WRLCK, .pid = 1};
  Fd host(::open((directory.path() + "/file").c_str(), O_RDWR));
  struct flock held{};
  held.l_type = F_WRLCK;
  BOOST_REQUIRE_EQUAL(::fcntl(host.get(), F_OFD_SETLK, &held), 0);
  driver.queue(0).send({request(Opcode::setlkw, file.nodeid, object_bytes(lock))}, {16});
  BOOST_TEST(call(Opcode::getattr, file.nodeid, object_bytes(wire::GetattrIn{}), 104).error == 0);
  Flood flood(*this);
  held.l_type = F_UNLCK;
  BOOST_REQUIRE_EQUAL(::fcntl(host.get(), F_OFD_SETLK, &held), 0);
  auto used = driver.queue(0).wait_used();
  BOOST_TEST(used.has_value());
  BOOST_TEST(!flood.is_over);
  flood.added = Flood::kRequests;
}

BOOST_AUTO_TEST_CASE(a_driver_that_breaks_the_rings_again_and_again_does_not_fill_the_log) {
  constexpr int kRounds = 200;
  std::atomic<int> lines = 0;
  set_log_sink([&](LogLevel, std::string_view) { lines++; });
  auto started = std::chrono::steady_clock::now();
  create();
  for (int i = 0; i < kRounds; i++) {
    driver.activate(*device);
    driver.queue(0).set_available_index(5000);
    driver.queue(0).kick();
    BOOST_REQUIRE(driver.interrupt().wait_broken());
    device->reset();
    driver.restart();
  }
  device.reset();
  set_log_sink({});
  BOOST_TEST(lines > 0);
  // A LogLimiter lets eleven lines through in ten seconds. The transport has one limiter, and the device has another.
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - started).count();
  BOOST_TEST(lines <= 2 * 11 * (seconds / 10 + 2));
}

BOOST_AUTO_TEST_CASE(chains_of_odd_shapes) {
  start();
  // These chains have nothing to read, nothing to write, or little of both.
  for (auto [readable, writable] : {std::pair<size_t, uint32_t>{0, 64}, {64, 0}, {1, 1}, {40, 15}, {40, 16}}) {
    std::vector<Bytes> in;
    if (readable > 0) in.emplace_back(readable);
    std::vector<uint32_t> out;
    if (writable > 0) out.push_back(writable);
    auto used = driver.queue(1).request(in, out);
    BOOST_REQUIRE(used);
    BOOST_TEST((used->length == 0 || used->length == 16));
  }
  BOOST_TEST(lookup("file").attr.size == 7u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio::fs::fs_device_test
