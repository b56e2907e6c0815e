// SPDX-License-Identifier: Apache-2.0
// Mandatory access control of the kernel: AppArmor (apparmor(7)) and SELinux (selinux(8)). What config.json calls
// process.apparmorProfile and process.selinuxLabel, and how a process takes them.
//
// The functions that write take `proc`, a directory descriptor of a /proc that shows the calling thread: jailed callers
// see no /proc by its name. Their errors begin with runc's words.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace nacre {

// The AppArmor profile and the SELinux label of a process. An empty member: none.
struct Confinement {
  std::string apparmor_profile;  // "docker-default"
  std::string selinux_label;     // "system_u:system_r:container_t:s0:c1,c2"
  bool operator==(const Confinement&) const = default;
};

// Return whether the running kernel enforces the one or the other, or would with a policy.
bool host_has_apparmor();
bool host_has_selinux();

// Puts the calling thread, and what it starts from then on, under an AppArmor profile. Threads that exist already keep
// theirs. "" changes nothing.
Result<void> enter_apparmor_profile(const Fd& proc, const std::string& profile);

// Gives the calling process an SELinux label. Single-threaded callers only. "" changes nothing.
Result<void> enter_selinux_label(const Fd& proc, const std::string& label);

// Calls both.
Result<void> confine(const Fd& proc, const Confinement& confinement);

// Sets the SELinux label that new keyrings of the calling thread get; "" sets the policy's own choice again.
Result<void> label_new_keyrings(const Fd& proc, const std::string& label);

// Does the same for new sockets.
Result<void> label_new_sockets(const Fd& proc, const std::string& label);

// Returns what confines a process of the host, as far as `like` names something of that kind: its other members stay
// empty, and so does what cannot be read.
Confinement confinement_of(pid_t pid, const Confinement& like);

// Returns a word for mount(2)'s data that labels all files of the file system: context="LABEL".
std::string mount_context(const std::string& label);

}  // namespace nacre
