// SPDX-License-Identifier: Apache-2.0
// Fuzzes the virtio-fs device: requests, a driver that breaks its rings, resets, pauses, moves to a new device, and
// trees that come and go while the driver has always one more request.
//
// A tree change waits for the device's thread. It must be done within a bounded number of requests, however fast the
// driver makes new ones. The driver is as fast as can be: each request is a mknod, and what makes the device's nodes
// here sends the next request before it answers. What a driver does costs a bounded number of lines in the log.
#include <fcntl.h>

#include <atomic>
#include <fstream>
#include <memory>

#include "devices/virtio/fs/fs_device.h"
#include "devices/virtio/fs/wire.h"
#include "devices/virtio/testing/fake_driver.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;
using namespace nacre::virtio::fs;

constexpr size_t kMaxSteps = 60, kMaxLines = 100, kMaxFloods = 2;
// How many requests may be served while a tree change waits. A device that has turns serves some hundreds, until the
// waiting thread has the CPU.
constexpr uint64_t kMostServed = 300'000;
constexpr size_t kRequests = 1;  // the queue

testing::Bytes request(wire::Opcode opcode, uint64_t nodeid, std::span<const std::byte> body) {
  wire::InHeader header{};
  header.len = static_cast<uint32_t>(sizeof(header) + body.size());
  header.opcode = static_cast<uint32_t>(opcode);
  header.unique = 1;
  header.nodeid = nodeid;
  testing::Bytes bytes(header.len);
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::ranges::copy(body, bytes.begin() + sizeof(header));
  return bytes;
}

// Makes no nodes. While there is a flood, sends one more request each time that it is asked. The driver belongs to the
// device's thread then: the other thread waits for the device.
class Flood final : public NodeMaker {
 public:
  explicit Flood(testing::FakeDriver& driver) : driver_(driver) {
    wire::MknodIn in{.mode = S_IFCHR | 0600, .rdev = 0x103, .umask = 0, .padding = 0};
    testing::Bytes body = testing::bytes_of_object(in);
    for (char c : std::string_view("node\0", 5)) body.push_back(std::byte(c));
    request_ = request(wire::Opcode::mknod, wire::kRootId, body);
  }
  OrErrno<void> make(int, const char*, const DeviceNode&) override {
    if (on_) {
      if (++served_ > kMostServed) on_ = false;
      while (driver_.queue(kRequests).pop_used()) {
      }
      send();
    }
    return errno_of(EPERM);
  }
  void send() { driver_.queue(kRequests).send({request_}, {256}); }
  void begin() {
    served_ = 0;
    on_ = true;
  }
  void end() { fuzz::check(on_.exchange(false), "a tree change waits for as long as the driver has requests"); }

 private:
  testing::FakeDriver& driver_;
  testing::Bytes request_;
  std::atomic<bool> on_ = false;
  uint64_t served_ = 0;
};

struct World {
  World() {
    std::filesystem::create_directories(top / "root");
    std::filesystem::create_directories(top / "tree");
    std::ofstream(top / "root/f") << "content";
    make_device();
    start();
  }
  ~World() { device->reset(); }

  Fd open(std::string_view name) const { return Fd(::open((top / name).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)); }
  void make_device() {
    FsOptions options;
    options.tag = "share";
    options.root = open("root");
    options.node_maker = &flood;
    device = FsDevice::create(std::move(options)).value();
  }
  void start() {
    driver.restart();
    driver.activate(*device);
    wire::InitIn init{.major = 7, .minor = 41, .max_readahead = 0, .flags = 0};
    auto view = std::as_bytes(std::span(&init, 1));
    driver.queue(kRequests).send({request(wire::Opcode::init, 0, view)}, {256});
  }
  void restart() {
    device->reset();
    start();
  }
  void change_tree() {
    if (added) {
      device->remove_tree("tree");
    } else {
      fuzz::check(device->add_tree("tree", open("tree")).has_value(), "a tree cannot be added");
    }
    added = !added;
  }
  void change_tree_in_flood() {
    if (floods++ >= kMaxFloods) return change_tree();
    restart();  // the rings as they should be
    device->pause();
    for (int i = 0; i < 8; i++) flood.send();
    flood.begin();
    device->resume();
    change_tree();
    flood.end();
    device->pause();  // the driver is this thread's again
    device->resume();
  }
  void move() {
    device->pause();
    StateWriter state;
    fuzz::check(device->save(state).has_value(), "a device cannot be saved");
    auto old = std::move(device);
    make_device();
    if (added) fuzz::check(device->add_tree("tree", open("tree")).has_value(), "a tree cannot be added");
    device->pause();
    StateReader reader(state.content());
    bool restored = device->restore(reader) && device->activate(driver.make_activation());
    device->resume();
    old->reset();
    if (!restored) restart();
  }

  const fuzz::Scratch top;
  testing::FakeDriver driver{{.memory_mib = 1, .queue_sizes = {16, 64}}};
  Flood flood{driver};
  std::unique_ptr<FsDevice> device;
  bool added = false;
  size_t floods = 0;
};

void break_ring(World& world, fuzz::Input& input) {
  testing::FakeQueue& queue = world.driver.queue(input.take<uint8_t>() % 2);
  uint64_t base = world.driver.memory().regions().front().start.value;
  testing::RawDescriptor descriptor{.address = base + uint64_t{input.take<uint16_t>()} * 16,
                                    .length = input.take<uint16_t>(),
                                    .flags = input.take<uint16_t>(),
                                    .next = input.take<uint8_t>()};
  uint16_t index = input.take<uint8_t>() % queue.config().size;
  queue.write_descriptor(index, descriptor);
  if (input.take<uint8_t>() & 1) queue.set_available_index(input.take<uint16_t>());
  queue.make_available(index);
  queue.kick();
}

void step(World& world, fuzz::Input& input) {
  switch (input.take<uint8_t>() % 10) {
    case 0:
      return world.restart();
    case 1:
      return world.move();
    case 2:
      return world.change_tree();
    case 3:
      return world.change_tree_in_flood();
    case 4:
      return break_ring(world, input);
    case 5:
      world.device->pause();
      return world.device->resume();
    case 6:
      // A driver that breaks its ring and begins anew, for ever.
      for (int i = 0; i < 20; i++) {
        world.driver.queue(kRequests).set_available_index(0x7fff);
        world.driver.queue(kRequests).kick();
        world.restart();
      }
      return;
    default: {
      size_t queue = input.take<uint8_t>() % 2;
      auto opcode = static_cast<wire::Opcode>(input.take<uint8_t>() % 60);
      if (opcode == wire::Opcode::syncfs || opcode == wire::Opcode::fallocate) return;
      uint64_t nodeid = input.take<uint8_t>() % 4;
      auto body = input.bytes(input.take<uint8_t>());
      while (world.driver.queue(queue).pop_used()) {
      }
      world.driver.queue(queue).send({request(opcode, nodeid, body)}, {uint32_t{input.take<uint8_t>()} * 4});
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t lines = fuzz::log_lines();
  fuzz::Input input(data, size);
  World world;
  for (size_t i = 0; i < kMaxSteps && !input.empty(); i++) {
    try {
      step(world, input);
    } catch (const std::logic_error&) {
      // The driver has nothing left to send with, or meets its own bad descriptors.
      world.restart();
    }
  }
  fuzz::check(fuzz::log_lines() - lines <= kMaxLines, "a driver can write as many lines to the log as it likes");
  return 0;
}
