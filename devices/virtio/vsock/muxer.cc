// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/muxer.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

namespace nacre::virtio::vsock {

namespace {

// The host ports that we pick for clients, as Firecracker does. They are kept apart from the ports that services listen
// on.
constexpr uint32_t kFirstPickedPort = 1u << 30;
constexpr uint32_t kPickedPorts = 1u << 30;

Result<Fd> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return fail("socket path too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  // A unix socket connects at once, or not at all (EAGAIN if too many clients wait to be accepted).
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) return fail_errno("connect");
  return socket;
}

}  // namespace

Muxer::Muxer(EventLoop& loop, Options options, std::function<void()> wake)
    : loop_(loop), options_(std::move(options)), wake_(std::move(wake)), next_port_(kFirstPickedPort) {}

Result<std::unique_ptr<Muxer>> Muxer::create(EventLoop& loop, Options options, std::function<void()> wake) {
  Fd listening = std::move(options.listener);
  std::unique_ptr<Muxer> muxer(new Muxer(loop, std::move(options), std::move(wake)));
  muxer->timer_ = TRY(Timer::create(loop, [muxer = muxer.get()] { muxer->on_timer(); }));
  if (listening) {
    auto connect = [muxer = muxer.get()](ClientRequest request) { muxer->connect_client(std::move(request)); };
    muxer->listener_ = TRY(Listener::create(loop, std::move(listening), connect));
  }
  return muxer;
}

// ---- connections begin

uint32_t Muxer::buffer_size() const {
  return stream_count() < kLargeBuffers ? kBufferLarge : kBufferSmall;
}

Stream* Muxer::add(Connection connection) {
  PortPair ports = connection.ports();
  auto stream =
      std::make_unique<Stream>(loop_, std::move(connection), [this](Stream& changed) { on_changed(changed); });
  Stream* added = stream.get();
  streams_[ports] = std::move(stream);
  return added;
}

Result<PortPair> Muxer::pick_ports(uint32_t guest_port) {
  for (size_t i = 0; i <= kMaxStreams; i++) {
    PortPair ports{.guest = guest_port, .host = next_port_};
    next_port_ = kFirstPickedPort + (next_port_ - kFirstPickedPort + 1) % kPickedPorts;
    if (!streams_.contains(ports)) return ports;
  }
  return fail("no free port");
}

void Muxer::connect_client(ClientRequest request) {
  if (stream_count() >= kMaxStreams) {
    log_.warn("vsock: too many connections, a client is refused");
    return;
  }
  auto ports = pick_ports(request.port);
  if (!ports) return;
  Stream* stream = add(Connection::outgoing(options_.guest_cid, *ports, buffer_size()));
  stream->set_client(std::move(request));
  enqueue(*stream);
  wake_();
}

Result<HostEnd> Muxer::host_end_for(uint32_t port) {
  for (InheritedStream& inherited : options_.streams) {
    if (inherited.port != port) continue;
    if (!inherited.fd) return fail("already connected");
    return HostEnd::create(std::move(inherited.fd), HostEnd::Direction::both);
  }
  if (options_.uds_path.empty()) return fail("no such port");
  Fd socket = TRY(connect_unix(options_.uds_path + "_" + std::to_string(port)));
  return HostEnd::create(std::move(socket), HostEnd::Direction::both);
}

void Muxer::accept_guest(const Header& request, PortPair ports) {
  if (stream_count() >= kMaxStreams) {
    log_.warn("vsock: too many connections, the guest is refused");
    resets_.push_back(reset_for(request));
    return;
  }
  auto end = host_end_for(ports.host);
  if (!end) {
    resets_.push_back(reset_for(request));
    return;
  }
  Stream* stream = add(Connection::incoming(options_.guest_cid, ports, buffer_size(), request));
  if (!stream->join(std::move(*end))) return retire(*stream, true);
  settle(*stream);
}

// ---- packets from the guest

void Muxer::receive(const Header& header, const Reader& payload) {
  if (header.src_cid != options_.guest_cid) {
    log_.warn("vsock: packet with a source that is not the guest, dropped");
    return;
  }
  if (header.dst_cid != kHostCid || header.type != kTypeStream) {
    if (header.op != Op::reset) resets_.push_back(reset_for(header));
    return;
  }
  PortPair ports{.guest = header.src_port, .host = header.dst_port};
  auto found = streams_.find(ports);
  if (found != streams_.end()) {
    Stream& stream = *found->second;
    // A guest that uses the ports anew has forgotten the old connection. For that one, we only waited for the guest's
    // acknowledgement.
    if (header.op != Op::request || !stream.is_finished()) return dispatch(stream, header, payload);
    retire(stream, false);
  }
  if (header.op == Op::request) {
    accept_guest(header, ports);
  } else if (header.op != Op::reset) {
    resets_.push_back(reset_for(header));
  }
}

void Muxer::dispatch(Stream& stream, const Header& header, const Reader& payload) {
  if (header.op == Op::data && header.len > payload.remaining()) {
    log_.warn("vsock: packet shorter than it says");
    return retire(stream, true);
  }
  switch (stream.connection.receive(header)) {
    case Connection::Event::none:
    case Connection::Event::shutdown:
      break;
    case Connection::Event::established:
      stream.deadline.reset();
      if (!stream.accept_client()) return retire(stream, true);
      break;
    case Connection::Event::data:
      stream.deliver(payload.peek(header.len));
      break;
    case Connection::Event::reset:
      return retire(stream, false);
    case Connection::Event::violation:
      log_.warn("vsock: the guest broke the protocol on a connection, which is reset");
      return retire(stream, true);
  }
  settle(stream);
}

// ---- the life of a stream

void Muxer::on_changed(Stream& stream) {
  settle(stream);
  wake_();
}

// Moves data on, sees whether the stream has ended, and gives the stream its place in the line to the guest. Called
// after any change of the stream. May destroy the stream.
void Muxer::settle(Stream& stream) {
  stream.settle();
  if (stream.is_cut_off()) {
    if (stream.is_drained()) draining_.erase(&stream);
    return;
  }
  uint32_t guest_shutdown = stream.connection.guest_shutdown();
  // The guest has finished with the connection (5.10.6.5: the answer is a reset). What the guest has sent is still
  // written.
  if (guest_shutdown == kShutdownBoth) return retire(stream, true);
  if (stream.is_finished()) {
    if ((guest_shutdown & kShutdownSend) != 0) {
      if (stream.connection.is_shutdown_told()) return retire(stream, true);
    } else if (!stream.deadline) {
      stream.connection.shut_down(kShutdownBoth);
      set_deadline(stream, options_.linger_timeout);
    }
  }
  if (stream.has_output()) enqueue(stream);
}

void Muxer::retire(Stream& stream, bool tell_guest) {
  PortPair ports = stream.connection.ports();
  if (tell_guest && stream.connection.is_known_to_guest()) resets_.push_back(reset_for(options_.guest_cid, ports));
  dequeue(stream);
  stream.deadline.reset();
  auto node = streams_.extract(ports);
  stream.cut_off();
  if (!stream.is_drained()) draining_[&stream] = std::move(node.mapped());
}

void Muxer::reset() {
  std::vector<Stream*> all;
  for (auto& [ports, stream] : streams_) all.push_back(stream.get());
  for (Stream* stream : all) retire(*stream, false);
  resets_.clear();
}

void Muxer::enqueue(Stream& stream) {
  if (!stream.queued) stream.queued = ready_.insert(ready_.end(), &stream);
}

void Muxer::dequeue(Stream& stream) {
  if (stream.queued) ready_.erase(*stream.queued);
  stream.queued.reset();
}

void Muxer::set_deadline(Stream& stream, std::chrono::milliseconds after) {
  stream.deadline = Clock::now() + after;
  timer_->arm(*stream.deadline);
}

void Muxer::on_timer() {
  auto now = Clock::now();
  std::vector<Stream*> late;
  for (auto& [ports, stream] : streams_) {
    if (!stream->deadline) continue;
    if (*stream->deadline <= now) {
      late.push_back(stream.get());
    } else {
      timer_->arm(*stream->deadline);
    }
  }
  for (Stream* stream : late) retire(*stream, true);
  if (!late.empty()) wake_();
}

// ---- packets to the guest

bool Muxer::transmit(RxRing& ring, int budget) {
  for (; budget > 0; budget--) {
    if (resets_.empty() && ready_.empty()) return false;
    if (!ring.available()) return false;
    if (!resets_.empty()) {
      ring.send(resets_.front());
      resets_.pop_front();
    } else {
      Stream& stream = *ready_.front();
      dequeue(stream);
      serve(stream, ring);
    }
  }
  return !resets_.empty() || !ready_.empty();
}

// Gives a stream one turn: one packet, or data for as many buffers as one read fills. The stream then queues up again
// if it has more.
void Muxer::serve(Stream& stream, RxRing& ring) {
  if (auto header = stream.connection.next_control()) {
    ring.send(*header);
    if (header->op == Op::request) set_deadline(stream, options_.connect_timeout);
  } else if (uint32_t credit = stream.connection.send_credit(); credit > 0) {
    size_t bytes = stream.read(ring.room(credit));
    ring.send_data(bytes, [&stream](uint32_t len) { return stream.connection.data(len); });
  }
  settle(stream);
}

}  // namespace nacre::virtio::vsock
