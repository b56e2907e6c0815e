// SPDX-License-Identifier: Apache-2.0
// Fuzzes the FUSE server: feeds a sequence of requests to a session over a scratch directory.
//
// Each request in the input has a header of four bytes: opcode, node id, room for the reply in units of 64 bytes, and
// body length in units of 8 bytes. The body follows. Afterwards the files next to the share must be what they were.
// This works as root too: whatever the server can be made to do, it does below the scratch directory.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "devices/virtio/fs/session.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;
using namespace nacre::virtio::fs;

struct World {
  World() {
    ::signal(SIGXFSZ, SIG_IGN);
    set_log_sink([](LogLevel, std::string_view) {});
    const char* base = std::getenv("TMPDIR");
    top = std::string(base != nullptr ? base : "/tmp") + "/nacre-fuse-fuzz-XXXXXX";
    if (::mkdtemp(top.data()) == nullptr) std::abort();
    std::ofstream(top + "/secret") << "secret";
    proc = Fd(::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  ~World() { std::filesystem::remove_all(top); }

  void fresh_share() {
    std::filesystem::remove_all(top + "/share");
    std::filesystem::create_directories(top + "/share/d");
    std::ofstream(top + "/share/f") << "content";
    std::filesystem::create_symlink("../secret", top + "/share/l");
  }
  void check() const {
    struct stat stat{};
    size_t beside = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(top)) beside++;
    bool whole = ::lstat((top + "/secret").c_str(), &stat) == 0 && stat.st_size == 6 && stat.st_nlink == 1;
    if (!whole || beside != 2) std::abort();
  }

  std::string top;
  Fd proc;
};

// Returns whether to skip a request, since it would be slow or fill the disk, and is of no interest.
bool skipped(uint32_t opcode, std::span<const std::byte> body) {
  using enum wire::Opcode;
  auto is = [&](wire::Opcode which) { return opcode == static_cast<uint32_t>(which); };
  if (is(wire::Opcode::fsync) || is(fsyncdir) || is(wire::Opcode::syncfs)) return true;
  if (!is(wire::Opcode::fallocate) || body.size() < sizeof(wire::FallocateIn)) return false;
  wire::FallocateIn in;
  std::memcpy(&in, body.data(), sizeof(in));
  return in.length > 1 << 20;
}

void request(Session& session, uint32_t opcode, uint64_t nodeid, std::span<const std::byte> body, size_t room) {
  wire::InHeader header{.len = static_cast<uint32_t>(sizeof(wire::InHeader) + body.size()),
                        .opcode = opcode,
                        .unique = 1,
                        .nodeid = nodeid,
                        .uid = opcode % 3 == 0 ? 1000u : 0u,
                        .gid = 0,
                        .pid = 1,
                        .total_extlen = 0,
                        .padding = 0};
  // The buffers are on the heap with their exact size, so that an access beyond them is found (but one byte more for
  // the reply, whose size may be 0). A request that waits for a lock keeps its buffers, so they live until the session
  // ends. The opcode UINT32_MAX frees them.
  static std::vector<std::unique_ptr<std::byte[]>> buffers;
  if (opcode == UINT32_MAX) return buffers.clear();
  size_t size = sizeof(header) + body.size();
  auto in = std::make_unique<std::byte[]>(size);
  std::memcpy(in.get(), &header, sizeof(header));
  if (!body.empty()) std::memcpy(in.get() + sizeof(header), body.data(), body.size());
  auto out = std::make_unique<std::byte[]>(room + 1);
  Chain chain;
  chain.reader = Reader({{in.get(), size}});
  chain.writer = Writer({{out.get(), room}});
  buffers.push_back(std::move(in));
  buffers.push_back(std::move(out));
  session.submit(1, std::move(chain));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  world.fresh_share();
  SessionOptions options;
  options.proc_self_fd = world.proc.get();
  Fd root(::open((world.top + "/share").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto session = Session::create(std::move(root), options, [](size_t, Chain, uint32_t) {});
  if (!session || !(*session)->enter_thread()) std::abort();

  wire::InitIn init{
      .major = 7, .minor = 41, .max_readahead = 0, .flags = static_cast<uint32_t>(wire::kInitSetxattrExt)};
  request(**session, static_cast<uint32_t>(wire::Opcode::init), 0, std::as_bytes(std::span(&init, 1)), 256);
  std::span<const std::byte> input(reinterpret_cast<const std::byte*>(data), size);
  while (input.size() >= 4) {
    auto opcode = static_cast<uint32_t>(input[0]);
    auto nodeid = static_cast<uint64_t>(input[1]);
    size_t room = static_cast<size_t>(input[2]) * 64;
    size_t length = std::min(static_cast<size_t>(input[3]) * 8, input.size() - 4);
    auto body = input.subspan(4, length);
    input = input.subspan(4 + length);
    if (!skipped(opcode, body)) request(**session, opcode, nodeid, body, room);
  }
  (*session)->retry_locks();
  (*session)->reset();
  request(**session, UINT32_MAX, 0, {}, 0);
  world.check();
  return 0;
}
