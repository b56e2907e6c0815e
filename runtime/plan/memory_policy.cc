// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/memory_policy.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <string>
#include <string_view>

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

struct Word {
  std::string_view name;
  int value;
};

// set_mempolicy(2). Newer than the headers: weighted interleave, of Linux 6.9.
constexpr int kWeightedInterleave = 6;
constexpr Word kModes[] = {{"MPOL_DEFAULT", MPOL_DEFAULT},
                           {"MPOL_PREFERRED", MPOL_PREFERRED},
                           {"MPOL_BIND", MPOL_BIND},
                           {"MPOL_INTERLEAVE", MPOL_INTERLEAVE},
                           {"MPOL_LOCAL", MPOL_LOCAL},
                           {"MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY},
                           {"MPOL_WEIGHTED_INTERLEAVE", kWeightedInterleave}};
constexpr Word kPolicyFlags[] = {{"MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING},
                                 {"MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES},
                                 {"MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES}};
constexpr unsigned kMaxNodes = 1024;  // Linux's largest MAX_NUMNODES
constexpr size_t kWordBits = sizeof(unsigned long) * CHAR_BIT;

template <size_t N>
const Word* find(const Word (&words)[N], std::string_view name) {
  auto found = std::ranges::find(words, name, &Word::name);
  return found == std::end(words) ? nullptr : found;
}

template <size_t N>
std::vector<std::string_view> names_of(const Word (&words)[N]) {
  std::vector<std::string_view> names;
  for (const Word& word : words) names.push_back(word.name);
  return names;
}

// Parses a list like "0-2,7" into a mask. Returns the number of nodes in it.
Result<unsigned> parse_nodes(const std::string& text, std::vector<unsigned long>& nodes) {
  auto wrong = [&] { return fail("invalid memory policy nodes \"" + text + "\"", EINVAL); };
  nodes.assign(kMaxNodes / kWordBits, 0);
  unsigned count = 0;
  const char *at = text.data(), *end = at + text.size();
  auto number = [&](unsigned& value) {
    auto [next, error] = std::from_chars(at, end, value);
    at = next;
    return error == std::errc() && value < kMaxNodes;
  };
  while (at != end) {
    unsigned first = 0, last = 0;
    if (!number(first)) return wrong();
    last = first;
    if (at != end && *at == '-') {
      at++;
      if (!number(last) || last < first) return wrong();
    }
    for (unsigned node = first; node <= last; node++) {
      unsigned long bit = 1ul << (node % kWordBits);
      if (!(nodes[node / kWordBits] & bit)) count++;
      nodes[node / kWordBits] |= bit;
    }
    if (at == end) break;
    if (*at++ != ',' || at == end) return wrong();
  }
  return count;
}

}  // namespace

Result<std::optional<MemoryPolicy>> memory_policy(const Json& linux) {
  auto found = linux.find("memoryPolicy");
  if (found == linux.end()) return std::nullopt;
  std::string mode = found->value("mode", "");
  const Word* known = find(kModes, mode);
  if (known == nullptr) return fail("invalid memory policy mode \"" + mode + "\"", EINVAL);
  MemoryPolicy policy{.mode = known->value, .nodes = {}};
  unsigned count = TRY(parse_nodes(found->value("nodes", ""), policy.nodes));
  for (const Json& flag : found->value("flags", Json::array())) {
    const Word* word = find(kPolicyFlags, flag.get_ref<const std::string&>());
    if (word == nullptr) return fail("invalid memory policy flag " + flag.dump(), EINVAL);
    policy.mode |= word->value;
  }
  bool takes_none = known->value == MPOL_DEFAULT || known->value == MPOL_LOCAL;
  if (takes_none && count != 0) {
    return fail("memory policy mode requires 0 nodes but got " + std::to_string(count), EINVAL);
  }
  if (!takes_none && count == 0 && known->value != MPOL_PREFERRED) {
    return fail("memory policy mode requires at least one node but got 0", EINVAL);
  }
  return policy;
}

std::vector<std::string_view> memory_policy_modes() {
  return names_of(kModes);
}

std::vector<std::string_view> memory_policy_flags() {
  return names_of(kPolicyFlags);
}

Result<void> take_memory_policy(const MemoryPolicy& policy) {
  // The kernel looks at one bit less than it is told of (set_mempolicy(2), "BUGS").
  if (::syscall(SYS_set_mempolicy, policy.mode, policy.nodes.data(), kMaxNodes + 1) < 0) {
    return fail_errno("set memory policy");
  }
  return {};
}

}  // namespace nacre::runtime
