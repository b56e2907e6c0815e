// SPDX-License-Identifier: Apache-2.0
// Sends FUSE requests to a session, for targets that fuzz the server.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "devices/virtio/fs/session.h"
#include "tests/fuzz/input.h"

namespace nacre::fuzz {

// Keeps the buffers of all requests: a request that waits for a lock keeps them until the session ends, so this object
// must outlive the session. The buffers are on the heap with their exact size, so that an access beyond them is found
// (but one byte more for the reply, whose room may be 0).
class FuseRequests {
 public:
  // Sends a request, and returns the reply's error or 0, and what follows its header in body(). Returns nothing if
  // there is no reply yet, or none at all.
  std::optional<int32_t> send(virtio::fs::Session& session, uint32_t opcode, uint64_t nodeid,
                              std::span<const std::byte> body, size_t room) {
    using namespace virtio;
    fs::wire::InHeader header{.len = static_cast<uint32_t>(sizeof(fs::wire::InHeader) + body.size()),
                              .opcode = opcode,
                              .unique = ++unique_,
                              .nodeid = nodeid,
                              .uid = opcode % 3 == 0 ? 1000u : 0u,
                              .gid = 0,
                              .pid = 1,
                              .total_extlen = 0,
                              .padding = 0};
    size_t size = sizeof(header) + body.size();
    auto in = std::make_unique<std::byte[]>(size);
    std::memcpy(in.get(), &header, sizeof(header));
    if (!body.empty()) std::memcpy(in.get() + sizeof(header), body.data(), body.size());
    auto out = std::make_unique<std::byte[]>(room + 1);
    Chain chain;
    chain.reader = Reader({{in.get(), size}});
    chain.writer = Writer({{out.get(), room}});
    reply_ = std::span(out.get(), room);
    buffers_.push_back(std::move(in));
    buffers_.push_back(std::move(out));
    session.submit(1, std::move(chain));
    return take_reply();
  }
  template <typename Body>
  std::optional<int32_t> send_object(virtio::fs::Session& session, virtio::fs::wire::Opcode opcode, uint64_t nodeid,
                                     const Body& body, std::string_view name = {}, size_t room = 1024) {
    auto view = std::as_bytes(std::span(&body, 1));
    std::vector<std::byte> bytes(view.begin(), view.end());
    append(bytes, name);
    return send(session, static_cast<uint32_t>(opcode), nodeid, bytes, room);
  }
  std::optional<int32_t> send_name(virtio::fs::Session& session, virtio::fs::wire::Opcode opcode, uint64_t nodeid,
                                   std::string_view name) {
    std::vector<std::byte> bytes;
    append(bytes, name);
    bytes.push_back(std::byte{0});
    return send(session, static_cast<uint32_t>(opcode), nodeid, bytes, 1024);
  }
  // Returns the last reply's content from its front.
  template <typename T>
  T body() const {
    T value{};
    constexpr size_t kHeader = sizeof(virtio::fs::wire::OutHeader);
    if (reply_.size() >= kHeader + sizeof(T)) std::memcpy(&value, reply_.data() + kHeader, sizeof(T));
    return value;
  }
  // Drops the buffers, of a session that has been reset.
  void forget() {
    buffers_.clear();
    reply_ = {};
  }

 private:
  static void append(std::vector<std::byte>& bytes, std::string_view name) {
    if (name.empty()) return;
    auto view = std::as_bytes(std::span(name));
    bytes.insert(bytes.end(), view.begin(), view.end());
    bytes.push_back(std::byte{0});
  }
  std::optional<int32_t> take_reply() const {
    virtio::fs::wire::OutHeader out{};
    if (reply_.size() < sizeof(out)) return std::nullopt;
    std::memcpy(&out, reply_.data(), sizeof(out));
    if (out.len == 0) return std::nullopt;
    check(out.len <= reply_.size(), "a reply is longer than its room");
    check(out.unique == unique_, "a reply is to another request");
    return out.error;
  }

  uint64_t unique_ = 0;
  std::vector<std::unique_ptr<std::byte[]>> buffers_;
  std::span<std::byte> reply_;
};

// Opens the session's protocol as Linux does.
inline void send_init(FuseRequests& requests, virtio::fs::Session& session) {
  using namespace virtio::fs;
  wire::InitIn init{.major = 7,
                    .minor = 41,
                    .max_readahead = 0,
                    .flags = static_cast<uint32_t>(wire::kInitSetxattrExt | wire::kInitPosixLocks)};
  requests.send_object(session, wire::Opcode::init, 0, init);
}

}  // namespace nacre::fuzz
