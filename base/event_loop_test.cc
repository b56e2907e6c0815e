// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE base
#include "base/event_loop.h"

#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <thread>

namespace nacre {
namespace {

void signal(const Fd& event) {
  uint64_t one = 1;
  BOOST_REQUIRE(::write(event.get(), &one, sizeof(one)) == sizeof(one));
}

struct Fixture {
  std::unique_ptr<EventLoop> loop = EventLoop::create().value();
  Fd first = make_eventfd().value();
  Fd second = make_eventfd().value();
};

BOOST_FIXTURE_TEST_SUITE(event_loop, Fixture)

BOOST_AUTO_TEST_CASE(calls_what_is_ready) {
  int calls = 0;
  uint32_t seen = 0;
  BOOST_TEST(loop->add(first.get(), EPOLLIN, [&](uint32_t events) { calls++, seen = events; }).has_value());
  BOOST_TEST(loop->run_once(0).has_value());
  BOOST_TEST(calls == 0);
  signal(first);
  BOOST_TEST(loop->run_once(-1).has_value());
  BOOST_TEST(calls == 1);
  BOOST_TEST(seen == static_cast<uint32_t>(EPOLLIN));
  BOOST_TEST(loop->run_once(0).has_value());  // level-triggered
  BOOST_TEST(calls == 2);
}

BOOST_AUTO_TEST_CASE(one_handler_per_descriptor) {
  BOOST_TEST(loop->add(first.get(), EPOLLIN, [](uint32_t) {}).has_value());
  BOOST_TEST(!loop->add(first.get(), EPOLLIN, [](uint32_t) {}).has_value());
  BOOST_TEST(!loop->modify(second.get(), EPOLLIN).has_value());
  loop->remove(second.get());
  loop->remove(first.get());
  BOOST_TEST(loop->add(first.get(), EPOLLIN, [](uint32_t) {}).has_value());
}

BOOST_AUTO_TEST_CASE(events_can_be_changed) {
  int calls = 0;
  BOOST_TEST(loop->add(first.get(), 0, [&](uint32_t) { calls++; }).has_value());
  signal(first);
  BOOST_TEST(loop->run_once(0).has_value());
  BOOST_TEST(calls == 0);
  BOOST_TEST(loop->modify(first.get(), EPOLLIN).has_value());
  BOOST_TEST(loop->run_once(0).has_value());
  BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(handler_removes_itself) {
  int calls = 0;
  auto kept = std::make_shared<int>(7);
  std::weak_ptr<int> watched = kept;
  auto handler = [&, kept](uint32_t) {
    loop->remove(first.get());
    calls += *kept;  // its captures live until it returns
  };
  auto added = loop->add(first.get(), EPOLLIN, std::move(handler));
  BOOST_TEST(added.has_value());
  kept.reset();
  signal(first);
  BOOST_TEST(loop->run_once(0).has_value());
  BOOST_TEST(loop->run_once(0).has_value());
  BOOST_TEST(calls == 7);
  BOOST_TEST(watched.expired());
}

BOOST_AUTO_TEST_CASE(removed_handler_is_not_called_for_a_fetched_event) {
  // Both are ready in the same round; whichever runs first removes the other.
  int calls = 0;
  auto add = [&](const Fd& own, const Fd& other) {
    BOOST_TEST(loop->add(own.get(), EPOLLIN,
                         [&](uint32_t) {
                           calls++;
                           loop->remove(other.get());
                         })
                   .has_value());
  };
  add(first, second);
  add(second, first);
  signal(first);
  signal(second);
  BOOST_TEST(loop->run_once(0).has_value());
  BOOST_TEST(calls == 1);
}

BOOST_AUTO_TEST_CASE(descriptor_number_used_again) {
  // A handler closes another ready descriptor and registers a new one that gets the same number.
  int stale = 0, fresh = 0;
  Fd* descriptors[] = {&first, &second};
  for (int i : {0, 1}) {
    Fd& other = *descriptors[1 - i];
    BOOST_TEST(loop->add(descriptors[i]->get(), EPOLLIN,
                         [&](uint32_t) {
                           stale++;
                           int number = other.get();
                           loop->remove(number);
                           other.reset();
                           other = make_eventfd().value();
                           BOOST_TEST(other.get() == number);
                           BOOST_TEST(loop->add(number, EPOLLIN, [&](uint32_t) { fresh++; }).has_value());
                         })
                   .has_value());
  }
  signal(first);
  signal(second);
  BOOST_TEST(loop->run_once(0).has_value());
  BOOST_TEST(stale == 1);
  BOOST_TEST(fresh == 0);
}

BOOST_AUTO_TEST_CASE(handler_adds_many) {
  std::vector<Fd> more;
  int calls = 0;
  BOOST_TEST(loop->add(first.get(), EPOLLIN,
                       [&](uint32_t) {
                         loop->remove(first.get());
                         for (int i = 0; i < 200; i++) {
                           more.push_back(make_eventfd(1).value());
                           BOOST_REQUIRE(loop->add(more.back().get(), EPOLLIN,
                                                   [&, fd = more.back().get()](uint32_t) {
                                                     calls++;
                                                     loop->remove(fd);
                                                   })
                                             .has_value());
                         }
                       })
                 .has_value());
  signal(first);
  for (int i = 0; i < 10; i++) BOOST_TEST(loop->run_once(0).has_value());
  BOOST_TEST(calls == 200);
}

BOOST_AUTO_TEST_CASE(stop_before_and_during_run) {
  loop->stop();
  BOOST_TEST(loop->run().has_value());
  int rounds = 0;
  loop->post([&] { rounds++, loop->stop(); });
  BOOST_TEST(loop->run().has_value());
  BOOST_TEST(rounds == 1);
  std::thread other([&] { loop->stop(); });
  BOOST_TEST(loop->run().has_value());
  other.join();
}

BOOST_AUTO_TEST_CASE(posted_tasks_keep_their_order) {
  std::vector<int> order;
  for (int i = 0; i < 3; i++) {
    loop->post([&, i] {
      order.push_back(i);
      if (i == 0) loop->post([&] { order.push_back(3); });
    });
  }
  BOOST_TEST(order.empty());
  BOOST_TEST(loop->run_once(-1).has_value());
  BOOST_TEST(loop->run_once(-1).has_value());
  BOOST_TEST((order == std::vector{0, 1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(post_and_wait_on_the_loop_s_own_thread) {
  bool inner = false;
  loop->post([&] { loop->post_and_wait([&] { inner = true; }); });
  BOOST_TEST(loop->run_once(-1).has_value());
  BOOST_TEST(inner);
}

BOOST_AUTO_TEST_CASE(many_threads_post) {
  // From here on this thread is the loop's. Before the first run, post_and_wait() calls on any thread, at once.
  BOOST_REQUIRE(loop->run_once(0).has_value());
  constexpr int kThreads = 4, kTasks = 2000;
  int sum = 0, waited = 0;  // only tasks touch them
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back([&] {
      for (int i = 0; i < kTasks; i++) {
        if (i % 10 == 0) {
          int before = 0, after = 0;
          loop->post_and_wait([&] { before = waited, after = ++waited; });
          if (after != before + 1) std::abort();
        } else {
          loop->post([&] { sum++; });
        }
      }
    });
  }
  std::thread ender([&] {
    for (auto& thread : threads) thread.join();
    loop->post([&] { loop->stop(); });
  });
  BOOST_TEST(loop->run().has_value());
  ender.join();
  BOOST_TEST(sum == kThreads * kTasks * 9 / 10);
  BOOST_TEST(waited == kThreads * kTasks / 10);
}

BOOST_AUTO_TEST_CASE(time_limit) {
  auto start = std::chrono::steady_clock::now();
  BOOST_TEST(loop->run_once(30).has_value());
  BOOST_TEST((std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(29)));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre
