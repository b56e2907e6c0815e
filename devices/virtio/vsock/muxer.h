// All connections of one guest: which packet belongs to which stream, who may connect to what, and whose turn it is
// to send to the guest. Knows no queues but the guest's receive buffers; runs on the loop's thread only.
//
// Bounds: at most kMaxStreams streams, those that only finish writing what a gone guest has sent included; each holds
// at most the credit that it gave; resets owed to the guest are counted, and past kMaxResets congested() asks the
// device to take no more packets from the guest until some are sent (virtio 1.3, 5.10.6.1, allows that).
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

// A descriptor, a unix socket, that the first connection of the guest's to a port of the host is joined to.
struct InheritedStream {
  uint32_t port;
  Fd fd;
};

class Muxer {
 public:
  struct Options {
    uint64_t guest_cid;
    std::string uds_path;  // guest connections to port P go to "<uds_path>_<P>"; empty: refused
    Fd listener;           // may be none
    std::vector<InheritedStream> streams = {};
    // How long the guest may take to answer a request, counted from when it got it. Firecracker gives it two seconds;
    // a guest that shares its processors with many others may need more.
    std::chrono::milliseconds connect_timeout{10'000};
    // How long it may take to acknowledge that both directions were shut down, before it is reset.
    std::chrono::milliseconds linger_timeout{2'000};
  };

  static constexpr size_t kMaxStreams = 1024;
  static constexpr size_t kMaxResets = 256;
  // Receive buffer of a stream. The first ones get the large one, so that a guest that opens all it can and has its
  // data stall there takes tens of MiB, not hundreds.
  static constexpr uint32_t kBufferLarge = 256 * 1024;
  static constexpr uint32_t kBufferSmall = 32 * 1024;
  static constexpr size_t kLargeBuffers = 64;

  // `wake` is called when there is something for transmit() from elsewhere than receive() or transmit().
  static Result<std::unique_ptr<Muxer>> create(EventLoop& loop, Options options, std::function<void()> wake);

  // A packet from the guest, with what follows its header.
  void receive(const Header& header, const Reader& payload);
  bool congested() const { return resets_.size() >= kMaxResets; }

  // Puts packets into the guest's buffers, `budget` turns at most; whether more could be put in.
  bool transmit(RxRing& ring, int budget);

  // The guest's driver has let go of the device: no connection is left. What was received from it is still written.
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
  // Ends a connection, by a reset where the guest is to be told.
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
  std::list<Stream*> ready_;                                       // have packets for the guest, in turn
  std::deque<Header> resets_;                                      // owed to the guest
  uint32_t next_port_;
  LogLimiter log_;
};

}  // namespace nacre::virtio::vsock
