// SPDX-License-Identifier: Apache-2.0
// Fuzzes the process that makes device nodes: packets of a vmm that a guest has taken over.
//
// A packet is made of the fields of a request, or it is any bytes, with up to two descriptors. There is one answer for
// each packet. The directory gets character and block devices under names of one component, and no other directory gets
// anything. Without the right to make a file system the directory is on one that has devices: then nothing is made.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <thread>

#include "base/fd.h"
#include "base/mount.h"
#include "tests/fuzz/input.h"
#include "vmm/jail/node_maker.h"

namespace {

using namespace nacre;

constexpr size_t kMaxPackets = 40;

// As in node_maker.cc, which shows it to nobody.
struct Request {
  virtio::fs::DeviceNode node;
  std::array<char, NAME_MAX + 1> name;
};

constexpr const char* kNames[] = {"a", "b", "..", ".", "", "../out/x", "/tmp/nacre-fuzz-node", "a/b", "out"};
constexpr mode_t kTypes[] = {S_IFCHR, S_IFBLK, S_IFREG, S_IFIFO, S_IFSOCK, S_IFDIR, S_IFLNK, 0};

Request take_request(fuzz::Input& input) {
  Request request{};
  request.node.mode = input.one_of(kTypes) | input.take<uint16_t>() % 010000;
  request.node.device = makedev(input.take<uint8_t>(), input.take<uint8_t>());
  request.node.uid = input.take<uint8_t>();
  request.node.gid = input.take<uint8_t>();
  request.node.umask = input.take<uint8_t>();
  std::string name = input.take<uint8_t>() & 1 ? input.one_of(kNames) : input.short_text();
  std::memcpy(request.name.data(), name.data(), std::min(name.size(), request.name.size()));
  return request;
}

// The directory in which nodes are made, and one beside it. The server is a thread: what it gives up is its own.
class Maker {
 public:
  Maker() {
    auto tree = make_filesystem("tmpfs", "", {}, MOUNT_ATTR_NODEV);
    Fd top = tree ? std::move(*tree) : open_file(scratch_.path(), O_RDONLY | O_DIRECTORY).value();
    for (const char* name : {"in", "out"}) fuzz::check(::mkdirat(top.get(), name, 0755) == 0, "no directory");
    in_ = open_at(top.get(), "in", O_RDONLY | O_DIRECTORY).value();
    out_ = open_at(top.get(), "out", O_RDONLY | O_DIRECTORY).value();
    auto [ours, theirs] = make_socketpair(SOCK_SEQPACKET).value();
    socket_ = std::move(ours);
    server_ = std::jthread([this, socket = std::move(theirs)] {
      (void)vmm::serve_node_requests(socket, out_);
      ended_ = true;
    });
  }
  ~Maker() { ::shutdown(socket_.get(), SHUT_WR); }

  void send(std::span<const std::byte> packet, size_t fds) {
    if (packet.empty()) return;  // that is the end of the requests
    std::array<int, 2> passed = {in_.get(), in_.get()};
    auto sent = send_with_fds(socket_.get(), packet, std::span(passed).first(fds));
    int error = -1;
    bool answered = sent && ::read(socket_.get(), &error, sizeof(error)) == sizeof(error);
    fuzz::check(answered && error >= 0 && error < 4096, "a packet has no answer");
    fuzz::check(error != 0 || (packet.size() == sizeof(Request) && fds == 1), "what is no request is served");
  }
  // Looks at what was made, and removes it.
  void check_made() {
    for (const std::string& name : names_in(in_)) {
      struct stat info{};
      bool found = ::fstatat(in_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
      fuzz::check(found && (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)), "something else than a device was made");
      fuzz::check(::unlinkat(in_.get(), name.c_str(), 0) == 0, "a node cannot be removed");
    }
    fuzz::check(names_in(out_).empty(), "a node was made in another directory");
    fuzz::check(::access("/tmp/nacre-fuzz-node", F_OK) != 0, "a node was made by its path");
    fuzz::check(!ended_, "the process ends by a packet");
  }

 private:
  static std::vector<std::string> names_in(const Fd& directory) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd/" + std::to_string(directory.get()))) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  const fuzz::Scratch scratch_;
  Fd in_, out_, socket_;
  std::atomic<bool> ended_ = false;
  std::jthread server_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Maker maker;
  fuzz::Input input(data, size);
  for (size_t i = 0; i < kMaxPackets && !input.empty(); i++) {
    auto kind = input.take<uint8_t>();
    size_t fds = kind & 8 ? kind >> 4 & 1 ? 2 : 0 : 1;
    if (kind & 1) {
      Request request = take_request(input);
      auto packet = std::as_bytes(std::span(&request, 1));
      maker.send(packet.first(packet.size() - (kind & 2 ? input.take<uint8_t>() : 0)), fds);
    } else {
      auto raw = input.bytes(kind & 4 ? input.take<uint16_t>() % 600 : sizeof(Request));
      std::vector<std::byte> packet(raw.begin(), raw.end());
      if (!(kind & 4)) packet.resize(sizeof(Request));
      maker.send(packet, fds);
    }
  }
  maker.check_made();
  return 0;
}
