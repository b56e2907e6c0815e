// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/testing/fs_guest.h"

#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <future>
#include <mutex>
#include <stdexcept>

namespace nacre::virtio::fs {

Bytes string_bytes(std::string_view text) {
  auto view = std::as_bytes(std::span(text));
  Bytes bytes(view.begin(), view.end());
  bytes.push_back(std::byte{0});
  return bytes;
}

Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

void wait_for(EventLoop& loop, const std::function<void()>& task) {
  std::promise<void> done;
  loop.post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

ScratchDirectory::ScratchDirectory() {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr ? base : "/tmp") + "/nacre-fs-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make a scratch directory");
  ::chmod(path_.c_str(), 0755);
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Fd ScratchDirectory::open() const {
  return Fd(::open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

// A request and the buffer for its reply. Both are cut into uneven pieces, as the buffers of a guest are cut into
// pages.
struct FsGuest::Pending {
  Bytes request, reply;
  uint32_t written = 0;
  bool done = false;
  std::mutex mutex;
  std::condition_variable changed;

  static std::vector<iovec> cut(Bytes& bytes) {
    std::vector<iovec> parts;
    for (size_t at = 0, size = 7; at < bytes.size(); at += size, size = size * 3 + 1) {
      parts.push_back({bytes.data() + at, std::min(size, bytes.size() - at)});
    }
    return parts;
  }
};

FsGuest::FsGuest(const std::string& directory, SessionOptions options, std::optional<uint64_t> flags) {
  proc_ = Fd(::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Fd root(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  options.proc_self_fd = proc_.get();
  auto complete = [this](size_t, Chain chain, uint32_t written) {
    auto found = in_flight_.extract(chain.head);
    if (!found) return;  // a restored session also answers requests that this guest has not sent
    auto pending = found.mapped();
    std::lock_guard lock(pending->mutex);
    pending->written = written;
    pending->done = true;
    pending->changed.notify_all();
  };
  session_ = Session::create(std::move(root), options, complete).value();
  loop_ = EventLoop::create().value();
  thread_ = std::jthread([this] {
    if (!session_->enter_thread()) std::abort();
    while (!stop_) {
      auto delay = session_->lock_retry_delay();
      if (!loop_->run_once(delay ? static_cast<int>(delay->count()) : -1)) std::abort();
      if (delay) session_->retry_locks();
    }
  });
  if (flags) {
    wire::InitIn in{.major = wire::kMajor,
                    .minor = wire::kMinor,
                    .max_readahead = 1 << 17,
                    .flags = static_cast<uint32_t>(*flags) | static_cast<uint32_t>(wire::kInitExt)};
    wire::InitInExt more{};
    more.flags2 = static_cast<uint32_t>(*flags >> 32);
    auto answer = call(wire::Opcode::init, 0, object_bytes(in) + object_bytes(more));
    if (answer.error != 0) throw std::runtime_error("INIT failed");
  }
}

FsGuest::~FsGuest() {
  stop_ = true;
  loop_->post([] {});
}

void FsGuest::on_thread(const std::function<void(Session&)>& task) {
  wait_for(*loop_, [&] { task(*session_); });
}

size_t FsGuest::inode_count() {
  size_t count = 0;
  on_thread([&](Session& session) { count = session.inode_count(); });
  return count;
}

size_t FsGuest::handle_count() {
  size_t count = 0;
  on_thread([&](Session& session) { count = session.handle_count(); });
  return count;
}

Bytes FsGuest::with_header(wire::Opcode opcode, uint64_t nodeid, const Bytes& body) {
  wire::InHeader header{.len = static_cast<uint32_t>(sizeof(wire::InHeader) + body.size()),
                        .opcode = static_cast<uint32_t>(opcode),
                        .unique = ++unique_,
                        .nodeid = nodeid,
                        .uid = uid,
                        .gid = gid,
                        .pid = 1,
                        .total_extlen = 0,
                        .padding = 0};
  return object_bytes(header) + body;
}

std::shared_ptr<FsGuest::Pending> FsGuest::submit(const Bytes& request, size_t room) {
  auto pending = std::make_shared<Pending>();
  pending->request = request;
  pending->reply.resize(room, std::byte{0xee});
  loop_->post([this, pending] {
    Chain chain;
    chain.head = next_head_++;
    chain.reader = Reader(Pending::cut(pending->request));
    chain.writer = Writer(Pending::cut(pending->reply));
    in_flight_.emplace(chain.head, pending);
    session_->submit(1, std::move(chain));
  });
  return pending;
}

std::optional<FsGuest::Answer> FsGuest::finish(Pending& pending, std::chrono::milliseconds limit) {
  std::unique_lock lock(pending.mutex);
  if (!pending.changed.wait_for(lock, limit, [&] { return pending.done; })) return std::nullopt;
  Answer answer;
  if (pending.written == 0) return answer;
  if (pending.written < sizeof(wire::OutHeader) || pending.written > pending.reply.size()) {
    throw std::logic_error("a reply of an impossible size");
  }
  wire::OutHeader header;
  std::memcpy(&header, pending.reply.data(), sizeof(header));
  wire::InHeader asked;
  std::memcpy(&asked, pending.request.data(), sizeof(asked));
  bool sound = header.len == pending.written && header.unique == asked.unique && header.error <= 0 &&
               header.error > -512 && (header.error == 0 || header.len == sizeof(header));
  if (!sound) throw std::logic_error("a reply with an impossible header");
  answer.replied = true;
  answer.error = -header.error;
  answer.body.assign(pending.reply.begin() + sizeof(header), pending.reply.begin() + header.len);
  return answer;
}

FsGuest::Answer FsGuest::call(wire::Opcode opcode, uint64_t nodeid, const Bytes& body, size_t room) {
  auto answer = raw(with_header(opcode, nodeid, body), sizeof(wire::OutHeader) + room);
  if (!answer) throw std::runtime_error("the server does not answer opcode " + std::to_string(int(opcode)));
  return *answer;
}

std::optional<FsGuest::Answer> FsGuest::raw(const Bytes& request, size_t room, std::chrono::milliseconds limit) {
  return finish(*submit(request, room), limit);
}

uint64_t FsGuest::start(wire::Opcode opcode, uint64_t nodeid, const Bytes& body, size_t room) {
  Bytes request = with_header(opcode, nodeid, body);
  started_[unique_] = submit(request, sizeof(wire::OutHeader) + room);
  return unique_;
}

std::optional<FsGuest::Answer> FsGuest::wait(uint64_t unique, std::chrono::milliseconds limit) {
  return finish(*started_.at(unique), limit);
}

}  // namespace nacre::virtio::fs
