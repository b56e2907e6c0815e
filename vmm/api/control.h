// SPDX-License-Identifier: Apache-2.0
// The requests to a running vmm. On its control socket (AF_UNIX, SOCK_SEQPACKET; [control] of the configuration) each
// packet is a request and gets a packet back, until the caller closes the connection.
//
//   resize memory=536870912 cpus=2   -> size memory=536870912 present=111149056 ... | error TEXT
//   resize                           -> the same answer; changes nothing
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
  // Bytes that the guest should have: a multiple of 2 MiB, from what it booted with to max_memory. The guest takes and
  // gives back memory beyond what it booted with at its own pace; `present` says how much it has.
  std::optional<uint64_t> memory = std::nullopt;
  // CPUs that the guest can bring online by itself, at most max_cpus. CPUs are made when they are first asked for, and
  // stay: a smaller number changes nothing.
  std::optional<unsigned> cpus = std::nullopt;
};

// Keeps the machine running for as long as the caller's connection lasts, even if the lifeline of its configuration or
// the process that started vmm ends.
struct Hold {};

// Adds a tree of the host to the share of that tag. The packet brings the tree's root, an O_PATH descriptor
// (SCM_RIGHTS). The guest finds the tree under `name` in the share's root. When the caller's connection ends, the tree
// is gone, with all that the guest has open of it.
struct Share {
  std::string tag;
  std::string name;  // one component of a path; letters, digits and "_+-.:"
};

// Takes away a tree before the connection that brought it ends.
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
// Returns the error that the answer holds, if it is one.
Result<MachineSize> parse_answer(std::string_view packet);

}  // namespace nacre::vmm
