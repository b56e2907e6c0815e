// What can be asked of a running vmm: on its control socket (AF_UNIX, SOCK_SEQPACKET; [control] of the configuration)
// each packet is a request and gets a packet back, until the caller closes.
//
//   resize memory=536870912 cpus=2   -> size memory=536870912 present=111149056 ... | error TEXT
//   resize                           -> changes nothing, tells the same
//   hold                             -> the same answer; see Hold
//   share tag=nacre name=NAME        -> the same answer; see Share
//   unshare tag=nacre name=NAME      -> the same answer; see Unshare
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

namespace nacre::vmm {

// The longest packet, either way.
inline constexpr size_t kMaxControlPacket = 512;

struct Resize {
  // Bytes that the guest should have: from what it booted with to max_memory, 2 MiB multiples. The guest takes, and
  // gives back, what is beyond its first memory at its own pace: `present` tells.
  std::optional<uint64_t> memory = std::nullopt;
  // CPUs that the guest can bring online by itself, at most max_cpus. They are made when they are asked for and stay:
  // fewer than there are changes nothing.
  std::optional<unsigned> cpus = std::nullopt;
};

// For as long as the caller's connection lasts the machine runs, also when the lifeline of its configuration ends, or
// the process that started vmm.
struct Hold {};

// Another tree of the host in the share of that tag. The packet brings its root, an O_PATH descriptor (SCM_RIGHTS): the
// guest finds it under `name` in the share's root. It is gone, with all that the guest has open of it, when the
// caller's connection ends.
struct Share {
  std::string tag;
  std::string name;  // one component of a path; letters, digits and "_+-.:"
};

// The end of a tree before that of the connection which brought it.
struct Unshare {
  std::string tag;
  std::string name;
};

using ControlRequest = std::variant<Resize, Hold, Share, Unshare>;

struct MachineSize {
  uint64_t memory = 0;  // asked for, bytes
  uint64_t present = 0;
  uint64_t max_memory = 0;
  unsigned cpus = 0;
  unsigned max_cpus = 0;
};

std::string encode_request(const ControlRequest& request);
Result<ControlRequest> parse_request(std::string_view packet);
std::string encode_answer(const Result<MachineSize>& answer);
// The error of an answer that is one.
Result<MachineSize> parse_answer(std::string_view packet);

}  // namespace nacre::vmm
