// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net/transmitter.h"

#include <cerrno>

#include "devices/virtio/net/headers.h"

namespace nacre::virtio::net {

Result<bool> Transmitter::transmit(size_t budget) {
  for (; budget > 0; budget--) {
    if (blocked_ && !std::exchange(try_again_, false)) return false;
    auto chain = blocked_ ? std::exchange(blocked_, std::nullopt) : TRY(next());
    if (!chain) return false;
    if (!send(*chain)) {
      blocked_ = std::move(chain);
      return false;
    }
    TRY(queue_.push(*chain, 0));
  }
  return true;
}

// Takes the next chain. If there is none, asks the driver to notify us.
Result<std::optional<Chain>> Transmitter::next() {
  auto chain = TRY(queue_.pop());
  if (!chain && !notifications_) {
    queue_.enable_notifications();
    notifications_ = true;
    chain = TRY(queue_.pop());  // one may have come in between
  }
  if (chain && notifications_) {
    queue_.disable_notifications();
    notifications_ = false;
  }
  return chain;
}

bool Transmitter::send(Chain& chain) {
  Reader frame = chain.reader;  // the chain's own reader stays at the start, for another try
  auto header = frame.read_object<Header>();
  size_t size = frame.remaining();
  if (!header || !prepare_to_send(*header, size, features_)) {
    Counters::add(counters_.refused, 1);
    return true;
  }
  auto rest = frame.peek();
  parts_.assign(1, {&*header, sizeof(*header)});
  parts_.insert(parts_.end(), rest.begin(), rest.end());
  ssize_t written;
  do {
    written = ::writev(backend_.fd(), parts_.data(), static_cast<int>(parts_.size()));
  } while (written < 0 && errno == EINTR);
  if (written < 0 && errno == EAGAIN) return false;
  if (written < 0) {
    Counters::add(counters_.dropped, 1);  // a link that is down, or content that the backend refuses
  } else {
    counters_.count(size);
  }
  return true;
}

Result<void> Transmitter::hold_again(std::optional<uint16_t> head) {
  if (queue_.in_flight() != (head ? 1 : 0)) return fail("virtio-net: frames in flight that the device lacks", EBADMSG);
  if (!head) return {};
  blocked_ = TRY(queue_.retake(*head));
  try_again_ = true;
  return {};
}

}  // namespace nacre::virtio::net
