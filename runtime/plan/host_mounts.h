// SPDX-License-Identifier: Apache-2.0
// The host's mounts below what a VM serves. The share is one file system in the guest and many on the host: guest-init
// makes the same mounts over it ("hostMounts" of protocol.h).
//
// These functions ask the host, and are no part of make_plan(): the stand-in calls them once hooks have run, which may
// have mounted something.
#pragma once

#include <string>
#include <vector>

#include "base/mountinfo.h"
#include "base/result.h"
#include "guest-init/protocol/messages.h"
#include "runtime/vm/sources.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

// Returns the host's mounts that `share` serves, with their attributes and their places in the share.
Result<std::vector<protocol::HostMount>> to_host_mounts(const vmm::Fs& share, const Sources& sources);

// Returns a mount's attributes as mount(8) options. (mountinfo does not show "strictatime", so it is inferred.)
std::vector<std::string> attribute_words(const MountInfo& mount);
// The type of the file system that no VM gets (is_on_proc() in devices/virtio/fs/attributes.h says why).
inline constexpr const char* kProcType = "proc";
// Returns those of `mounts` that one finds below a path, the upper before the lower. Leaves out what is on a /proc.
std::vector<MountInfo> mounts_below(const std::string& source, const std::vector<MountInfo>& mounts);
// Returns the place in the share of what is mounted at `point`, which is `source` or below it. `source` is served under
// the name `target`.
std::string path_in_share(const std::string& target, const std::string& source, const std::string& point);

}  // namespace nacre::runtime
