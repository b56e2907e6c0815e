// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstring>

#include "runtime/state/store.h"

namespace nacre::runtime {

namespace {

constexpr int kBacklog = 128;
constexpr size_t kMaxLine = 64;
constexpr int kStandinEndMs = 5'000;  // until the container's stand-in has noted why its VM ended

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return fail("socket name too long: " + path, ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Makes an address that goes through a descriptor of the directory: it is short, however long the directory's path is.
Result<sockaddr_un> address_in(int directory, const std::string& name) {
  if (directory == AT_FDCWD) return address_of(name);
  return address_of("/proc/self/fd/" + std::to_string(directory) + "/" + name);
}

Result<void> connect_address(int socket, const sockaddr_un& address, const std::string& what) {
  while (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    if (errno != EINTR) return fail_errno("connect to " + what);
  }
  return {};
}

Result<Fd> make_socket(int type) {
  Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("socket");
  return socket;
}

// Reads byte by byte, since what follows the line belongs to others.
Result<std::string> read_line(int socket) {
  std::string line;
  while (line.size() < kMaxLine) {
    char c;
    ssize_t n = ::recv(socket, &c, 1, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("the VM does not answer");
    if (n == 0) return fail("the VM refused the connection", ECONNREFUSED);
    if (c == '\n') return line;
    line += c;
  }
  return fail("the VM's answer is not understood", EPROTO);
}

// Sends "CONNECT port ...": Firecracker's protocol, to which Nacre adds a descriptor and its direction.
Result<Fd> connect_port(int directory, const std::string& line, std::span<const int> fds, int timeout_ms) {
  Fd socket = TRY(connect_in(directory, kSocketName));
  TRY(set_timeouts(socket.get(), timeout_ms));
  TRY(send_with_fds(socket.get(), std::as_bytes(std::span(line)), fds));
  std::string answer = TRY(read_line(socket.get()));
  if (!answer.starts_with("OK ")) return fail("the VM's answer is not understood: " + answer, EPROTO);
  return socket;
}

// Receives one message. protocol::receive() would not do: its timeout begins again with each byte, so a guest
// could keep the caller waiting for days.
Result<protocol::Json> receive_within(int socket, protocol::Limits limits, int timeout_ms) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  protocol::Decoder decoder(limits);
  std::array<std::byte, 16384> bytes;
  for (;;) {
    protocol::Json message = TRY(decoder.next());
    if (!message.is_null()) return message;
    pollfd ready{socket, POLLIN, 0};
    int count = ::poll(&ready, 1, remaining_ms(deadline));
    if (count == 0) return fail("the guest did not answer in time", EAGAIN);
    ssize_t n = count < 0 ? -1 : ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return fail_errno("recv");
    if (n == 0) return fail("the connection has ended", ECONNRESET);
    decoder.append(std::span(bytes).first(static_cast<size_t>(n)));
  }
}

}  // namespace

int remaining_ms(std::chrono::steady_clock::time_point deadline) {
  auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

Result<void> set_timeouts(int socket, int timeout_ms) {
  timeval time{.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
  for (int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(socket, SOL_SOCKET, option, &time, sizeof(time)) < 0) return fail_errno("setsockopt");
  }
  return {};
}

Result<Fd> listen_in(int directory, const std::string& name, int type) {
  Fd socket = TRY(make_socket(type));
  sockaddr_un address = TRY(address_in(directory, name));
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0)
    return fail_errno("bind " + name);
  if (::listen(socket.get(), kBacklog) < 0) return fail_errno("listen " + name);
  return socket;
}

Result<Fd> connect_in(int directory, const std::string& name, int type) {
  Fd socket = TRY(make_socket(type));
  TRY(connect_address(socket.get(), TRY(address_in(directory, name)), "the VM"));
  return socket;
}

Result<Fd> connect_to(const std::string& path) {
  Fd socket = TRY(make_socket(SOCK_STREAM));
  TRY(connect_address(socket.get(), TRY(address_of(path)), path));
  return socket;
}

Result<Fd> connect_control(int directory, int timeout_ms) {
  return connect_port(directory, "CONNECT " + std::to_string(protocol::kControlPort) + "\n", {}, timeout_ms);
}

bool may_be_vm_end(int code) {
  return code == ECONNRESET || code == ECONNREFUSED || code == EPIPE;
}

std::string why_vm_ended(const ContainerDir& dir, const Fd& standin) {
  pollfd end{standin.get(), POLLIN, 0};
  if (standin && ::poll(&end, 1, kStandinEndMs) == 0) return "";
  return dir.read_vm_end();
}

std::string why_vm_ended(const ContainerDir& dir, const ProcessId& standin) {
  return why_vm_ended(dir, open_process(standin).value_or(Fd()));
}

Result<protocol::Json> exchange_json(int control, const protocol::Json& request, protocol::Limits limits,
                                     int timeout_ms) {
  TRY(protocol::send(control, request, timeout_ms));
  return TRY_CONTEXT(receive_within(control, limits, timeout_ms), "the guest's answer");
}

Result<protocol::Json> ask_json(int directory, const protocol::Json& request, protocol::Limits limits, int timeout_ms) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  Fd control = TRY(connect_control(directory, timeout_ms));
  return exchange_json(control.get(), request, limits, remaining_ms(deadline));
}

Result<Fd> connect_running(int directory, int timeout_ms) {
  auto control = connect_control(directory, timeout_ms);
  if (control) return control;
  int code = control.error().code();
  bool gone = code == ECONNREFUSED || code == ENOENT || code == ECONNRESET || code == EPIPE;
  return gone ? fail(kNotRunning, ESRCH) : std::unexpected(control.error());
}

Result<protocol::Json> ask_running_json(int directory, const protocol::Json& request, protocol::Limits limits,
                                        int timeout_ms) {
  Fd control = TRY(connect_running(directory, timeout_ms));
  auto reply = exchange_json(control.get(), request, limits, timeout_ms);
  if (reply) return reply;
  int code = reply.error().code();
  if (code == ECONNRESET || code == EPIPE) return fail(kNotRunning, ESRCH);
  if (code == EAGAIN) return fail("the guest did not answer in time", ETIMEDOUT);
  return std::unexpected(reply.error());
}

Result<Stream> Stream::attach(int directory, uint32_t port, Direction direction, int stdio) {
  std::string line = "CONNECT " + std::to_string(port) + (direction == Direction::to_guest ? " r\n" : " w\n");
  return Stream(TRY(connect_port(directory, line, std::array{stdio}, kRequestTimeoutMs)));
}

Result<void> Stream::request_flush(uint64_t bytes) {
  std::string line = "FLUSH " + std::to_string(bytes) + "\n";
  return send_with_fds(channel_.get(), std::as_bytes(std::span(line)), {});
}

Result<void> Stream::request_progress() {
  constexpr std::string_view kLine = "PROGRESS\n";
  return send_with_fds(channel_.get(), std::as_bytes(std::span(kLine)), {});
}

void Stream::read_answers() {
  std::array<char, kMaxLine> bytes;
  ssize_t n = ::recv(channel_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) flushed_ = true;
  for (char c : std::string_view(bytes.data(), n < 0 ? 0 : static_cast<size_t>(n))) {
    if (c != '\n') {
      line_ += c;
    } else {
      take_answer(line_);
      line_.clear();
    }
  }
  if (line_.size() > kMaxLine) flushed_ = true;  // vmm's answers are shorter
}

void Stream::take_answer(std::string_view line) {
  constexpr std::string_view kWritten = "WRITTEN ";
  if (!line.starts_with(kWritten)) {
    flushed_ = true;  // "OK": there is no other answer
    return;
  }
  line.remove_prefix(kWritten.size());
  uint64_t written = 0;
  (void)std::from_chars(line.data(), line.data() + line.size(), written);
  if (written != written_ || line.ends_with(" full")) progressed_ = true;
  written_ = written;
}

}  // namespace nacre::runtime
