#include "guest-init/freezer.h"

#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace nacre::guest {

namespace {

constexpr time_t kPatienceSeconds = 10;  // runc's

}  // namespace

Freezer::~Freezer() {
  if (events_) loop_.remove(events_.get());
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
  if (begun) {
    check();
  } else {
    give_up(begun.error());
  }
}

Result<void> Freezer::begin() {
  events_ = TRY(open_at(cgroup_, "cgroup.events", O_RDONLY));
  // EPOLLPRI: the file has changed since it was read.
  TRY(loop_.add(events_.get(), EPOLLPRI, [this](uint32_t) { check(); }));
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return fail_errno("timerfd");
  itimerspec patience{.it_interval = {}, .it_value = {.tv_sec = kPatienceSeconds, .tv_nsec = 0}};
  if (::timerfd_settime(timer_.get(), 0, &patience, nullptr) < 0) return fail_errno("timerfd");
  TRY(loop_.add(timer_.get(), EPOLLIN, [this](uint32_t) {
    give_up(Error("timeout of 10s reached waiting for the cgroup to freeze", ETIMEDOUT));
  }));
  return write("1");
}

void Freezer::check() {
  std::array<char, 256> text;
  ssize_t length = ::pread(events_.get(), text.data(), text.size(), 0);
  if (length < 0) {  // the cgroup is gone, and the container with it
    give_up(Error("container not running", ESRCH));
  } else if (std::string_view(text.data(), static_cast<size_t>(length)).find("frozen 1") != std::string_view::npos) {
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
  for (Fd* fd : {&events_, &timer_}) {
    if (*fd) loop_.remove(fd->get());
    fd->reset();
  }
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
