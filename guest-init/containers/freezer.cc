// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/freezer.h"

#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <utility>

namespace nacre::guest {

namespace {

constexpr time_t kPatienceSeconds = 10;  // runc's figure

}  // namespace

Freezer::~Freezer() {
  if (timer_) loop_.remove(timer_.get());
}

void Freezer::freeze(Done done) {
  if (state_ == State::frozen) {
    done({});
    return;
  }
  waiting_.push_back(std::move(done));
  if (state_ == State::freezing) return;
  state_ = State::freezing;
  auto begun = begin();
  if (!begun) give_up(begun.error());
}

Result<void> Freezer::begin() {
  events_ = TRY(CgroupWatch::create(loop_, cgroup_, "cgroup.events",
                                    [this](std::optional<std::string_view> text) { check(text); }));
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return fail_errno("timerfd");
  itimerspec patience{.it_interval = {}, .it_value = {.tv_sec = kPatienceSeconds, .tv_nsec = 0}};
  if (::timerfd_settime(timer_.get(), 0, &patience, nullptr) < 0) return fail_errno("timerfd");
  TRY(loop_.add(timer_.get(), EPOLLIN, [this](uint32_t) {
    give_up(Error("timeout of 10s reached waiting for the cgroup to freeze", ETIMEDOUT));
  }));
  return write("1");
}

void Freezer::check(std::optional<std::string_view> events) {
  if (!events) {  // the cgroup is gone, and the container with it
    give_up(Error("container not running", ESRCH));
  } else if (events->find("frozen 1") != std::string_view::npos) {
    state_ = State::frozen;
    finish({});
  }
}

void Freezer::give_up(const Error& error) {
  state_ = State::thawed;
  (void)write("0");
  finish(std::unexpected(error));
}

void Freezer::finish(const Result<void>& outcome) {
  events_.reset();
  if (timer_) loop_.remove(timer_.get());
  timer_.reset();
  for (const Done& done : std::exchange(waiting_, {})) done(outcome);
}

Result<void> Freezer::thaw() {
  if (state_ == State::thawed) return {};
  TRY(write("0"));
  State before = std::exchange(state_, State::thawed);
  if (before == State::freezing) finish(fail("the container was resumed or ended meanwhile", ECANCELED));
  return {};
}

Result<void> Freezer::write(const char* value) const {
  Fd file = TRY(open_at(cgroup_, "cgroup.freeze", O_WRONLY));
  return write_all(file.get(), value);
}

}  // namespace nacre::guest
