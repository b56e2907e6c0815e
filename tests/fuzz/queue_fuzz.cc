// SPDX-License-Identifier: Apache-2.0
// Fuzzes a virtqueue whose driver writes the rings while the device reads them.
//
// An input begins with what the driver writes, in turns for ever: each a place near the rings and 16 bits. Then come
// the steps of the device. If bit 0 of the first byte is set, the driver is a thread of its own; if not, it writes
// between the steps, which is the same in every run. Whatever a chain has lies in guest memory, and no chain is longer
// than the queue.
#include <atomic>
#include <thread>

#include "devices/virtio/queue.h"
#include "devices/virtio/testing/fake_driver.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;

constexpr uint16_t kSize = 16;
constexpr size_t kMaxSteps = 100, kMaxCopied = 1 << 16;

struct Scribble {
  uint16_t place;  // in units of two bytes, from the beginning of the descriptor table
  uint16_t value;
};

// Writes guest memory as a guest's CPU does, at any moment.
class Scribbler {
 public:
  Scribbler(const GuestMemory& memory, GuestAddress rings, std::vector<Scribble> scribbles)
      : rings_(memory.slice(rings, kPlaces * sizeof(uint16_t)).value()), scribbles_(std::move(scribbles)) {}

  void write_next() {
    if (scribbles_.empty()) return;
    const Scribble& scribble = scribbles_[next_++ % scribbles_.size()];
    auto* at = static_cast<uint16_t*>(rings_.iov_base) + scribble.place % kPlaces;
    std::atomic_ref(*at).store(scribble.value, std::memory_order_relaxed);
  }
  void run(std::atomic<bool>& started, const std::atomic<bool>& stop) {
    for (started = true; !stop;) write_next();
  }

 private:
  // The rings have half a kilobyte, and the first buffers follow.
  static constexpr size_t kPlaces = 512;
  iovec rings_;
  std::vector<Scribble> scribbles_;
  size_t next_ = 0;
};

struct Device {
  explicit Device(testing::FakeDriver& driver)
      : memory(driver.memory()),
        queue(Queue::create(memory, driver.queue(0).config(), driver.features()).value()),
        all(memory.regions().front().mapping.bytes()) {}

  // Returns how many bytes there are, all in guest memory.
  size_t check_buffers(const std::vector<iovec>& buffers) const {
    size_t total = 0;
    for (const iovec& buffer : buffers) {
      auto* begin = static_cast<std::byte*>(buffer.iov_base);
      bool inside = begin >= all.data() && buffer.iov_len <= all.size() &&
                    static_cast<size_t>(begin - all.data()) <= all.size() - buffer.iov_len;
      fuzz::check(inside, "a buffer lies beside guest memory");
      total += buffer.iov_len;
    }
    return total;
  }
  void check_chain(const Chain& chain) const {
    auto readable = chain.reader.peek(), writable = chain.writer.peek();
    fuzz::check(readable.size() + writable.size() <= kSize, "a chain is longer than the queue");
    fuzz::check(check_buffers(readable) == chain.reader.remaining(), "a reader has another size than its buffers");
    fuzz::check(check_buffers(writable) == chain.writer.remaining(), "a writer has another size than its buffers");
    fuzz::check(chain.reader.remaining() + chain.writer.remaining() <= UINT32_MAX, "a chain has more than 4 GiB");
  }
  void use(Chain chain, fuzz::Input& input) {
    std::vector<std::byte> bytes(std::min<size_t>(input.take<uint16_t>(), kMaxCopied));
    size_t before = chain.reader.remaining();
    bool read = chain.reader.read(bytes).has_value();
    fuzz::check(read == (bytes.size() <= before), "a reader reads more or less than it has");
    fuzz::check(chain.reader.remaining() == before - (read ? bytes.size() : 0), "a reader is at another place");
    size_t room = chain.writer.remaining(), head = input.take<uint8_t>();
    auto body = chain.writer.split_after(head);
    fuzz::check(body.has_value() == (head <= room), "a writer is split beyond its end");
    if (body) {
      fuzz::check(body->remaining() == room - head && chain.writer.remaining() == head, "a split writer loses bytes");
      check_buffers(body->peek(input.take<uint8_t>()));
      (void)body->write(bytes);
    }
    auto written = static_cast<uint32_t>(chain.writer.written());
    fuzz::check(queue.push(chain, written).has_value(), "a chain cannot be given back");
  }
  void step(fuzz::Input& input) {
    switch (input.take<uint8_t>() % 6) {
      case 0:
        (void)queue.needs_interrupt();
        return;
      case 1:
        return queue.enable_notifications();
      case 2:
        return queue.disable_notifications();
      case 3: {
        auto head = input.take<uint8_t>();
        auto chain = queue.retake(head);
        if (chain) check_chain(*chain);
        return;
      }
      default: {
        auto chain = queue.pop();
        fuzz::check(!broken || !chain, "a queue that is broken gives a chain");
        broken = !chain;
        if (!chain || !*chain) return;
        check_chain(**chain);
        fuzz::check((**chain).head < kSize, "a chain's head is beyond the queue");
        fuzz::check(queue.in_flight() <= kSize + 1, "more chains are taken than the queue has");
        use(std::move(**chain), input);
      }
    }
  }

  const GuestMemory& memory;
  Queue queue;
  std::span<std::byte> all;
  bool broken = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  auto kind = input.take<uint8_t>();
  testing::FakeDriver::Options options{.memory_mib = 1, .queue_sizes = {kSize}};
  if (kind & 2) options.features = kFeatureVersion1;
  testing::FakeDriver driver(options);
  for (uint32_t i = 0; i < 4; i++) {
    auto layout = kind & 4 ? testing::Layout::indirect : testing::Layout::direct;
    driver.queue(0).send({testing::bytes_of("a header"), testing::bytes_of("a request")}, {64, i}, layout);
  }
  std::vector<Scribble> scribbles(input.take<uint8_t>() % 32);
  for (Scribble& scribble : scribbles) scribble = {.place = input.take<uint16_t>(), .value = input.take<uint16_t>()};

  Device device(driver);
  Scribbler scribbler(driver.memory(), driver.queue(0).config().descriptors, std::move(scribbles));
  std::atomic<bool> started = !(kind & 1), stop = false;
  std::jthread thread;
  if (kind & 1) thread = std::jthread([&] { scribbler.run(started, stop); });
  while (!started) std::this_thread::yield();  // the steps take less time than the thread's beginning
  for (size_t i = 0; i < kMaxSteps && !input.empty(); i++) {
    if (!(kind & 1)) scribbler.write_next();
    device.step(input);
  }
  stop = true;
  return 0;
}
