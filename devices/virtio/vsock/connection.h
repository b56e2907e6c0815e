// SPDX-License-Identifier: Apache-2.0
// Keeps one vsock connection as the protocol sees it (virtio 1.3, 5.10.6): its state, the credit in both directions,
// and what is due to the guest. This is pure logic, without descriptors, queues or a clock.
//
// Packets that are due are kept as flags. So a connection takes the same few bytes, however long the guest offers no
// receive buffers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "devices/virtio/vsock/wire.h"

namespace nacre::virtio::vsock {

// Names a connection. The host's CID is always 2.
struct PortPair {
  uint32_t guest;
  uint32_t host;

  bool operator==(const PortPair&) const = default;
};

struct PortPairHash {
  size_t operator()(const PortPair& pair) const {
    return std::hash<uint64_t>()(static_cast<uint64_t>(pair.guest) << 32 | pair.host);
  }
};

class Connection {
 public:
  // What a packet from the guest means for the connection's owner.
  enum class Event {
    none,
    established,  // the guest accepted our request
    data,         // len bytes follow, within the guest's credit
    shutdown,     // guest_shutdown() has changed
    reset,        // the guest has dropped the connection; no answer is due
    violation,    // the guest broke the rules: reset the connection
  };

  // Makes a connection: incoming() one that the guest asks for, so a response is due; outgoing() one that the host asks
  // for, so a request is due.
  static Connection incoming(uint64_t guest_cid, PortPair ports, uint32_t buf_alloc, const Header& request);
  static Connection outgoing(uint64_t guest_cid, PortPair ports, uint32_t buf_alloc);

  PortPair ports() const { return ports_; }
  bool is_open() const { return state_ == State::open; }
  // Returns whether the guest knows of this connection, and so must be told of its end.
  bool is_known_to_guest() const { return state_ != State::fresh; }

  // Takes a packet that has this connection's ports and the type stream. The payload is as long as the header says.
  Event receive(const Header& packet);

  // Gives the guest credit for `count` bytes that have left our buffer.
  void forwarded(uint32_t count);
  // Returns what the guest will no longer do, as bits kShutdownReceive and kShutdownSend.
  uint32_t guest_shutdown() const { return guest_shutdown_; }

  // Returns how many bytes we may send now. That is 0 unless the connection is open, and 0 after the guest's
  // kShutdownReceive or our own kShutdownSend.
  uint32_t send_credit() const;
  // Makes a credit request due, once each time that the credit runs out. Called if data waits without credit.
  void want_credit();
  // Makes a shutdown packet due. The packet tells the guest what we will no longer do: `flags`, in addition to what the
  // guest was told before.
  void shut_down(uint32_t flags);
  bool is_shutdown_told() const { return shutdown_ == shutdown_sent_; }

  // Returns whether a packet other than data is due. next_control() returns the header of the next such packet, which
  // then is no longer due.
  bool has_control() const;
  std::optional<Header> next_control();
  // Returns the header for `len` bytes of data, and counts them as sent. `len` is at most send_credit().
  Header data(uint32_t len);

 private:
  enum class State {
    fresh,      // outgoing, request not yet on the ring
    requested,  // outgoing, waiting for the guest's response
    open,
  };

  Connection(uint64_t guest_cid, PortPair ports, uint32_t buf_alloc, State state)
      : guest_cid_(guest_cid), ports_(ports), buf_alloc_(buf_alloc), state_(state) {}
  Header header(Op op, uint32_t len = 0, uint32_t flags = 0);
  void take_credit(const Header& packet);

  uint64_t guest_cid_;
  PortPair ports_;
  uint32_t buf_alloc_;  // our buffer for the guest's bytes
  State state_;

  // Counters are modulo 2^32 by the specification (5.10.6.3).
  uint32_t received_ = 0;        // bytes from the guest
  uint32_t forwarded_ = 0;       // of these, taken out of our buffer
  uint32_t forwarded_told_ = 0;  // forwarded_ as the guest last saw it
  uint32_t sent_ = 0;            // bytes to the guest
  uint32_t guest_buf_alloc_ = 0;
  uint32_t guest_forwarded_ = 0;

  uint32_t guest_shutdown_ = 0;
  uint32_t shutdown_ = 0;
  uint32_t shutdown_sent_ = 0;
  bool response_due_ = false;
  bool credit_update_due_ = false;
  bool credit_request_due_ = false;
  bool credit_requested_ = false;  // since the credit ran out
};

// Makes a reset packet. The first function answers a packet that belongs to no connection. The reset has the type of
// that packet, so that the guest's driver finds the socket (5.10.6.4).
Header reset_for(const Header& packet);
Header reset_for(uint64_t guest_cid, PortPair ports);

}  // namespace nacre::virtio::vsock
