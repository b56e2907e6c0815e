// SPDX-License-Identifier: Apache-2.0
// The queue and its chains against honest and hostile drivers.
#define BOOST_TEST_MODULE virtqueue
#include "devices/virtio/queue.h"

#include <sys/uio.h>

#include <boost/test/unit_test.hpp>
#include <numeric>
#include <thread>

#include "devices/virtio/testing/fake_driver.h"

namespace nacre::virtio {
namespace {

using testing::Bytes;
using testing::bytes_of;
using testing::FakeDriver;
using testing::FakeQueue;
using testing::kIndirect;
using testing::kNext;
using testing::kWrite;
using testing::Layout;

constexpr uint64_t kNoEventIdx = kFeatureVersion1 | kFeatureIndirectDesc;
constexpr uint64_t kPlain = kFeatureVersion1;

// One queue, both of its sides.
struct Pair {
  explicit Pair(uint16_t size = 8, uint64_t features = FakeDriver::Options{}.features)
      : driver({.memory_mib = 2, .features = features, .queue_sizes = {size}}),
        queue(*Queue::create(driver.memory(), driver.queue(0).config(), features)) {}

  FakeQueue& front() { return driver.queue(0); }
  uint64_t ram() const { return 0x10000000; }
  uint64_t ram_end() const { return ram() + (2 << 20); }

  // Makes the head available and takes it.
  Chain take(uint16_t head) {
    front().make_available(head);
    auto chain = queue.pop();
    BOOST_REQUIRE(chain.has_value());
    BOOST_REQUIRE(chain->has_value());
    return std::move(**chain);
  }

  // The chain at `head` breaks a rule, and so does everything after it.
  void expect_refused(uint16_t head = 0) {
    front().make_available(head);
    BOOST_TEST(!queue.pop().has_value());
    BOOST_TEST(!queue.pop().has_value());
  }

  FakeDriver driver;
  Queue queue;
};

std::string text_of(const Bytes& bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Bytes read_rest(Reader& reader) {
  Bytes all(reader.remaining());
  BOOST_REQUIRE(reader.read(all).has_value());
  return all;
}

BOOST_AUTO_TEST_SUITE(honest)

BOOST_AUTO_TEST_CASE(empty_ring_gives_nothing) {
  Pair pair;
  auto chain = pair.queue.pop();
  BOOST_REQUIRE(chain.has_value());
  BOOST_TEST(!chain->has_value());
}

BOOST_AUTO_TEST_CASE(request_and_answer) {
  for (Layout layout : {Layout::direct, Layout::indirect}) {
    Pair pair;
    uint16_t head = pair.front().add({bytes_of("head"), bytes_of("er and body")}, {3, 8}, layout);
    Chain chain = pair.take(head);
    BOOST_TEST(chain.head == head);
    BOOST_TEST(chain.reader.remaining() == 15u);
    BOOST_TEST(chain.writer.remaining() == 11u);
    BOOST_TEST(text_of(read_rest(chain.reader)) == "header and body");
    BOOST_REQUIRE(chain.writer.write(bytes_of("answer")).has_value());
    BOOST_REQUIRE(pair.queue.push(chain, static_cast<uint32_t>(chain.writer.written())).has_value());
    auto used = pair.front().pop_used();
    BOOST_REQUIRE(used.has_value());
    BOOST_TEST(used->head == head);
    BOOST_TEST(text_of(used->written) == "answer");
  }
}

BOOST_AUTO_TEST_CASE(direct_descriptors_then_an_indirect_one) {
  Pair pair;  // 2.7.5.3.2
  FakeQueue& front = pair.front();
  std::array table{testing::RawDescriptor{pair.ram() + 0x80000, 16, kNext | kWrite, 1},
                   testing::RawDescriptor{pair.ram() + 0x81000, 16, kWrite, 0}};
  front.write_descriptor(0, {pair.ram() + 0x82000, 4, kNext, 5});
  // The write flag of the indirect descriptor itself means nothing.
  front.write_descriptor(5, {front.write_table(table).value, sizeof(table), kIndirect | kWrite, 0});
  Chain chain = pair.take(0);
  BOOST_TEST(chain.reader.remaining() == 4u);
  BOOST_TEST(chain.writer.remaining() == 32u);
}

BOOST_AUTO_TEST_CASE(empty_buffers_count_for_nothing) {
  Pair pair;
  pair.front().write_descriptor(0, {0xffffffffffffffff, 0, kNext, 1});
  pair.front().write_descriptor(1, {pair.ram() + 0x80000, 5, kNext, 2});
  pair.front().write_descriptor(2, {0, 0, kWrite, 0});
  Chain chain = pair.take(0);
  BOOST_TEST(chain.reader.remaining() == 5u);
  BOOST_TEST(chain.reader.peek().size() == 1u);
  BOOST_TEST(chain.writer.remaining() == 0u);
  BOOST_TEST(chain.writer.peek().empty());
}

BOOST_AUTO_TEST_CASE(chain_as_long_as_the_queue) {
  for (Layout layout : {Layout::direct, Layout::indirect}) {
    Pair pair(4);
    Chain chain = pair.take(pair.front().add({bytes_of("a"), bytes_of("b")}, {1, 1}, layout));
    BOOST_TEST(chain.reader.remaining() == 2u);
  }
}

BOOST_AUTO_TEST_CASE(buffers_up_to_the_last_byte_of_ram) {
  Pair pair;
  pair.front().write_descriptor(0, {pair.ram_end() - 1, 1, kWrite, 0});
  BOOST_TEST(pair.take(0).writer.remaining() == 1u);
  pair.front().write_descriptor(1, {pair.ram_end() - 1, 2, kWrite, 0});
  pair.expect_refused(1);
}

BOOST_AUTO_TEST_CASE(chains_returned_in_any_order) {
  Pair pair;
  std::array heads{pair.front().add({}, {4}), pair.front().add({}, {4}), pair.front().add({}, {4})};
  pair.front().make_available(heads);
  std::vector<Chain> chains;
  for (int i = 0; i < 3; i++) chains.push_back(std::move(**pair.queue.pop()));
  for (int i : {2, 0, 1}) BOOST_REQUIRE(pair.queue.push(chains[i], 0).has_value());
  for (int i : {2, 0, 1}) BOOST_TEST(pair.front().pop_used()->head == heads[i]);
}

BOOST_AUTO_TEST_CASE(chains_returned_together) {
  Pair pair(4);
  for (uint16_t round = 0; round < 5; round++) {  // so that a batch goes across the end of the ring
    std::array<UsedChain, 3> chains;
    for (UsedChain& chain : chains) chain = {.head = pair.take(pair.front().add({}, {8})).head, .written = round};
    pair.front().set_used_event(static_cast<uint16_t>(3 * round + 2));  // for the last one
    BOOST_REQUIRE(pair.queue.push(chains).has_value());
    BOOST_TEST(pair.queue.needs_interrupt());
    for (const UsedChain& chain : chains) {
      auto used = pair.front().pop_used();
      BOOST_TEST((used.has_value() && used->head == chain.head && used->length == round));
    }
  }
}

BOOST_AUTO_TEST_CASE(indices_wrap_round_at_16_bits) {
  for (uint64_t features : {FakeDriver::Options{}.features, kNoEventIdx}) {
    Pair pair(4, features);
    for (uint32_t i = 0; i < 70000; i++) {
      Chain chain = pair.take(pair.front().add({testing::bytes_of_object(i)}, {4}));
      uint32_t seen = *chain.reader.read_object<uint32_t>();
      BOOST_REQUIRE(chain.writer.write_object(seen).has_value());
      BOOST_REQUIRE(pair.queue.push(chain, 4).has_value());
      auto used = pair.front().pop_used();
      BOOST_REQUIRE(used.has_value());
      BOOST_REQUIRE(used->written == testing::bytes_of_object(i));
    }
  }
}

BOOST_AUTO_TEST_CASE(absent_queue_is_empty_for_ever) {
  Queue queue = Queue::absent();
  BOOST_TEST(!queue.pop()->has_value());
  queue.disable_notifications();
  queue.enable_notifications();
  BOOST_TEST(!queue.needs_interrupt());
  BOOST_TEST(!queue.push(Chain(), 0).has_value());
  BOOST_TEST(queue.size() == 0u);
}

BOOST_AUTO_TEST_CASE(driver_on_another_thread) {
  Pair pair(16);
  constexpr uint32_t kRequests = 20000;
  std::thread device([&] {
    for (uint32_t done = 0; done < kRequests;) {
      auto chain = pair.queue.pop();
      if (!chain) return;
      if (!*chain) continue;
      auto value = (*chain)->reader.read_object<uint32_t>();
      if (!value || !(*chain)->writer.write_object(*value + 1) || !pair.queue.push(**chain, 4)) return;
      done++;
    }
  });
  uint32_t wrong = 0;
  for (uint32_t sent = 0, received = 0; received < kRequests;) {
    if (sent < kRequests && sent - received < 8) {
      pair.front().make_available(pair.front().add({testing::bytes_of_object(sent)}, {4}));
      sent++;
    }
    if (auto used = pair.front().pop_used()) {
      uint32_t expected = ++received;
      wrong += used->written != testing::bytes_of_object(expected);
    }
  }
  device.join();
  BOOST_TEST(wrong == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(hostile)

BOOST_AUTO_TEST_CASE(loops) {
  {
    Pair pair;
    pair.front().write_descriptor(3, {pair.ram(), 1, kNext, 3});
    pair.expect_refused(3);
  }
  {
    Pair pair;
    pair.front().write_descriptor(0, {pair.ram(), 1, kNext, 1});
    pair.front().write_descriptor(1, {pair.ram(), 0, kNext, 0});  // empty buffers count as steps as well
    pair.expect_refused();
  }
  {
    Pair pair;
    std::array table{testing::RawDescriptor{pair.ram(), 0, kNext, 1}, testing::RawDescriptor{pair.ram(), 0, kNext, 0}};
    pair.front().write_descriptor(0, {pair.front().write_table(table).value, sizeof(table), kIndirect, 0});
    pair.expect_refused();
  }
}

BOOST_AUTO_TEST_CASE(indices_out_of_range) {
  for (uint16_t index : {8, 9, 0x7fff, 0xffff}) {
    Pair next;
    next.front().write_descriptor(0, {next.ram(), 1, kNext, index});
    next.expect_refused();
    Pair head;
    head.expect_refused(index);
    Pair in_table;
    std::array table{testing::RawDescriptor{in_table.ram(), 1, kNext, index}};
    in_table.front().write_descriptor(0, {in_table.front().write_table(table).value, sizeof(table), kIndirect, 0});
    in_table.expect_refused();
  }
  // Within the queue but beyond its shorter indirect table.
  Pair pair;
  std::array table{testing::RawDescriptor{pair.ram(), 1, kNext, 2}, testing::RawDescriptor{}};
  pair.front().write_descriptor(0, {pair.front().write_table(table).value, sizeof(table), kIndirect, 0});
  pair.expect_refused();
}

BOOST_AUTO_TEST_CASE(indirect_tables) {
  std::array<testing::RawDescriptor, 9> table;
  for (uint32_t length : {0u, 1u, 15u, 17u, 9u * 16, 65536u * 16, 0xfffffff0u, 0xffffffffu}) {
    Pair pair;
    for (auto& entry : table) entry = {pair.ram(), 1, 0, 0};
    pair.front().write_descriptor(0, {pair.front().write_table(table).value, length, kIndirect, 0});
    pair.expect_refused();
  }
  auto refused = [&](uint64_t address, uint16_t flags, uint64_t features = kNoEventIdx) {
    Pair pair(8, features);
    for (auto& entry : table) entry = {pair.ram(), 1, 0, 0};
    uint64_t inside = pair.front().write_table(table).value;
    pair.front().write_descriptor(0, {address ? address : inside, 16, flags, 1});
    pair.front().write_descriptor(1, {pair.ram(), 1, 0, 0});
    pair.expect_refused();
  };
  refused(0x0fffffff, kIndirect);                  // starts outside RAM
  refused(0x10000000 + (2 << 20) - 8, kIndirect);  // ends outside RAM
  refused(0xfffffffffffffff8, kIndirect);          // wraps round
  refused(0, kIndirect | kNext);                   // 2.7.5.3.1
  refused(0, kIndirect, kPlain);                   // not negotiated
}

BOOST_AUTO_TEST_CASE(nested_indirect) {
  Pair pair;
  std::array inner{testing::RawDescriptor{pair.ram(), 1, 0, 0}};
  std::array outer{testing::RawDescriptor{pair.front().write_table(inner).value, sizeof(inner), kIndirect, 0}};
  pair.front().write_descriptor(0, {pair.front().write_table(outer).value, sizeof(outer), kIndirect, 0});
  pair.expect_refused();
}

BOOST_AUTO_TEST_CASE(direct_and_indirect_together_longer_than_the_queue) {
  Pair pair(4);
  std::array<testing::RawDescriptor, 4> table;
  for (uint16_t i = 0; i < 4; i++) {
    table[i] = {pair.ram(), 1, i < 3 ? kNext : uint16_t{0}, static_cast<uint16_t>(i + 1)};
  }
  pair.front().write_descriptor(0, {pair.ram(), 1, kNext, 1});
  pair.front().write_descriptor(1, {pair.front().write_table(table).value, sizeof(table), kIndirect, 0});
  pair.expect_refused();
}

BOOST_AUTO_TEST_CASE(buffers_outside_ram) {
  struct Bad {
    uint64_t address;
    uint32_t length;
  };
  const uint64_t ram = 0x10000000;
  for (Bad bad : {Bad{0, 1}, Bad{ram - 1, 1}, Bad{ram - 1, 2}, Bad{ram, 0xffffffff}, Bad{ram + (2 << 20), 1},
                  Bad{0xffffffffffffffff, 1}, Bad{0xffffffffffffffff, 2}, Bad{0xfffffffff0000000, 0xffffffff},
                  Bad{ram + (1ull << 63), 16}}) {
    for (uint16_t flags : {uint16_t{0}, kWrite}) {
      Pair pair;
      pair.front().write_descriptor(0, {bad.address, bad.length, flags, 0});
      pair.expect_refused();
    }
  }
}

BOOST_AUTO_TEST_CASE(readable_after_writable) {
  Pair pair;
  pair.front().write_descriptor(0, {pair.ram(), 1, kNext | kWrite, 1});
  pair.front().write_descriptor(1, {pair.ram(), 1, 0, 0});
  pair.expect_refused();
}

BOOST_AUTO_TEST_CASE(chain_of_more_than_4_gib) {
  // Memory is reserved, not touched: 3 GiB twice is one chain of 6 GiB in 3 GiB of RAM.
  FakeDriver driver({.memory_mib = 3072, .queue_sizes = {8}});
  Queue queue = *Queue::create(driver.memory(), driver.queue(0).config(), driver.features());
  uint32_t length = 3072u << 20;
  driver.queue(0).write_descriptor(0, {0x10000000, length, kNext | kWrite, 1});
  driver.queue(0).write_descriptor(1, {0x10000000, length, kWrite, 0});
  driver.queue(0).make_available(0);
  BOOST_TEST(!queue.pop().has_value());
}

BOOST_AUTO_TEST_CASE(available_index_jumps) {
  for (uint16_t index : {9, 0x7fff, 0xffff}) {
    Pair pair;
    pair.front().set_available_index(index);
    BOOST_TEST(!pair.queue.pop().has_value());
    pair.front().set_available_index(0);
    BOOST_TEST(!pair.queue.pop().has_value());  // once broken, always broken
  }
  Pair pair;  // exactly full is allowed
  for (uint16_t i = 0; i < 8; i++) pair.front().write_descriptor(i, {pair.ram(), 1, 0, 0});
  pair.front().set_available_index(8);
  for (int i = 0; i < 8; i++) BOOST_TEST(pair.queue.pop()->has_value());
  BOOST_TEST(!pair.queue.pop()->has_value());
  pair.front().set_available_index(7);  // backwards
  BOOST_TEST(!pair.queue.pop().has_value());
}

BOOST_AUTO_TEST_CASE(descriptors_changed_after_pop) {
  Pair pair;
  uint16_t head = pair.front().add({bytes_of("before")}, {6});
  Chain chain = pair.take(head);
  pair.front().write_descriptor(head, {0, 0xffffffff, kNext | kWrite, 0xffff});
  BOOST_TEST(text_of(read_rest(chain.reader)) == "before");
  BOOST_TEST(chain.writer.remaining() == 6u);
}

BOOST_AUTO_TEST_CASE(setup) {
  FakeDriver driver({.memory_mib = 2, .queue_sizes = {8}});
  const QueueConfig good = driver.queue(0).config();
  auto accepted = [&](auto change) {
    QueueConfig config = good;
    change(config);
    return Queue::create(driver.memory(), config, driver.features()).has_value();
  };
  const uint64_t end = 0x10000000 + (2 << 20);
  BOOST_TEST(accepted([](QueueConfig&) {}));
  for (uint16_t size : {0, 3, 7, 9, 0x8001, 0xffff}) {
    BOOST_TEST(!accepted([&](QueueConfig& config) { config.size = size; }));
  }
  // A descriptor table of 512 KiB fits, with it rings that begin elsewhere.
  BOOST_TEST(accepted([](QueueConfig& config) { config.size = 32768; }));
  for (uint64_t wrong : {1, 2, 4, 8}) {
    BOOST_TEST(!accepted([&](QueueConfig& config) { config.descriptors.value += wrong; }));
  }
  BOOST_TEST(!accepted([](QueueConfig& config) { config.driver_ring.value += 1; }));
  BOOST_TEST(!accepted([](QueueConfig& config) { config.device_ring.value += 2; }));
  for (uint64_t outside : {uint64_t{0}, end, uint64_t{0xfffffffffffffff0}}) {
    BOOST_TEST(!accepted([&](QueueConfig& config) { config.descriptors.value = outside; }));
    BOOST_TEST(!accepted([&](QueueConfig& config) { config.driver_ring.value = outside; }));
    BOOST_TEST(!accepted([&](QueueConfig& config) { config.device_ring.value = outside; }));
  }
  // Each part just fits, and just does not: 128, 22 and 70 bytes.
  BOOST_TEST(accepted([&](QueueConfig& config) { config.descriptors.value = end - 128; }));
  BOOST_TEST(!accepted([&](QueueConfig& config) { config.descriptors.value = end - 112; }));
  BOOST_TEST(accepted([&](QueueConfig& config) { config.driver_ring.value = end - 22; }));
  BOOST_TEST(!accepted([&](QueueConfig& config) { config.driver_ring.value = end - 20; }));
  BOOST_TEST(accepted([&](QueueConfig& config) { config.device_ring.value = end - 72; }));
  BOOST_TEST(!accepted([&](QueueConfig& config) { config.device_ring.value = end - 68; }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(notifications)

// Takes one chain and gives it back.
void serve_one(Pair& pair) {
  Chain chain = pair.take(pair.front().add({}, {1}));
  BOOST_REQUIRE(pair.queue.push(chain, 0).has_value());
  BOOST_REQUIRE(pair.front().pop_used().has_value());
}

BOOST_AUTO_TEST_CASE(interrupts_by_flag) {
  Pair pair(8, kNoEventIdx);
  BOOST_TEST(!pair.queue.needs_interrupt());  // nothing was used
  serve_one(pair);
  BOOST_TEST(pair.queue.needs_interrupt());
  BOOST_TEST(!pair.queue.needs_interrupt());
  pair.front().set_no_interrupt(true);
  serve_one(pair);
  BOOST_TEST(!pair.queue.needs_interrupt());
}

BOOST_AUTO_TEST_CASE(interrupts_by_event_index) {
  Pair pair;
  pair.front().set_used_event(0);
  serve_one(pair);
  BOOST_TEST(pair.queue.needs_interrupt());  // passed entry 0
  serve_one(pair);
  BOOST_TEST(!pair.queue.needs_interrupt());  // still asks for entry 0
  pair.front().set_used_event(4);
  serve_one(pair);
  serve_one(pair);
  BOOST_TEST(!pair.queue.needs_interrupt());
  serve_one(pair);
  BOOST_TEST(pair.queue.needs_interrupt());
}

BOOST_AUTO_TEST_CASE(event_index_wraps_round) {
  Pair pair;
  for (uint32_t i = 0; i < 65534; i++) serve_one(pair);
  pair.queue.needs_interrupt();
  pair.front().set_used_event(0);  // two entries from here, past the wrap
  serve_one(pair);
  serve_one(pair);
  BOOST_TEST(!pair.queue.needs_interrupt());
  serve_one(pair);
  BOOST_TEST(pair.queue.needs_interrupt());
  // A batch that goes all the way round passes every index, also if it ends where it began.
  for (uint32_t i = 0; i < 65536; i++) serve_one(pair);
  BOOST_TEST(pair.queue.needs_interrupt());
}

BOOST_AUTO_TEST_CASE(kicks_by_flag) {
  Pair pair(8, kNoEventIdx);
  pair.front().make_available(pair.front().add({}, {1}));
  BOOST_TEST(pair.front().kick_if_wanted());
  pair.queue.disable_notifications();
  pair.front().make_available(pair.front().add({}, {1}));
  BOOST_TEST(!pair.front().kick_if_wanted());
  pair.queue.enable_notifications();
  pair.front().make_available(pair.front().add({}, {1}));
  BOOST_TEST(pair.front().kick_if_wanted());
}

BOOST_AUTO_TEST_CASE(kicks_by_event_index) {
  Pair pair;
  FakeQueue& front = pair.front();
  front.make_available(front.add({}, {1}));
  BOOST_TEST(front.kick_if_wanted());  // a fresh ring asks for the first one
  front.make_available(front.add({}, {1}));
  BOOST_TEST(!front.kick_if_wanted());  // the device is at it already
  while (*pair.queue.pop()) {
  }
  pair.queue.enable_notifications();
  front.make_available(front.add({}, {1}));
  BOOST_TEST(front.kick_if_wanted());
  BOOST_TEST(front.available_event() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(saved_positions)

Queue make_queue(FakeDriver& driver) {
  return Queue::create(driver.memory(), driver.queue(0).config(), driver.features()).value();
}

BOOST_AUTO_TEST_CASE(a_queue_goes_on_where_it_was) {
  FakeDriver driver({.memory_mib = 1, .queue_sizes = {8}});
  FakeQueue& queue = driver.queue(0);
  Queue ring = make_queue(driver);
  for (const char* text : {"one", "two", "three"}) queue.send({bytes_of(text)}, {4});
  Chain first = std::move(**ring.pop());
  Chain second = std::move(**ring.pop());
  BOOST_REQUIRE(ring.push(second, 0).has_value());
  StateWriter saved;
  ring.state().save(saved);
  StateReader reader(saved.content());
  Queue restored = make_queue(driver);
  BOOST_REQUIRE(restored.restore(QueueState::restore(reader).value()).has_value());
  BOOST_TEST(reader.end().has_value());
  BOOST_TEST(restored.in_flight() == 1u);
  // The chain that was in flight, and the next one; the interrupt for what was pushed before is still owed.
  Chain again = restored.retake(first.head).value();
  BOOST_TEST(again.reader.remaining() == 3u);
  BOOST_TEST(again.writer.remaining() == 4u);
  BOOST_TEST((**restored.pop()).reader.remaining() == 5u);
  BOOST_TEST(restored.needs_interrupt());
  BOOST_REQUIRE(restored.push(again, 0).has_value());
  BOOST_TEST(queue.pop_used()->head == second.head);
  BOOST_TEST(queue.pop_used()->head == first.head);
}

BOOST_AUTO_TEST_CASE(positions_that_are_not_the_rings_are_refused) {
  FakeDriver driver({.memory_mib = 1, .queue_sizes = {8}});
  Queue ring = make_queue(driver);
  for (int i = 0; i < 3; i++) driver.queue(0).send({bytes_of("x")}, {});
  Chain chain = std::move(**ring.pop());
  BOOST_REQUIRE(ring.push(chain, 0).has_value());
  auto accepted = [&](uint16_t next_available, uint16_t next_used) {
    return make_queue(driver)
        .restore({.next_available = next_available, .next_used = next_used, .unsignalled = 0, .broken = false})
        .has_value();
  };
  for (uint16_t next : {1, 2, 3}) BOOST_TEST(accepted(next, 1));
  for (uint16_t next : {0, 4, 9, 0x8000, 0xffff}) BOOST_TEST(!accepted(next, 1));
  for (uint16_t used : {0, 2, 0xffff}) BOOST_TEST(!accepted(2, used));
  Queue absent = Queue::absent();
  BOOST_TEST(absent.restore({}).has_value());
  BOOST_TEST(!absent.restore({.next_available = 1, .next_used = 1, .unsignalled = 0, .broken = false}).has_value());
  BOOST_TEST(!absent.restore({.next_available = 0, .next_used = 0, .unsignalled = 1, .broken = false}).has_value());
  BOOST_TEST(!absent.needs_interrupt());
  BOOST_TEST(!absent.retake(0).has_value());
}

BOOST_AUTO_TEST_CASE(a_broken_queue_stays_broken) {
  FakeDriver driver({.memory_mib = 1, .queue_sizes = {8}});
  Queue ring = make_queue(driver);
  driver.queue(0).set_available_index(100);
  BOOST_REQUIRE(!ring.pop().has_value());
  Queue restored = make_queue(driver);
  BOOST_TEST(restored.restore(ring.state()).has_value());
  driver.queue(0).set_available_index(0);
  BOOST_TEST(!restored.pop().has_value());
  BOOST_TEST(!restored.retake(0).has_value());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(cursors)

struct Buffers {
  Bytes a = bytes_of("abc"), b = bytes_of("de"), c = bytes_of("fghi");
  std::vector<iovec> iovecs() { return {{a.data(), 3}, {nullptr, 0}, {b.data(), 2}, {c.data(), 4}}; }
};

BOOST_AUTO_TEST_CASE(reading_across_buffers) {
  Buffers buffers;
  Reader reader(buffers.iovecs());
  Bytes two(2), five(5);
  BOOST_TEST(reader.read(two).has_value());
  BOOST_TEST(text_of(two) == "ab");
  BOOST_TEST(reader.peek(2).size() == 2u);
  BOOST_TEST(reader.read(five).has_value());
  BOOST_TEST(text_of(five) == "cdefg");
  BOOST_TEST(!reader.read(five).has_value());
  BOOST_TEST(reader.remaining() == 2u);
  BOOST_TEST(!reader.read_object<uint32_t>().has_value());
  BOOST_TEST(reader.read_object<uint16_t>().has_value());
  BOOST_TEST(reader.remaining() == 0u);
  BOOST_TEST(reader.peek().empty());
  BOOST_TEST(reader.skip(0).has_value());
  BOOST_TEST(!reader.skip(1).has_value());
}

BOOST_AUTO_TEST_CASE(skipping_moves_nothing_past_the_end) {
  Buffers buffers;
  Reader reader(buffers.iovecs());
  BOOST_TEST(!reader.skip(10).has_value());
  BOOST_TEST(!reader.skip(SIZE_MAX).has_value());
  BOOST_TEST(reader.remaining() == 9u);
  BOOST_TEST(reader.skip(4).has_value());
  BOOST_TEST(text_of(read_rest(reader)) == "efghi");
}

BOOST_AUTO_TEST_CASE(splitting_a_writer) {
  Buffers buffers;
  Writer header(buffers.iovecs());
  BOOST_TEST(!header.split_after(10).has_value());
  BOOST_REQUIRE(header.write(bytes_of("1")).has_value());
  auto body = header.split_after(3);
  BOOST_REQUIRE(body.has_value());
  BOOST_TEST(header.remaining() == 3u);
  BOOST_TEST(body->remaining() == 5u);
  BOOST_TEST(body->write(bytes_of("vwxyz")).has_value());
  BOOST_TEST(!header.write(bytes_of("2345")).has_value());
  BOOST_TEST(header.write(bytes_of("234")).has_value());
  BOOST_TEST(header.written() + body->written() == 9u);
  BOOST_TEST(text_of(buffers.a) + text_of(buffers.b) + text_of(buffers.c) == "1234vwxyz");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio
