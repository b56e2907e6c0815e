// SPDX-License-Identifier: Apache-2.0
// Fuzzes the host's side of vsock: clients that ask for streams (CONNECT), and the status channel on which they ask
// whether their bytes have arrived (FLUSH, PROGRESS). Lines come in pieces, with descriptors or without.
//
// A client gets its stream if its line is one, and no byte after the line is taken from it. Answers come in the order
// of the questions, and none says that more is written than is.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <optional>

#include "devices/virtio/vsock/listener.h"
#include "devices/virtio/vsock/status_channel.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::virtio::vsock;

constexpr size_t kMaxPieces = 40;

// Reads "CONNECT <port>[ r|w|rw]" once more, letter by letter.
bool is_connect_line(std::string_view line) {
  constexpr std::string_view kWord = "CONNECT ";
  if (!line.starts_with(kWord)) return false;
  line.remove_prefix(kWord.size());
  uint64_t port = 0;
  size_t digits = 0;
  for (; digits < line.size() && line[digits] >= '0' && line[digits] <= '9'; digits++) {
    port = std::min<uint64_t>(port * 10 + static_cast<uint64_t>(line[digits] - '0'), uint64_t{1} << 40);
  }
  std::string_view rest = line.substr(digits);
  return digits > 0 && port <= UINT32_MAX && (rest.empty() || rest == " r" || rest == " w" || rest == " rw");
}

class Host {
 public:
  Host() {
    address_.sun_family = AF_UNIX;
    std::string path = top_ / "socket";
    std::memcpy(address_.sun_path, path.c_str(), path.size() + 1);
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    bool listens = ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address_), sizeof(address_)) == 0 &&
                   ::listen(socket.get(), 8) == 0;
    fuzz::check(listens, "no listening socket");
    auto taken = [this](ClientRequest request) { request_ = std::move(request); };
    listener_ = Listener::create(*loop_, std::move(socket), taken).value();
  }

  void serve_client(fuzz::Input& input) {
    request_.reset();
    Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    bool connected = ::connect(client.get(), reinterpret_cast<sockaddr*>(&address_), sizeof(address_)) == 0;
    fuzz::check(connected, "a client is not taken");
    std::string sent;
    unsigned passed = 0;
    for (size_t i = 0; i < kMaxPieces && !input.empty() && !request_; i++) {
      auto how = input.take<uint8_t>();
      std::string piece = input.text(how & 0x3f);
      std::array<int, 2> fds = {passed_.get(), passed_.get()};
      size_t count = piece.empty() ? 0 : how >> 6 & 3;
      auto done = send_with_fds(client.get(), std::as_bytes(std::span(piece)),
                                std::span(fds).first(std::min<size_t>(count, 2)));
      if (!done || piece.empty()) break;
      sent += piece;
      passed += static_cast<unsigned>(std::min<size_t>(count, 2));
      turn();
    }
    turn();
    size_t newline = sent.find('\n');
    std::string_view line = std::string_view(sent).substr(0, newline);
    if (request_) {
      fuzz::check(newline != std::string::npos && is_connect_line(line), "a client gets a stream without a line");
      fuzz::check(!request_->direction || request_->passed, "a client gets a direction for nothing");
      check_rest(sent.substr(newline + 1));
    } else if (newline != std::string::npos && passed == 0 && is_connect_line(line)) {
      fuzz::check(line.contains("r") || line.contains("w") || line.size() >= 31, "a client with a line gets no stream");
    }
  }

 private:
  void turn() {
    for (int i = 0; i < 3; i++) fuzz::check(loop_->run_once(0).has_value(), "the loop ends");
  }
  void check_rest(const std::string& rest) {
    std::string left;
    std::array<char, 256> bytes;
    for (ssize_t n; (n = ::recv(request_->socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;) {
      left.append(bytes.data(), static_cast<size_t>(n));
    }
    fuzz::check(left == rest, "bytes after the line are taken from the stream");
  }

  const fuzz::Scratch top_;
  const Fd passed_{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  sockaddr_un address_{};
  std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
  std::optional<ClientRequest> request_;
  std::unique_ptr<Listener> listener_;
};

// Reads the answers, and checks them against what has been asked and written.
struct Answers {
  void take(int socket, uint64_t written) {
    std::array<char, 512> bytes;
    for (ssize_t n; (n = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;) {
      text.append(bytes.data(), static_cast<size_t>(n));
    }
    for (size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
      std::string line = text.substr(0, end);
      bool is_flush = line.starts_with("OK ");
      fuzz::check(is_flush || line.starts_with("WRITTEN "), "an answer is of no kind");
      uint64_t number = std::strtoull(line.c_str() + line.find(' '), nullptr, 10);
      fuzz::check(number <= written, "an answer says that more is written than is");
      (is_flush ? flushed : told)++;
    }
  }
  std::string text;
  size_t flushed = 0, told = 0;
};

void try_status(fuzz::Input& input) {
  auto loop = EventLoop::create().value();
  auto [ours, theirs] = make_socketpair(SOCK_STREAM).value();
  StatusChannel channel;
  StatusChannel::Progress progress{.received = 0, .written = 0, .open = true};
  fuzz::check(channel.open(*loop, std::move(theirs), [&] { channel.update(progress); }).has_value(), "no channel");
  Answers answers;
  std::string asked;
  for (size_t i = 0; i < kMaxPieces && !input.empty(); i++) {
    switch (input.take<uint8_t>() % 4) {
      case 0: {
        progress.received += input.take<uint16_t>();
        progress.written += input.take<uint16_t>() % (progress.received - progress.written + 1);
        progress.open = input.take<uint8_t>() != 0;
        channel.update(progress);
        break;
      }
      default: {
        std::string piece = input.text(input.take<uint8_t>() % 100);
        if (::send(ours.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) asked += piece;
      }
    }
    fuzz::check(loop->run_once(0).has_value(), "the loop ends");
    answers.take(ours.get(), progress.written);
  }
  auto count = [&](std::string_view word) {
    size_t found = 0;
    for (size_t at = asked.find(word); at != std::string::npos; at = asked.find(word, at + 1)) found++;
    return found;
  };
  fuzz::check(answers.flushed <= count("FLUSH ") && answers.told <= count("PROGRESS"), "an answer without a question");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::silence_log();
  fuzz::Input input(data, size);
  switch (input.take<uint8_t>() % 3) {
    case 0: {
      std::string line = input.text();
      fuzz::check(parse_connect_line(line).has_value() == is_connect_line(line), "a line is taken for another");
      break;
    }
    case 1: {
      static Host host;
      host.serve_client(input);
      break;
    }
    default:
      try_status(input);
  }
  return 0;
}
