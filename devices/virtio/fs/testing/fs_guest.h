// SPDX-License-Identifier: Apache-2.0
// The guest's side of FUSE for tests. Sends requests to a session as Linux does.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "devices/virtio/fs/session.h"

namespace nacre::virtio::fs {

using Bytes = std::vector<std::byte>;

template <typename T>
Bytes object_bytes(const T& object) {
  auto view = std::as_bytes(std::span(&object, 1));
  return Bytes(view.begin(), view.end());
}
Bytes string_bytes(std::string_view text);  // with a NUL at the end
Bytes operator+(Bytes left, const Bytes& right);

// Runs a task on the thread of a loop and waits for it. The thread may not have started yet.
void wait_for(EventLoop& loop, const std::function<void()>& task);

// A temporary directory. The destructor removes it with everything in it.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }
  Fd open() const;  // O_PATH

 private:
  std::string path_;
};

// Sends requests to a session, which runs on a thread of its own, since it changes the credentials and the current
// directory of the thread.
class FsGuest {
 public:
  struct Answer {
    bool replied = false;
    int error = 0;  // a positive errno
    Bytes body;
    template <typename T>
    T as(size_t at = 0) const {
      T value{};
      if (body.size() < at + sizeof(T)) throw std::logic_error("a reply is too short");
      std::memcpy(&value, body.data() + at, sizeof(T));
      return value;
    }
  };

  // `flags` are the flags that the guest offers in INIT. Without flags, no INIT is sent.
  explicit FsGuest(const std::string& directory, SessionOptions options = {},
                   std::optional<uint64_t> flags = ~uint64_t{0});
  ~FsGuest();

  // Sends one request of this opcode and waits for the answer. `body` follows the header of the request. `room` is the
  // number of bytes for the reply after its header.
  Answer call(wire::Opcode opcode, uint64_t nodeid, const Bytes& body = {}, size_t room = 8192);
  // Sends a request whose every byte is given, header included, and waits for the answer. `room` is for the whole
  // reply. Returns nothing if no answer comes within the limit.
  std::optional<Answer> raw(const Bytes& request, size_t room,
                            std::chrono::milliseconds limit = std::chrono::seconds(60));
  // Sends a request without waiting. wait() returns its answer.
  uint64_t start(wire::Opcode opcode, uint64_t nodeid, const Bytes& body, size_t room = 8192);
  std::optional<Answer> wait(uint64_t unique, std::chrono::milliseconds limit);

  // Runs a task on the session's thread and waits for it.
  void on_thread(const std::function<void(Session&)>& task);
  size_t inode_count();
  size_t handle_count();

  uint32_t uid = 0, gid = 0, umask = 022;
  uint64_t last_unique() const { return unique_; }

 private:
  struct Pending;
  Bytes with_header(wire::Opcode opcode, uint64_t nodeid, const Bytes& body);
  std::shared_ptr<Pending> submit(const Bytes& request, size_t room);
  static std::optional<Answer> finish(Pending& pending, std::chrono::milliseconds limit);

  Fd proc_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Session> session_;
  std::map<uint16_t, std::shared_ptr<Pending>> in_flight_;  // by the chain's head; used on the session's thread
  uint16_t next_head_ = 0;
  std::map<uint64_t, std::shared_ptr<Pending>> started_;
  uint64_t unique_ = 0;
  std::atomic<bool> stop_ = false;
  std::jthread thread_;
};

}  // namespace nacre::virtio::fs
