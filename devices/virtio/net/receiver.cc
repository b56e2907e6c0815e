// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net/receiver.h"

#include <algorithm>
#include <cerrno>

#include "devices/virtio/net/headers.h"

namespace nacre::virtio::net {

namespace {

constexpr size_t kOverflowSize = kMaxFrame + 1;

}  // namespace

Receiver::Receiver(Queue& queue, Backend& backend, uint64_t features, Counters& counters)
    : backend_(backend),
      features_(features),
      counters_(counters),
      buffers_(queue, (features & kFeatureMrgRxbuf) != 0, counters),
      overflow_(std::make_unique_for_overwrite<std::byte[]>(kOverflowSize)) {}

Result<Receiver::Outcome> Receiver::receive(size_t budget) {
  for (; budget > 0; budget--) {
    if (!waiting_) {
      // As much as the largest frame needs, but any buffer is enough to begin with.
      (void)TRY(buffers_.fill(sizeof(Header) + kMaxFrame, false));
      if (buffers_.count() == 0 && !TRY(buffers_.fill(sizeof(Header), true))) return Outcome::starved;
      if (auto ended = read()) return *ended;
      if (!waiting_) continue;  // it was dropped
    }
    if (!TRY(deliver())) return Outcome::starved;
  }
  return Outcome::budget;
}

// Reads a frame into waiting_, and its content into the buffers at hand.
std::optional<Receiver::Outcome> Receiver::read() {
  Frame frame{.header = {}, .size = 0, .overflow = 0, .buffers = buffers_.count()};
  parts_.assign(1, {&frame.header, sizeof(frame.header)});
  buffers_.append_body(parts_);
  parts_.push_back({overflow_.get(), kOverflowSize});
  ssize_t received;
  do {
    received = ::readv(backend_.fd(), parts_.data(), static_cast<int>(parts_.size()));
  } while (received < 0 && errno == EINTR);
  if (received < 0 && errno == EAGAIN) return Outcome::drained;
  // A guest that takes away the memory of its own buffers loses a frame each time (EFAULT).
  if (received == 0 || (received < 0 && errno != EFAULT)) return Outcome::lost;
  if (received > 0 && finish_reading(frame, static_cast<size_t>(received))) {
    waiting_ = frame;
  } else {
    Counters::add(counters_.dropped, 1);
  }
  return std::nullopt;
}

bool Receiver::finish_reading(Frame& frame, size_t received) {
  if (received < sizeof(Header) + kMinFrame || received > sizeof(Header) + kMaxFrame) return false;
  frame.size = received - sizeof(Header);
  frame.overflow = received - std::min(received, buffers_.room());
  return prepare_to_deliver(frame.header, features_);
}

// Delivers the frame that waits, or drops it if no driver can ever have room for it. Returns false if it goes on
// waiting.
Result<bool> Receiver::deliver() {
  if (!TRY(buffers_.fill(sizeof(Header) + waiting_->size, true))) {
    if (!buffers_.is_full()) return false;
    waiting_.reset();
    Counters::add(counters_.dropped, 1);
    return true;
  }
  Frame frame = *std::exchange(waiting_, std::nullopt);
  TRY(buffers_.write(frame.buffers, {overflow_.get(), frame.overflow}));
  TRY(buffers_.give(frame.header, frame.size));
  counters_.count(frame.size);
  return true;
}

}  // namespace nacre::virtio::net
