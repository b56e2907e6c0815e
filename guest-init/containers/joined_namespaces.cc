#include "guest-init/containers/joined_namespaces.h"

#include <sched.h>

namespace nacre::guest {

Result<std::map<std::string, std::string>> parse_joins(const Field& joins) {
  std::map<std::string, std::string> parsed;
  for (const auto& [type, container] : TRY(joins.members())) parsed[type] = TRY(container.string());
  return parsed;
}

Result<void> enter_namespaces(const std::vector<NamespaceJoin>& joins) {
  constexpr uint64_t kUsers = CLONE_NEWUSER, kNotHere = CLONE_NEWNS;
  // Namespaces belong to the user namespace of who makes them, and root of another has no rights over them: that last.
  for (uint64_t mask : {~(kNotHere | kUsers), kUsers}) {
    for (const NamespaceJoin& join : joins) {
      uint64_t flags = join.flags & mask;
      if (flags != 0 && ::setns(join.pidfd, static_cast<int>(flags)) < 0) {
        return fail_errno("join another container's namespaces");
      }
    }
  }
  return {};
}

}  // namespace nacre::guest
