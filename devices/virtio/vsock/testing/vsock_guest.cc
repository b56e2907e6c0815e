// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/testing/vsock_guest.h"

#include <dirent.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <future>
#include <stdexcept>

namespace nacre::virtio::vsock {

namespace {

constexpr uint32_t kRxQueue = 0, kTxQueue = 1;
constexpr size_t kMaxPayload = 4096;

testing::FakeDriver::Options driver_options(bool event_index) {
  testing::FakeDriver::Options options;
  options.memory_mib = 16;
  options.queue_sizes = {128, 128, 8};
  if (!event_index) options.features &= ~kFeatureEventIdx;
  return options;
}

std::string make_directory() {
  char path[] = "/tmp/vsock-test-XXXXXX";
  if (::mkdtemp(path) == nullptr) throw std::runtime_error("mkdtemp");
  return path;
}

Fd bind_and_listen(const std::string& path) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0 ||
      ::listen(socket.get(), 1024) < 0) {
    throw std::runtime_error("listen " + path);
  }
  return socket;
}

void wait_readable(int fd) {
  pollfd poll{.fd = fd, .events = POLLIN, .revents = 0};
  if (::poll(&poll, 1, 60000) <= 0) throw std::runtime_error("nothing to read within a minute");
}

}  // namespace

// ---- GuestStream

void GuestStream::send(Op op, std::string_view payload, uint32_t flags) {
  Header header = guest->header(guest_port, host_port, op, static_cast<uint32_t>(payload.size()));
  header.flags = flags;
  header.buf_alloc = buf_alloc;
  header.fwd_cnt = told = fwd_cnt;
  if (op == Op::data) sent += static_cast<uint32_t>(payload.size());
  guest->send_raw(header, payload);
}

void GuestStream::write(std::string_view data) {
  while (!data.empty()) {
    if (!guest->wait([this] { return credit() > 0 || reset; })) throw std::runtime_error("no credit");
    if (reset) throw std::runtime_error("reset while writing");
    size_t count = std::min({data.size(), kMaxPayload, size_t{credit()}});
    send(Op::data, data.substr(0, count));
    data.remove_prefix(count);
  }
}

void GuestStream::release() {
  hold = false;
  fwd_cnt = static_cast<uint32_t>(received_total);
  send(Op::credit_update);
}

void GuestStream::on_packet(const Packet& packet) {
  device_alloc = packet.header.buf_alloc;
  device_fwd = packet.header.fwd_cnt;
  switch (packet.header.op) {
    case Op::response:
      open = true;
      break;
    case Op::reset:
      reset = true;
      break;
    case Op::shutdown:
      shutdown |= packet.header.flags;
      break;
    case Op::credit_request:
      send(Op::credit_update);
      break;
    case Op::data:
      if (keep) received += packet.payload;
      received_total += packet.payload.size();
      if (received_total - fwd_cnt > buf_alloc && hold) throw std::runtime_error("the device overran its credit");
      if (!hold) {
        fwd_cnt += static_cast<uint32_t>(packet.payload.size());
        if (fwd_cnt - told >= buf_alloc / 2) send(Op::credit_update);
      }
      break;
    default:
      break;
  }
}

// ---- Guest

Guest::Guest(Setup setup)
    : directory_(make_directory()),
      uds_(directory_ + "/v.sock"),
      driver_(driver_options(setup.event_index)),
      setup_(std::move(setup)),
      loop_(EventLoop::create().value()) {
  VsockOptions options{.guest_cid = kGuestCid,
                       .uds_path = setup_.uds ? uds_ : "",
                       .listener = bind_and_listen(uds_),
                       .streams = std::move(setup_.streams),
                       .connect_timeout = setup_.connect_timeout,
                       .linger_timeout = setup_.linger_timeout};
  device_ = VsockDevice::create(*loop_, std::move(options)).value();
  thread_ = std::thread([this] {
    if (!loop_->run()) std::terminate();
  });
  // Wait for the loop's first turn: before that, the loop has no thread that others could wait for.
  std::promise<void> running;
  loop_->post([&running] { running.set_value(); });
  running.get_future().wait();
  driver_.activate(*device_);
  fill_rx();
}

Guest::~Guest() {
  device_->reset();
  loop_->stop();
  thread_.join();
  device_.reset();
  std::filesystem::remove_all(directory_);
}

size_t Guest::device_streams() {
  size_t count = 0;
  loop_->post_and_wait([&] { count = device_->stream_count(); });
  return count;
}

void Guest::restart() {
  device_->reset();
  driver_.restart();
  in_rx_ = in_tx_ = 0;
  streams_.clear();
  strays_.clear();
  driver_.activate(*device_);
  fill_rx();
}

void Guest::fill_rx() {
  auto& queue = driver_.queue(kRxQueue);
  while (refill_ && in_rx_ < setup_.rx_count) {
    // Offer some buffers in two descriptors, as drivers differ.
    if (setup_.rx_buffer > kHeaderSize && in_rx_ % 2 == 1) {
      queue.send({}, {static_cast<uint32_t>(kHeaderSize), setup_.rx_buffer - static_cast<uint32_t>(kHeaderSize)},
                 testing::Layout::indirect);
    } else {
      queue.send({}, {setup_.rx_buffer});
    }
    in_rx_++;
  }
}

void Guest::send_raw(const Header& header, std::string_view payload) {
  auto& queue = driver_.queue(kTxQueue);
  // Chains that a test sent itself come back here too.
  while (queue.pop_used()) in_tx_ -= std::min(in_tx_, 1u);
  while (in_tx_ >= 60) {
    while (pump(std::chrono::milliseconds(0))) {  // the device may wait for receive buffers
    }
    if (!take_used(kTxQueue, std::chrono::milliseconds(10))) continue;
    in_tx_ -= std::min(in_tx_, 1u);
  }
  std::vector<testing::Bytes> parts{testing::bytes_of_object(header)};
  if (!payload.empty()) parts.push_back(testing::bytes_of(payload));
  queue.send(parts, {});
  in_tx_++;
}

Header Guest::header(uint32_t guest_port, uint32_t host_port, Op op, uint32_t len) const {
  return Header{.src_cid = kGuestCid,
                .dst_cid = kHostCid,
                .src_port = guest_port,
                .dst_port = host_port,
                .len = len,
                .type = kTypeStream,
                .op = op,
                .flags = 0,
                .buf_alloc = 65536,
                .fwd_cnt = 0};
}

// Takes a used chain. With short limits, wait_used() may look after the device has used a buffer and before it signals
// that, and then throws. The signal may come late, but it must come.
std::optional<testing::Used> Guest::take_used(uint32_t index, std::chrono::milliseconds limit) {
  testing::FakeQueue& queue = driver_.queue(index);
  auto used = queue.pop_used();
  if (used || limit.count() == 0) return used;
  uint64_t seen = driver_.interrupt().used_count();
  try {
    return queue.wait_used(limit);
  } catch (const std::logic_error&) {
    if (!driver_.interrupt().wait_used_beyond(seen, std::chrono::seconds(60))) throw;
    return queue.pop_used();
  }
}

bool Guest::pump(std::chrono::milliseconds limit) {
  auto used = take_used(kRxQueue, limit);
  if (!used) return false;
  in_rx_ -= std::min(in_rx_, 1u);
  Packet packet;
  if (used->written.size() >= kHeaderSize) {
    std::memcpy(&packet.header, used->written.data(), kHeaderSize);
    packet.payload.assign(reinterpret_cast<const char*>(used->written.data()) + kHeaderSize,
                          used->written.size() - kHeaderSize);
    if (packet.payload.size() != packet.header.len) throw std::runtime_error("len is not the payload's length");
    auto found = streams_.find({uint32_t{packet.header.dst_port}, uint32_t{packet.header.src_port}});
    if (found != streams_.end() && !found->second->reset) {
      found->second->on_packet(packet);
    } else {
      strays_.push_back(std::move(packet));
    }
  }
  fill_rx();
  return true;
}

bool Guest::wait(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  auto deadline = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() >= deadline) return false;
    pump();
  }
  return true;
}

void Guest::settle_sent() {
  bool taken = wait([this] {
    while (driver_.queue(kTxQueue).pop_used()) in_tx_ -= std::min(in_tx_, 1u);
    return in_tx_ == 0;
  });
  if (!taken) throw std::runtime_error("the device takes no more packets");
}

std::optional<Packet> Guest::stray(Op op, std::chrono::milliseconds limit) {
  std::optional<Packet> result;
  wait(
      [&] {
        auto found = std::ranges::find_if(strays_, [op](const Packet& packet) { return packet.header.op == op; });
        if (found == strays_.end()) return false;
        result = std::move(*found);
        strays_.erase(found);
        return true;
      },
      limit);
  return result;
}

GuestStream& Guest::connect(uint32_t host_port, uint32_t buf_alloc) {
  auto stream = std::make_unique<GuestStream>();
  stream->guest = this;
  stream->guest_port = next_port_++;
  stream->host_port = host_port;
  stream->buf_alloc = buf_alloc;
  GuestStream& result = *stream;
  streams_[{result.guest_port, host_port}] = std::move(stream);
  result.send(Op::request);
  return result;
}

GuestStream& Guest::accept(uint32_t guest_port, uint32_t buf_alloc) {
  auto request = stray(Op::request);
  if (!request || request->header.dst_port != guest_port) throw std::runtime_error("no request");
  auto stream = std::make_unique<GuestStream>();
  stream->guest = this;
  stream->guest_port = guest_port;
  stream->host_port = request->header.src_port;
  stream->buf_alloc = buf_alloc;
  stream->device_alloc = request->header.buf_alloc;
  stream->open = true;
  GuestStream& result = *stream;
  streams_[{guest_port, result.host_port}] = std::move(stream);
  result.send(Op::response);
  return result;
}

Fd Guest::listen_on(uint32_t port) {
  return bind_and_listen(uds_ + "_" + std::to_string(port));
}

Fd Guest::client() {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, uds_.c_str(), sizeof(address.sun_path) - 1);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) {
    throw std::runtime_error("connect");
  }
  return socket;
}

// ---- host helpers

std::string read_exactly(int fd, size_t size) {
  std::string data(size, '\0');
  size_t have = 0;
  while (have < size) {
    wait_readable(fd);
    ssize_t n = ::read(fd, data.data() + have, size - have);
    if (n <= 0) throw std::runtime_error("end of file after " + std::to_string(have) + " bytes");
    have += static_cast<size_t>(n);
  }
  return data;
}

std::string read_to_end(int fd) {
  std::string data;
  char buffer[65536];
  for (;;) {
    wait_readable(fd);
    ssize_t n = ::read(fd, buffer, sizeof(buffer));
    if (n <= 0) return data;
    data.append(buffer, static_cast<size_t>(n));
  }
}

std::string read_line(int fd) {
  std::string line;
  while (line.empty() || line.back() != '\n') line += read_exactly(fd, 1);
  return line;
}

bool at_end(int fd) {
  wait_readable(fd);
  char byte;
  return ::read(fd, &byte, 1) <= 0;
}

void write_text(int fd, std::string_view text) {
  if (!write_all(fd, text)) throw std::runtime_error("write");
}

void send_fd(int socket, std::string_view text, int fd) {
  if (!send_with_fds(socket, std::as_bytes(std::span(text)), std::span(&fd, 1))) throw std::runtime_error("sendmsg");
}

std::string pattern(size_t size, uint32_t seed) {
  std::string data(size, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& c : data) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return data;
}

size_t open_fds() {
  size_t count = 0;
  for ([[maybe_unused]] auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) count++;
  return count;
}

}  // namespace nacre::virtio::vsock
