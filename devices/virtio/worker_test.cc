// SPDX-License-Identifier: Apache-2.0
// The turns that a worker gives a device on a loop.
#define BOOST_TEST_MODULE worker
#include "devices/virtio/worker.h"

#include <boost/test/unit_test.hpp>
#include <stdexcept>

#include "devices/virtio/testing/fake_driver.h"

namespace nacre::virtio {
namespace {

// Keeps the chains of two queues until it is told to complete them.
struct Keeper final : DeviceWorker::Client {
  Result<void> started() override {
    starts++;
    return {};
  }
  Result<bool> turn() override {
    turns++;
    bool more = false;
    for (size_t i = 0; i < worker->queue_count(); i++) {
      size_t served = TRY(worker->serve(i, budget, [&](Chain chain) { kept.emplace_back(i, std::move(chain)); }));
      more |= served == budget;
    }
    return more;
  }
  void broken() override { breaks++; }
  void stopped() override {
    stops++;
    kept.clear();
  }
  void complete(size_t index) {
    auto& [queue, chain] = kept.at(index);
    worker->complete(queue, chain, 0);
    worker->signal(queue);
    kept.erase(kept.begin() + static_cast<ptrdiff_t>(index));
  }

  std::unique_ptr<DeviceWorker> worker;
  std::vector<std::pair<size_t, Chain>> kept;
  size_t budget = 4;
  int starts = 0, turns = 0, breaks = 0, stops = 0;
};

struct Fixture {
  Fixture() { keeper.worker = DeviceWorker::create(*loop, "keeper", keeper).value(); }
  void turn() { BOOST_REQUIRE(loop->run_once(0).has_value()); }
  void activate() { BOOST_REQUIRE(keeper.worker->activate(driver.make_activation()).has_value()); }

  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  testing::FakeDriver driver{{.memory_mib = 1, .queue_sizes = {16, 16}}};
  Keeper keeper;
};

BOOST_FIXTURE_TEST_SUITE(worker, Fixture)

BOOST_AUTO_TEST_CASE(what_is_there_is_served_at_once_and_the_rest_by_the_budget) {
  // Without a kick, so that every further turn is due to the budget.
  auto add = [&](size_t index) {
    driver.queue(index).make_available(driver.queue(index).add({testing::bytes_of("x")}, {}));
  };
  for (int i = 0; i < 10; i++) add(0);
  add(1);
  activate();
  BOOST_TEST(keeper.kept.size() == 5u);  // a full queue keeps nobody else from his turn
  turn();
  BOOST_TEST(keeper.kept.size() == 9u);
  turn();
  BOOST_TEST(keeper.kept.size() == 11u);
  int turns = keeper.turns;
  turn();
  BOOST_TEST(keeper.turns <= turns + 1);
  turn();
  turns = keeper.turns;
  turn();
  BOOST_TEST(keeper.turns == turns);  // nothing to do, nothing done
}

BOOST_AUTO_TEST_CASE(chains_are_completed_in_any_order) {
  activate();
  uint16_t first = driver.queue(0).send({testing::bytes_of("x")}, {});
  uint16_t second = driver.queue(0).send({testing::bytes_of("y")}, {});
  turn();
  BOOST_REQUIRE(keeper.kept.size() == 2u);
  keeper.complete(1);
  keeper.complete(0);
  BOOST_TEST(driver.queue(0).pop_used()->head == second);
  BOOST_TEST(driver.queue(0).pop_used()->head == first);
  BOOST_TEST(driver.interrupt().used_count() > 0u);
}

BOOST_AUTO_TEST_CASE(a_broken_queue_ends_the_work_until_the_reset) {
  activate();
  driver.queue(1).send({testing::bytes_of("kept")}, {});
  turn();
  driver.queue(0).set_available_index(1000);
  driver.queue(0).kick();
  turn();
  BOOST_TEST(driver.interrupt().broken_count() == 1u);
  BOOST_TEST(keeper.breaks == 1);
  BOOST_TEST(!keeper.worker->is_running());
  keeper.complete(0);  // goes nowhere
  BOOST_TEST(!driver.queue(1).pop_used().has_value());
  int turns = keeper.turns;
  driver.queue(1).kick();
  keeper.worker->wake();
  turn();
  BOOST_TEST(keeper.turns == turns);
  keeper.worker->reset();
  BOOST_TEST((keeper.breaks == 1 && keeper.stops == 1));
  driver.restart();
  activate();
  driver.queue(0).send({testing::bytes_of("x")}, {});
  turn();
  BOOST_TEST(keeper.kept.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_paused_worker_has_no_turns_and_loses_no_kick) {
  activate();
  keeper.worker->pause();
  int turns = keeper.turns;
  driver.queue(0).send({testing::bytes_of("x")}, {});
  keeper.worker->wake();
  turn();
  BOOST_TEST(keeper.turns == turns);
  keeper.worker->resume();
  BOOST_TEST(keeper.kept.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_reset_of_a_device_without_a_driver_stops_nothing) {
  keeper.worker->reset();
  BOOST_TEST(keeper.stops == 0);
  activate();
  BOOST_TEST(!keeper.worker->activate(driver.make_activation()).has_value());
  keeper.worker->reset();
  BOOST_TEST((keeper.starts == 1 && keeper.stops == 1));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::virtio
