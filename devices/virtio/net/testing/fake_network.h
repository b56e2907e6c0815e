// SPDX-License-Identifier: Apache-2.0
// A network for tests and fuzzers of virtio-net: a socket pair whose packets are a header and a frame, as those of a
// tap are.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>

#include "base/fd.h"
#include "devices/virtio/net/backend.h"
#include "devices/virtio/net/wire.h"
#include "devices/virtio/testing/fake_driver.h"

namespace nacre::testing {

// Returns whether the event loop of this process, which must have no other, has nothing to do until something happens.
// A loop that goes on watching a descriptor that nobody reads from has.
inline bool is_loop_asleep() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the descriptor of the directory itself
    if (std::filesystem::read_symlink(entry.path(), gone) != "anon_inode:[eventpoll]") continue;
    pollfd due{std::stoi(entry.path().filename()), POLLIN, 0};
    return ::poll(&due, 1, 0) == 0;
  }
  throw std::logic_error("fake network: no event loop");
}

class FakeNetwork {
 public:
  static constexpr uint64_t kOffloads =
      virtio::net::kFeatureCsum | virtio::net::kFeatureGuestCsum | virtio::net::kFeatureHostTso4 |
      virtio::net::kFeatureHostTso6 | virtio::net::kFeatureHostEcn | virtio::net::kFeatureHostUso |
      virtio::net::kFeatureGuestTso4 | virtio::net::kFeatureGuestTso6 | virtio::net::kFeatureGuestEcn |
      virtio::net::kFeatureGuestUso4 | virtio::net::kFeatureGuestUso6;

  struct Packet {
    virtio::net::Header header{};
    Bytes frame;
  };

  FakeNetwork() {
    ::signal(SIGPIPE, SIG_IGN);  // as in vmm: a network that ends is an error of the write
    auto [device, network] = make_socketpair(SOCK_SEQPACKET | SOCK_NONBLOCK).value();
    device_ = std::move(device);
    network_ = std::move(network);
  }

  // The device's side. May be called again for a device that takes over.
  std::unique_ptr<virtio::net::Backend> backend() { return std::make_unique<Side>(*this); }

  // Returns false if the device has taken too few of the packets before.
  bool send(const virtio::net::Header& header, std::span<const std::byte> frame) {
    Bytes packet = bytes_of_object(header);
    packet.insert(packet.end(), frame.begin(), frame.end());
    return send_raw(packet);
  }
  bool send_raw(std::span<const std::byte> packet) {
    if (::send(network_.get(), packet.data(), packet.size(), MSG_NOSIGNAL) >= 0) return true;
    if (errno != EAGAIN) throw std::logic_error("fake network: send failed");
    return false;
  }
  std::optional<Packet> receive() {
    Bytes packet(sizeof(virtio::net::Header) + virtio::net::kMaxFrame + 1000);
    ssize_t size = ::recv(network_.get(), packet.data(), packet.size(), 0);
    if (size < static_cast<ssize_t>(sizeof(virtio::net::Header))) return std::nullopt;
    Packet result;
    std::memcpy(&result.header, packet.data(), sizeof(result.header));
    result.frame.assign(packet.begin() + sizeof(result.header), packet.begin() + size);
    return result;
  }
  // Takes the network away from the device.
  void end() { network_.reset(); }

  uint64_t offloads = kOffloads;
  uint64_t accepted = ~0ull;  // what the device has told last
  bool refuse = false;        // accept() fails

 private:
  class Side final : public virtio::net::Backend {
   public:
    explicit Side(FakeNetwork& network) : network_(network), fd_(network.device_.dup().value()) {}
    int fd() const override { return fd_.get(); }
    uint64_t offloads() const override { return network_.offloads; }
    Result<void> accept(uint64_t features) override {
      if (network_.refuse) return fail("no");
      network_.accepted = features;
      return {};
    }

   private:
    FakeNetwork& network_;
    const Fd fd_;
  };

  Fd device_, network_;
};

}  // namespace nacre::testing
