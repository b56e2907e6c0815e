// Namespaces of other containers of this machine, which a new container is to be in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "guest-init/protocol/field.h"

namespace nacre::guest {

using protocol::Field;

// "joins" of a create request: types of namespaces, in the specification's words, and the containers whose they are.
Result<std::map<std::string, std::string>> parse_joins(const Field& joins);

// The namespaces of one type, or more, of a living process.
struct NamespaceJoin {
  uint64_t flags = 0;  // CLONE_NEW*
  int pidfd = -1;      // of the container's first process; not owned
};

// What we clone while this exists is in these namespaces, and stays our own child. Not for mount namespaces and those
// of users: of the first we need our own, and to the second nobody comes back.
class NamespaceGuard {
 public:
  static constexpr uint64_t kNotHere = 0x00020000 | 0x10000000;  // CLONE_NEWNS, CLONE_NEWUSER

  static Result<NamespaceGuard> enter(const std::vector<NamespaceJoin>& joins);
  NamespaceGuard(NamespaceGuard&& other) noexcept : own_(std::exchange(other.own_, {})) {}
  ~NamespaceGuard();

 private:
  NamespaceGuard() = default;
  std::vector<Fd> own_;  // to come back to
};

}  // namespace nacre::guest
