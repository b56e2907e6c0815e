// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/connection.h"

#include <utility>

namespace nacre::virtio::vsock {

Connection Connection::incoming(uint64_t guest_cid, PortPair ports, uint32_t buf_alloc, const Header& request) {
  Connection connection(guest_cid, ports, buf_alloc, State::open);
  connection.response_due_ = true;
  connection.take_credit(request);
  return connection;
}

Connection Connection::outgoing(uint64_t guest_cid, PortPair ports, uint32_t buf_alloc) {
  return Connection(guest_cid, ports, buf_alloc, State::fresh);
}

void Connection::take_credit(const Header& packet) {
  guest_buf_alloc_ = packet.buf_alloc;
  guest_forwarded_ = packet.fwd_cnt;
  if (send_credit() > 0) credit_requested_ = credit_request_due_ = false;
}

Connection::Event Connection::receive(const Header& packet) {
  if (packet.op == Op::reset) return Event::reset;
  if (state_ == State::fresh) return Event::violation;  // the guest cannot know of the connection
  if (state_ == State::requested) {
    if (packet.op != Op::response) return Event::violation;
    state_ = State::open;
    take_credit(packet);
    return Event::established;
  }
  take_credit(packet);
  switch (packet.op) {
    case Op::data: {
      if ((guest_shutdown_ & kShutdownSend) != 0) return Event::violation;
      uint32_t buffered = received_ - forwarded_;  // at most buf_alloc_
      if (packet.len > buf_alloc_ - buffered) return Event::violation;
      received_ += packet.len;
      return Event::data;
    }
    case Op::shutdown:
      guest_shutdown_ |= packet.flags & kShutdownBoth;
      return Event::shutdown;
    case Op::credit_update:
      return Event::none;
    case Op::credit_request:
      credit_update_due_ = true;
      return Event::none;
    default:  // a second request or response, or no operation that we know
      return Event::violation;
  }
}

void Connection::forwarded(uint32_t count) {
  forwarded_ += count;
  // Every packet of ours carries the counter. An extra packet is worth sending if the guest may soon run out of credit.
  if (forwarded_ - forwarded_told_ >= buf_alloc_ / 2) credit_update_due_ = true;
}

uint32_t Connection::send_credit() const {
  if (state_ != State::open || (guest_shutdown_ & kShutdownReceive) != 0 || (shutdown_ & kShutdownSend) != 0) return 0;
  uint32_t in_flight = sent_ - guest_forwarded_;
  // If more is in flight than the buffer holds, the guest made its buffer smaller, or lies about its counter.
  return in_flight < guest_buf_alloc_ ? guest_buf_alloc_ - in_flight : 0;
}

void Connection::want_credit() {
  if (!credit_requested_) credit_request_due_ = credit_requested_ = true;
}

void Connection::shut_down(uint32_t flags) {
  shutdown_ |= flags;
}

bool Connection::has_control() const {
  if (state_ == State::fresh) return true;
  if (state_ == State::requested) return false;
  return response_due_ || credit_update_due_ || credit_request_due_ || !is_shutdown_told();
}

std::optional<Header> Connection::next_control() {
  if (state_ == State::fresh) {
    state_ = State::requested;
    return header(Op::request);
  }
  if (state_ == State::requested) return std::nullopt;
  if (std::exchange(response_due_, false)) return header(Op::response);
  if (!is_shutdown_told()) {
    shutdown_sent_ = shutdown_;
    return header(Op::shutdown, 0, shutdown_);
  }
  if (std::exchange(credit_request_due_, false)) return header(Op::credit_request);
  if (credit_update_due_) return header(Op::credit_update);
  return std::nullopt;
}

Header Connection::data(uint32_t len) {
  sent_ += len;
  return header(Op::data, len);
}

Header Connection::header(Op op, uint32_t len, uint32_t flags) {
  forwarded_told_ = forwarded_;  // every packet is a credit update as well
  credit_update_due_ = false;
  return Header{.src_cid = kHostCid,
                .dst_cid = guest_cid_,
                .src_port = ports_.host,
                .dst_port = ports_.guest,
                .len = len,
                .type = kTypeStream,
                .op = op,
                .flags = flags,
                .buf_alloc = buf_alloc_,
                .fwd_cnt = forwarded_};
}

Header reset_for(const Header& packet) {
  return Header{.src_cid = packet.dst_cid,
                .dst_cid = packet.src_cid,
                .src_port = packet.dst_port,
                .dst_port = packet.src_port,
                .len = 0,
                .type = packet.type,
                .op = Op::reset,
                .flags = 0,
                .buf_alloc = 0,
                .fwd_cnt = 0};
}

Header reset_for(uint64_t guest_cid, PortPair ports) {
  return Header{.src_cid = kHostCid,
                .dst_cid = guest_cid,
                .src_port = ports.host,
                .dst_port = ports.guest,
                .len = 0,
                .type = kTypeStream,
                .op = Op::reset,
                .flags = 0,
                .buf_alloc = 0,
                .fwd_cnt = 0};
}

}  // namespace nacre::virtio::vsock
