// SPDX-License-Identifier: Apache-2.0
// Fuzzes the file system that shows a container's /proc on the host: what the guest says is there, and the requests of
// the host's kernel.
//
// The first byte chooses the form of the guest's answer: JSON, or lists of files. The requests follow the answer: each
// has an opcode, a node id and a short body. A request gets one reply, of the right size and for this request, or none
// if it is of a kind that has none. Only files of known names are there, and every entry of a listing can be looked up.
#include <linux/fuse.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "base/fd.h"
#include "guest-init/protocol/proc_files.h"
#include "runtime/guest/procfs/file_system.h"
#include "tests/fuzz/answer.h"

namespace {

using namespace nacre;

constexpr size_t kMaxRequests = 40;
constexpr uint32_t kMaxListing = 1 << 16;

protocol::ProcfsReply take_answer(fuzz::Input& input) {
  if (input.take<uint8_t>() % 2 == 0) {
    auto answer = fuzz::read_answer<protocol::ProcfsReply>(input.text(input.take<uint16_t>()));
    return answer.value_or(protocol::ProcfsReply{});
  }
  protocol::ProcfsReply reply;
  reply.machine = fuzz::take_files(input, protocol::kMachineFiles, input.take<uint8_t>() % 8);
  for (auto count = input.take<uint8_t>() % 8; count > 0; count--) {
    bool numbered = input.take<uint8_t>() % 4 != 0;
    std::string pid = numbered ? std::to_string(input.take<uint16_t>()) : input.short_text();
    auto& process = reply.processes[pid];
    process.files = fuzz::take_files(input, protocol::kProcessFiles, input.take<uint8_t>() % 16);
    process.namespaces = fuzz::take_files(input, protocol::kNamespaceLinks, input.take<uint8_t>() % 9);
  }
  return reply;
}

// Walks a snapshot's whole tree, and finds each entry by its name.
void check_tree(const procfs::Snapshot& snapshot, procfs::Node directory, int depth) {
  fuzz::check(depth < 4, "a directory lies in itself");
  for (const procfs::Entry& entry : snapshot.list(directory)) {
    bool is_name = !entry.name.empty() && !entry.name.contains('/') && !entry.name.starts_with('.');
    fuzz::check(is_name && fuzz::is_utf8(entry.name), "an entry has a name that is none");
    auto found = snapshot.lookup(directory, entry.name);
    fuzz::check(found && found->node == entry.node && found->kind == entry.kind, "an entry is not found by its name");
    const std::string* content = snapshot.content(entry.node);
    fuzz::check((content == nullptr) == (entry.kind == procfs::Kind::directory), "a file has no content");
    if (entry.kind == procfs::Kind::directory) check_tree(snapshot, entry.node, depth + 1);
    if (entry.kind != procfs::Kind::link) continue;
    fuzz::check(!content->contains('/') && !content->starts_with('.'), "a link leads to a file of the host");
  }
}

bool has_no_reply(uint32_t opcode) {
  return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
}

class Kernel {
 public:
  explicit Kernel(const protocol::ProcfsReply& reply) {
    auto [ours, theirs] = make_socketpair(SOCK_SEQPACKET).value();
    socket_ = std::move(ours);
    int size = 8 << 20;
    (void)::setsockopt(theirs.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    files_.emplace(std::move(theirs), [&reply]() -> Result<protocol::ProcfsReply> { return reply; });
  }

  void request(uint32_t opcode, uint64_t node, std::span<const std::byte> body) {
    std::array<std::byte, 1024> packet{};
    fuse_in_header header{};
    header.opcode = opcode;
    header.nodeid = node;
    header.unique = ++unique_;
    body = body.first(std::min(body.size(), packet.size() - sizeof(header)));
    header.len = static_cast<uint32_t>(sizeof(header) + body.size());
    std::memcpy(packet.data(), &header, sizeof(header));
    if (!body.empty()) std::memcpy(packet.data() + sizeof(header), body.data(), body.size());
    fuzz::check(write_all(socket_.get(), std::span(packet).first(header.len)).has_value(), "a request is not taken");
    fuzz::check(files_->serve_one(), "the file system ends by itself");
    take_reply(opcode, body);
  }

  // A packet that is no request at all ends the file system, and does no more.
  void end(std::span<const std::byte> packet) {
    if (packet.empty() || packet.size() >= sizeof(fuse_in_header)) return;
    fuzz::check(write_all(socket_.get(), packet).has_value(), "a packet is not taken");
    fuzz::check(!files_->serve_one(), "what is no request is served");
  }

 private:
  void take_reply(uint32_t opcode, std::span<const std::byte> body) {
    auto receive = [&] { return ::recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC); };
    ssize_t got = receive();
    // The guest's answer comes from another thread.
    while (got < 0 && errno == EAGAIN && !has_no_reply(opcode)) {
      fuzz::check(files_->serve_one(), "the file system ends before it answers");
      got = receive();
    }
    if (has_no_reply(opcode)) return fuzz::check(got < 0, "a reply to a request that has none");
    // What is larger than the socket takes is not sent at all. No such answer passes the limits of a guest's answers.
    fuzz::check(got >= static_cast<ssize_t>(sizeof(fuse_out_header)), "a request has no reply");
    fuse_out_header header;
    std::memcpy(&header, buffer_.data(), sizeof(header));
    fuzz::check(header.len == static_cast<size_t>(got), "a reply has another size than it says");
    fuzz::check(header.unique == unique_, "a reply is to another request");
    fuzz::check(header.error <= 0 && header.error > -512, "a reply has an error that is none");
    if (opcode != FUSE_READ && opcode != FUSE_READDIR) return;
    fuse_read_in in{};
    std::memcpy(&in, body.data(), std::min(body.size(), sizeof(in)));
    fuzz::check(static_cast<size_t>(got) <= sizeof(header) + in.size, "a reply has more than was asked for");
    fuzz::check(::recv(socket_.get(), buffer_.data(), 1, MSG_DONTWAIT) < 0, "a request has two replies");
  }

  Fd socket_;
  std::optional<procfs::FileSystem> files_;
  uint64_t unique_ = 0;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(1 << 17);
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::silence_log();
  fuzz::Input input(data, size);
  protocol::ProcfsReply reply = take_answer(input);
  if (auto snapshot = procfs::Snapshot::parse(reply)) {
    check_tree(*snapshot, procfs::kRoot, 0);
    fuzz::check(!snapshot->lookup(procfs::kRoot, ".."), "there is something above the root");
  }
  Kernel kernel(reply);
  kernel.request(FUSE_OPENDIR, procfs::kRoot, {});
  for (size_t i = 0; i < kMaxRequests && !input.empty(); i++) {
    uint32_t opcode = input.take<uint8_t>() % 60;
    uint64_t node = input.take<uint8_t>() | uint64_t{input.take<uint8_t>()} << 8;
    auto raw = input.bytes(input.take<uint8_t>());
    std::vector<std::byte> body(raw.begin(), raw.end());
    if ((opcode == FUSE_READ || opcode == FUSE_READDIR) && body.size() < sizeof(fuse_read_in)) {
      // Asks for something that makes sense.
      fuse_read_in in{};
      in.size = input.take<uint16_t>() % kMaxListing;
      in.offset = input.take<uint8_t>();
      auto view = std::as_bytes(std::span(&in, 1));
      body.assign(view.begin(), view.end());
    }
    kernel.request(opcode, node, body);
  }
  kernel.end(input.rest());
  return 0;
}
