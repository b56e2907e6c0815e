// SPDX-License-Identifier: Apache-2.0
// The words in "options" of a mount that guest-init knows. `nacre features` lists them. Other words go to the file
// system.
#pragma once

#include <sys/mount.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace nacre::oci {

struct MountAttribute {
  std::string_view name;
  uint64_t set, clear;
};

// mount(8)'s words for attributes of a mount. With an "r" before it each one is for the whole tree (runtime-spec 1.2,
// "Linux mount options"). The kinds of access time exclude each other: setting one clears the field first.
inline constexpr std::array kMountAttributes = {
    MountAttribute{"ro", MOUNT_ATTR_RDONLY, 0},
    MountAttribute{"rw", 0, MOUNT_ATTR_RDONLY},
    MountAttribute{"nosuid", MOUNT_ATTR_NOSUID, 0},
    MountAttribute{"suid", 0, MOUNT_ATTR_NOSUID},
    MountAttribute{"nodev", MOUNT_ATTR_NODEV, 0},
    MountAttribute{"dev", 0, MOUNT_ATTR_NODEV},
    MountAttribute{"noexec", MOUNT_ATTR_NOEXEC, 0},
    MountAttribute{"exec", 0, MOUNT_ATTR_NOEXEC},
    MountAttribute{"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    MountAttribute{"diratime", 0, MOUNT_ATTR_NODIRATIME},
    MountAttribute{"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
    MountAttribute{"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
    MountAttribute{"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    MountAttribute{"norelatime", 0, 0},  // what is not asked for is the default, and that is relatime
    MountAttribute{"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    MountAttribute{"atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    MountAttribute{"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    MountAttribute{"nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
};

struct MountPropagation {
  std::string_view name;
  uint64_t flag;
};

// Like attributes, with an "r" before them for the whole tree.
inline constexpr std::array kMountPropagations = {
    MountPropagation{"shared", MS_SHARED}, MountPropagation{"slave", MS_SLAVE}, MountPropagation{"private", MS_PRIVATE},
    MountPropagation{"unbindable", MS_UNBINDABLE}};

// Options of the file system, which gets them as they are. A bind mount has none.
inline constexpr std::array<std::string_view, 6> kSuperBlockOptions = {"sync",   "dirsync",  "mand",
                                                                       "nomand", "lazytime", "nolazytime"};
// runc's extension: a tmpfs starts with a copy of what it covers.
inline constexpr std::string_view kCopyUpOption = "tmpcopyup";

inline constexpr std::array<std::string_view, 2> kBindOptions = {"bind", "rbind"};

// Stands before the source of a bind mount that is a path in the container's root, with the mounts so far.
inline constexpr const char* kInRoot = "root:";

// Maps ids, without or with the mounts below: by the mount's own mappings, or else the container's.
inline constexpr std::array<std::string_view, 2> kMappingOptions = {"idmap", "ridmap"};

// Words of fstab(5) and of callers that have no effect here.
inline constexpr std::array<std::string_view, 12> kVoidMountOptions = {"defaults", "nofail", "_netdev",  "auto",
                                                                       "noauto",   "silent", "loud",     "async",
                                                                       "acl",      "noacl",  "iversion", "noiversion"};

}  // namespace nacre::oci
