// One vsock connection as the protocol sees it (virtio 1.3, 5.10.6): state, credit in both directions, and what is
// still to be told to the guest. Pure logic: no descriptors, no queues, no clock.
//
// What is to be told is kept as flags, not as packets: however long the guest offers no receive buffers, a connection
// takes the same few bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "devices/virtio/vsock/wire.h"

namespace nacre::virtio::vsock {

// Names a connection. The host side of it is always CID 2.
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
    kNone,
    kEstablished,  // the guest accepted our request
    kData,         // len bytes follow, within the guest's credit
    kShutdown,     // guest_shutdown() has changed
    kReset,        // the guest has dropped the connection; no answer is due
    kViolation,    // the guest broke the rules: reset it
  };

  // The guest has asked for it: a response is due. / We ask: a request is due.
  static Connection incoming(uint64_t guest_cid, PortPair ports, uint32_t buf_alloc, const Header& request);
  static Connection outgoing(uint64_t guest_cid, PortPair ports, uint32_t buf_alloc);

  PortPair ports() const { return ports_; }
  bool open() const { return state_ == State::kOpen; }
  // Whether the guest knows of this connection, so that its end must be told.
  bool known_to_guest() const { return state_ != State::kNew; }

  // A packet with our ports, of type stream, whose payload is as long as it says.
  Event receive(const Header& packet);

  // `count` bytes of the guest's have left our buffer: they are credit again.
  void forwarded(uint32_t count);
  // What the guest has said about itself: kShutdown* bits.
  uint32_t guest_shutdown() const { return guest_shutdown_; }

  // How much we may send now: 0 unless open, and after the guest's kShutdownReceive or our kShutdownSend.
  uint32_t send_credit() const;
  // We have something to send and no credit: ask, once for each time that it runs out.
  void want_credit();
  // Adds kShutdown* bits to what we have told the guest, or will.
  void shut_down(uint32_t flags);
  bool shutdown_told() const { return shutdown_ == shutdown_sent_; }

  // Packets other than data that are due; the header to put on the ring now.
  bool has_control() const;
  std::optional<Header> next_control();
  // The header of `len` bytes of data, at most send_credit().
  Header data(uint32_t len);

 private:
  enum class State {
    kNew,        // outgoing, request not yet on the ring
    kRequested,  // outgoing, waiting for the guest's response
    kOpen,
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
  uint32_t forwarded_ = 0;       // of them, taken out of our buffer
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
  bool credit_requested_ = false;  // since it ran out
};

// A reset for a packet that belongs to no connection, or no longer. Its type is the packet's, so that the guest's
// driver finds the socket (5.10.6.4).
Header reset_for(const Header& packet);
Header reset_for(uint64_t guest_cid, PortPair ports);

}  // namespace nacre::virtio::vsock
