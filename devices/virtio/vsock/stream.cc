// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/vsock/stream.h"

#include <sys/socket.h>

#include <array>
#include <string>
#include <vector>

namespace nacre::virtio::vsock {

namespace {

size_t total_size(std::span<const iovec> pieces) {
  size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

// Returns the pieces after their first `count` bytes. Changes the first remaining piece in place.
std::span<iovec> skip(std::span<iovec> pieces, size_t count) {
  while (!pieces.empty() && count >= pieces[0].iov_len) {
    count -= pieces[0].iov_len;
    pieces = pieces.subspan(1);
  }
  if (count > 0) {
    pieces[0].iov_base = static_cast<std::byte*>(pieces[0].iov_base) + count;
    pieces[0].iov_len -= count;
  }
  return pieces;
}

}  // namespace

Result<void> Stream::join(HostEnd end) {
  end_ = std::move(end);
  TRY(end_.attach(loop_, [this](uint32_t events) { on_events(events); }));
  joined_ = true;
  return {};
}

Result<void> Stream::accept_client() {
  ClientRequest client = std::move(client_);
  std::string line = "OK " + std::to_string(connection.ports().host) + "\n";
  // A new socket's buffer has room for the line.
  ssize_t n = ::send(client.socket.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n != static_cast<ssize_t>(line.size())) return fail("the client is gone");
  if (!client.passed) return join(TRY(HostEnd::create(std::move(client.socket), HostEnd::Direction::both)));
  HostEnd::Direction direction = client.direction ? *client.direction : TRY(HostEnd::direction_of(client.passed.get()));
  TRY(join(TRY(HostEnd::create(std::move(client.passed), direction))));
  return status_.open(loop_, std::move(client.socket), [this] { changed_(*this); });
}

void Stream::deliver(std::span<const iovec> data) {
  size_t size = total_size(data);
  received_ += size;
  if (!end_.has_sink()) {
    // The host's end cannot be written, or can no longer be written. The bytes go nowhere, and the guest is told so.
    connection.forwarded(static_cast<uint32_t>(size));
    connection.shut_down(kShutdownReceive);
    return;
  }
  std::vector<iovec> left(data.begin(), data.end());
  std::span<iovec> rest = left;
  if (from_guest_.empty()) {
    HostEnd::Transfer transfer = write(rest);
    rest = skip(rest, transfer.bytes);
    if (transfer.ended) {
      lose_sink();
      connection.forwarded(static_cast<uint32_t>(total_size(rest)));
      return;
    }
  }
  from_guest_.append(rest);
}

// Writes as much as the host's end takes now.
HostEnd::Transfer Stream::write(std::span<const iovec> data) {
  std::vector<iovec> left(data.begin(), data.end());
  std::span<iovec> rest = skip(left, 0);
  HostEnd::Transfer sum;
  while (!rest.empty() && end_.can_write() && !sum.ended) {
    HostEnd::Transfer transfer = end_.write(rest);
    sum.bytes += transfer.bytes;
    sum.ended = transfer.ended;
    rest = skip(rest, transfer.bytes);
  }
  written_ += sum.bytes;
  connection.forwarded(static_cast<uint32_t>(sum.bytes));
  return sum;
}

void Stream::lose_sink() {
  end_.close_sink();
  connection.forwarded(static_cast<uint32_t>(from_guest_.size()));
  from_guest_.clear();
  if ((connection.guest_shutdown() & kShutdownSend) == 0) connection.shut_down(kShutdownReceive);
}

size_t Stream::read(std::span<const iovec> into) {
  HostEnd::Transfer transfer = end_.read(into);
  if (transfer.ended) {
    end_.close_source();
    connection.shut_down(kShutdownSend);
  }
  return transfer.bytes;
}

void Stream::on_events(uint32_t events) {
  bool had_sink = end_.has_sink();
  end_.on_events(events);
  if (had_sink && !end_.has_sink()) lose_sink();
  changed_(*this);
}

bool Stream::has_output() {
  if (cut_off_) return false;
  if (connection.is_open() && end_.can_read()) {
    if (connection.send_credit() > 0) return true;
    connection.want_credit();
  }
  return connection.has_control();
}

void Stream::settle() {
  if (!joined_) return;
  std::array<iovec, 2> pieces;
  while (!from_guest_.empty() && end_.can_write()) {
    size_t count = from_guest_.peek(pieces);
    HostEnd::Transfer transfer = write(std::span(pieces).first(count));
    from_guest_.consume(transfer.bytes);
    if (transfer.ended) lose_sink();
  }
  bool guest_ended = cut_off_ || (connection.guest_shutdown() & kShutdownSend) != 0;
  if (guest_ended && from_guest_.empty()) end_.close_sink();
  if (cut_off_ || (connection.guest_shutdown() & kShutdownReceive) != 0) end_.close_source();
  status_.update({.received = received_, .written = written_, .open = end_.has_sink()});
  if (is_finished()) status_.close();
}

void Stream::cut_off() {
  cut_off_ = true;
  settle();
}

}  // namespace nacre::virtio::vsock
