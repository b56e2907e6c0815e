// SPDX-License-Identifier: Apache-2.0
// The guest's side of vsock for tests: a driver that keeps the receive queue filled, and streams that obey credit. The
// device's loop runs on a thread of its own. Everything here is for the test's thread.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "base/event_loop.h"
#include "devices/virtio/testing/fake_driver.h"
#include "devices/virtio/vsock/device.h"

namespace nacre::virtio::vsock {

inline constexpr uint64_t kGuestCid = 3;

struct Packet {
  Header header;
  std::string payload;
};

class Guest;

// A connection as a well-behaved guest keeps it.
struct GuestStream {
  Guest* guest = nullptr;
  uint32_t guest_port = 0, host_port = 0;
  uint32_t buf_alloc = 65536;
  bool hold = false;  // do not read, so received bytes stay uncounted in fwd_cnt
  bool open = false, reset = false;
  uint32_t shutdown = 0;  // the shutdown flags that the device sent
  uint32_t fwd_cnt = 0, sent = 0, told = 0;
  uint32_t device_alloc = 0, device_fwd = 0;
  std::string received;
  uint64_t received_total = 0;
  bool keep = true;  // keep received bytes in `received`

  uint32_t credit() const { return device_alloc - (sent - device_fwd); }
  void send(Op op, std::string_view payload = {}, uint32_t flags = 0);
  void write(std::string_view data);  // waits for credit
  void release();                     // ends `hold`
  void on_packet(const Packet& packet);
};

class Guest {
 public:
  struct Setup {
    uint32_t rx_buffer = 4096;
    uint16_t rx_count = 64;
    bool uds = true;
    bool event_index = true;
    std::chrono::milliseconds connect_timeout{10'000};
    std::chrono::milliseconds linger_timeout{2'000};
    std::vector<InheritedStream> streams = {};
  };
  explicit Guest(Setup setup);
  Guest() : Guest(Setup{}) {}
  ~Guest();

  testing::FakeDriver& driver() { return driver_; }
  VsockDevice& device() { return *device_; }
  EventLoop& loop() { return *loop_; }
  const std::string& uds() const { return uds_; }
  size_t device_streams();  // asks on the loop's thread
  void restart();           // resets the device and activates it again

  void fill_rx();
  void starve() { refill_ = false; }
  void feed() {
    refill_ = true;
    fill_rx();
  }

  // Sends a packet as it is.
  void send_raw(const Header& header, std::string_view payload = {});
  Header header(uint32_t guest_port, uint32_t host_port, Op op, uint32_t len = 0) const;
  // Takes a packet that arrives within the limit. Returns false if nothing arrived.
  bool pump(std::chrono::milliseconds limit = std::chrono::milliseconds(20));
  bool wait(const std::function<bool()>& condition, std::chrono::milliseconds limit = std::chrono::seconds(60));
  // Waits until the device has taken all packets that were sent.
  void settle_sent();
  // Waits for a packet of this operation that belongs to no stream of ours.
  std::optional<Packet> stray(Op op, std::chrono::milliseconds limit = std::chrono::seconds(60));
  std::deque<Packet>& strays() { return strays_; }

  // Connects from the guest to the host. The host has not answered yet.
  GuestStream& connect(uint32_t host_port, uint32_t buf_alloc = 65536);
  // Takes the request to `guest_port` that a client on the host has caused, and accepts it.
  GuestStream& accept(uint32_t guest_port, uint32_t buf_alloc = 65536);

  // These act for the host: listen_on() makes a listening socket for guest connections, and client() connects a client
  // to the device's own socket.
  Fd listen_on(uint32_t port);
  Fd client();

  std::optional<testing::Used> take_used(uint32_t index, std::chrono::milliseconds limit);

 private:
  std::string directory_;
  std::string uds_;
  testing::FakeDriver driver_;
  Setup setup_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<VsockDevice> device_;
  std::thread thread_;
  bool refill_ = true;
  uint32_t in_rx_ = 0;
  uint32_t in_tx_ = 0;
  uint32_t next_port_ = 5000;
  std::map<std::pair<uint32_t, uint32_t>, std::unique_ptr<GuestStream>> streams_;
  std::deque<Packet> strays_;
};

// Helpers for the host's side. Each waits for at most a minute and then throws an exception.
std::string read_exactly(int fd, size_t size);
std::string read_to_end(int fd);
std::string read_line(int fd);
bool at_end(int fd);  // whether the peer has closed and nothing is left
void write_text(int fd, std::string_view text);
void send_fd(int socket, std::string_view text, int fd);
std::string pattern(size_t size, uint32_t seed = 1);
size_t open_fds();

}  // namespace nacre::virtio::vsock
