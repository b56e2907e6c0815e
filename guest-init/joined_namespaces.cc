#include "guest-init/joined_namespaces.h"

#include <fcntl.h>
#include <sched.h>

#include "base/log.h"

namespace nacre::guest {

namespace {

struct NamespaceFile {
  uint64_t flag;
  const char* path;
};

constexpr NamespaceFile kFiles[] = {{CLONE_NEWPID, "/proc/self/ns/pid"},       {CLONE_NEWIPC, "/proc/self/ns/ipc"},
                                    {CLONE_NEWUTS, "/proc/self/ns/uts"},       {CLONE_NEWNET, "/proc/self/ns/net"},
                                    {CLONE_NEWCGROUP, "/proc/self/ns/cgroup"}, {CLONE_NEWTIME, "/proc/self/ns/time"}};
static_assert(NamespaceGuard::kNotHere == (CLONE_NEWNS | CLONE_NEWUSER));

}  // namespace

Result<std::map<std::string, std::string>> parse_joins(const Field& joins) {
  std::map<std::string, std::string> parsed;
  for (const auto& [type, container] : TRY(joins.members())) parsed[type] = TRY(container.string());
  return parsed;
}

Result<NamespaceGuard> NamespaceGuard::enter(const std::vector<NamespaceJoin>& joins) {
  NamespaceGuard guard;
  for (const NamespaceJoin& join : joins) {
    uint64_t flags = join.flags & ~kNotHere;
    for (const auto& [flag, path] : kFiles) {
      if (flags & flag) guard.own_.push_back(TRY(open_file(path, O_RDONLY)));
    }
    if (flags != 0 && ::setns(join.pidfd, static_cast<int>(flags)) < 0) {
      return fail_errno("join another container's namespaces");
    }
  }
  return guard;
}

NamespaceGuard::~NamespaceGuard() {
  for (const Fd& own : own_) {
    if (::setns(own.get(), 0) < 0) log_error(Error::from_errno("come back from a namespace", errno).message());
  }
}

}  // namespace nacre::guest
