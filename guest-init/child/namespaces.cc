// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <unistd.h>

#include "guest-init/child/channel.h"
#include "guest-init/child/child.h"
#include "guest-init/kernel/loopback.h"

namespace nacre::guest {

namespace {

Result<void> become_namespace_root() {
  if (::setgroups(0, nullptr) < 0 || ::setresgid(0, 0, 0) < 0 || ::setresuid(0, 0, 0) < 0) {
    return fail_errno("become root of the user namespace");
  }
  return {};
}

// Makes a time namespace. The process itself enters it when it executes its program.
Result<void> make_time_namespace(const std::vector<ClockOffset>& offsets) {
  if (::unshare(CLONE_NEWTIME) < 0) return fail_errno("unshare time");
  if (offsets.empty()) return {};
  std::string text;
  for (const ClockOffset& offset : offsets) {
    text += offset.clock + " " + std::to_string(offset.seconds) + " " + std::to_string(offset.nanoseconds) + "\n";
  }
  Fd file = TRY(open_file("/proc/self/timens_offsets", O_WRONLY));
  TRY_CONTEXT(write_all(file.get(), text), "set linux.timeOffsets");
  return {};
}

}  // namespace

Result<void> enter_new_namespaces(const ContainerSpec& spec, const ChildPlan& plan) {
  // Before the ids change: the files of this process in /proc belong to the machine's root.
  if (spec.own_namespaces() & CLONE_NEWTIME) TRY(make_time_namespace(spec.clock_offsets));
  if (spec.namespaces & CLONE_NEWUSER) {
    if (!wait_for_go(plan.control)) return fail("guest-init gave up", ECANCELED);
    TRY(become_namespace_root());
  }
  if (spec.own_namespaces() & CLONE_NEWNET) TRY(raise_loopback());
  return {};
}

Result<void> join_mounts(const ChildPlan& plan) {
  if (::setns(plan.init_pidfd, CLONE_NEWNS) < 0) return fail_errno("join the mount namespace");
  return {};
}

Result<void> join_namespaces(const ChildPlan& plan) {
  constexpr uint64_t kAlways = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
  constexpr uint64_t kOwn = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWTIME;  // if they are the container's own
  if (::setns(plan.init_pidfd, static_cast<int>(kAlways | (plan.namespaces & kOwn))) < 0) {
    return fail_errno("join the container's namespaces");
  }
  if (plan.namespaces & CLONE_NEWUSER) return become_namespace_root();
  return {};
}

}  // namespace nacre::guest
