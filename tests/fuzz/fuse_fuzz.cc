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

#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/fuse_requests.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;
using namespace nacre::virtio::fs;

struct World {
  World() {
    ::signal(SIGXFSZ, SIG_IGN);
    fuzz::silence_log();
    std::ofstream(top / "secret") << "secret";
    proc = Fd(::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }

  void fresh_share() {
    std::filesystem::remove_all(top / "share");
    std::filesystem::create_directories(top / "share/d");
    std::ofstream(top / "share/f") << "content";
    std::filesystem::create_symlink("../secret", top / "share/l");
  }
  void check() const {
    struct stat stat{};
    size_t beside = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(top.path())) beside++;
    bool whole = ::lstat((top / "secret").c_str(), &stat) == 0 && stat.st_size == 6 && stat.st_nlink == 1;
    fuzz::check(whole && beside == 2, "a file beside the share has changed");
  }

  const fuzz::Scratch top;
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  world.fresh_share();
  SessionOptions options;
  options.proc_self_fd = world.proc.get();
  Fd root(::open((world.top / "share").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  fuzz::FuseRequests requests;
  auto session = Session::create(std::move(root), options, [](size_t, Chain, uint32_t) {});
  fuzz::check(session && (*session)->enter_thread(), "no session");
  fuzz::send_init(requests, **session);
  std::span<const std::byte> input(reinterpret_cast<const std::byte*>(data), size);
  while (input.size() >= 4) {
    auto opcode = static_cast<uint32_t>(input[0]);
    auto nodeid = static_cast<uint64_t>(input[1]);
    size_t room = static_cast<size_t>(input[2]) * 64;
    size_t length = std::min(static_cast<size_t>(input[3]) * 8, input.size() - 4);
    auto body = input.subspan(4, length);
    input = input.subspan(4 + length);
    if (!skipped(opcode, body)) requests.send(**session, opcode, nodeid, body, room);
  }
  (*session)->retry_locks();
  (*session)->reset();
  world.check();
  return 0;
}
