// SPDX-License-Identifier: Apache-2.0
// Keeps all connections of one guest: which packet belongs to which stream, who may connect to what, and whose turn it
// is to send to the guest. Knows no queues but the guest's receive buffers. Runs on the loop's thread only.
//
// Bounds: there are at most kMaxStreams streams, including those that only finish writing. Each holds at most the
// credit that it gave. Resets that are due to the guest are counted. From kMaxResets on, is_congested() asks the device
// to take no more packets from the guest until some resets are sent (virtio 1.3, 5.10.6.1, allows that).
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "devices/virtio/chain.h"
#include "devices/virtio/vsock/listener.h"
#include "devices/virtio/vsock/rx_ring.h"
#include "devices/virtio/vsock/stream.h"

namespace nacre::virtio::vsock {

// A unix socket. The guest's first connection to the port of the host is joined to it.
struct InheritedStream {
  uint32_t port;
  Fd fd;
};

class Muxer {
 public:
  struct Options {
    uint64_t guest_cid;
    std::string uds_path;  // guest connections to port P go to "<uds_path>_<P>"; if empty, they are refused
    Fd listener;           // takes the host's clients (listener.h); may be empty
    std::vector<InheritedStream> streams = {};
    // How long the guest may take to answer a request, counted from when the guest got it. Firecracker allows two
    // seconds. A guest that shares its processors with many others may need more.
    std::chrono::milliseconds connect_timeout{10'000};
    // How long the guest may take to acknowledge that both directions were shut down, before the stream is reset.
    std::chrono::milliseconds linger_timeout{2'000};
  };

  static constexpr size_t kMaxStreams = 1024;
  static constexpr size_t kMaxResets = 256;
  // The size of a stream's receive buffer. Only the first kLargeBuffers streams get a large one, so a guest that opens
  // all streams and lets its data stall there costs tens of MiB, not hundreds.
  static constexpr uint32_t kBufferLarge = 256 * 1024;
  static constexpr uint32_t kBufferSmall = 32 * 1024;
  static constexpr size_t kLargeBuffers = 64;

  // Makes a muxer. The muxer calls `wake` when there is something to transmit(), except from within receive() and
  // transmit().
  static Result<std::unique_ptr<Muxer>> create(EventLoop& loop, Options options, std::function<void()> wake);

  // Takes a packet from the guest. `payload` is what follows the header.
  void receive(const Header& header, const Reader& payload);
  bool is_congested() const { return resets_.size() >= kMaxResets; }

  // Puts packets into the guest's buffers, in at most `budget` turns of streams. Returns whether packets are left that
  // more turns could put in.
  bool transmit(RxRing& ring, int budget);

  // Ends all connections, since the guest's driver has let go of the device. What the guest has sent is still written.
  void reset();

  size_t stream_count() const { return streams_.size() + draining_.size(); }

 private:
  Muxer(EventLoop& loop, Options options, std::function<void()> wake);

  void connect_client(ClientRequest request);
  void accept_guest(const Header& request, PortPair ports);
  Result<HostEnd> host_end_for(uint32_t port);
  Result<PortPair> pick_ports(uint32_t guest_port);
  uint32_t buffer_size() const;

  Stream* add(Connection connection);
  void dispatch(Stream& stream, const Header& header, const Reader& payload);
  void on_changed(Stream& stream);
  void settle(Stream& stream);
  void serve(Stream& stream, RxRing& ring);
  // Ends a connection. If `tell_guest` is set, a reset is due to the guest.
  void retire(Stream& stream, bool tell_guest);
  void enqueue(Stream& stream);
  void dequeue(Stream& stream);
  void set_deadline(Stream& stream, std::chrono::milliseconds after);
  void on_timer();

  EventLoop& loop_;
  Options options_;
  std::function<void()> wake_;
  std::unique_ptr<Timer> timer_;
  std::unique_ptr<Listener> listener_;
  std::unordered_map<PortPair, std::unique_ptr<Stream>, PortPairHash> streams_;
  std::unordered_map<Stream*, std::unique_ptr<Stream>> draining_;  // cut off from the guest
  std::list<Stream*> ready_;                                       // streams with packets for the guest, in turn
  std::deque<Header> resets_;                                      // owed to the guest
  uint32_t next_port_;
  LogLimiter log_;
};

}  // namespace nacre::virtio::vsock
