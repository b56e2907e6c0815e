// SPDX-License-Identifier: Apache-2.0
// The conversation between nacre on the host and guest-init in the guest, over vsock.
//
// Framing is in frame.h, and the requests, replies and events are in messages.h. Objects of the OCI runtime
// specification travel as they are. Both ends distrust the other: a frame that is too long, a value of the wrong type
// or an unknown "type" ends the connection with one logged line and does nothing else.
//
// Connections:
//   * The primary one: guest-init connects to (host, kHostPort) when it is ready. vmm joins it to a descriptor of the
//     stand-in of the container that the VM was made for. When it is closed, and so are all others that have created a
//     container, guest-init powers the VM off.
//   * Others: the host connects to (guest, kControlPort), one connection per command or exec, each independent.
//   * Streams: the host connects to (guest, port) for each port that a Created reply names: raw bytes, one connection
//     per stdio descriptor. stdin carries bytes to the guest, stdout and stderr carry bytes to the host; an end of file
//     is the shutdown of that direction. Only the first connection to such a port counts; the port is then closed. A
//     port that the host does not connect to within a minute is given up.
//
// The host sends requests. Each gets one reply on the same connection, in order; a request that fails gets an
// ErrorReply. Events come from the guest on the connection that created the process, after the reply to that request.
// So the connection that created a process is held for as long as the process lives: when it closes, the process is
// killed, since nobody could hear of its end any more.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nacre::protocol {

inline constexpr uint32_t kHostPort = 1024;     // on the host (CID 2), for the primary connection
inline constexpr uint32_t kControlPort = 1024;  // on the guest
inline constexpr size_t kMaxPassed = 64;        // descriptors of one process

// The virtio-fs tag of a container's VM, and where guest-init mounts it. Below: "rootfs", "mount-0", ...
inline constexpr const char* kShareTag = "nacre";
inline constexpr const char* kShareMountPoint = "/run/nacre/share";
inline constexpr const char* kNotifyDirectory = "/run/nacre/notify";
inline constexpr const char* kNotifyName = "notify.sock";

}  // namespace nacre::protocol
