// SPDX-License-Identifier: Apache-2.0
// What `vmm` runs: the options of its command line and of its TOML file, one structure for both.
//
// The runtime links this folder alone: it fills a Config, writes to_toml(), and starts `vmm --config FILE`.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace nacre::vmm {

// A directory or file of the host that appears inside a shared tree. Needs the jail, which binds it into place.
struct FsMount {
  std::string source;           // absolute host path
  std::string target;           // relative to the share's root, plain components ("rootfs", "mounts/0")
  bool readonly = false;        // the mount itself; enforced by the host
  bool recursive = true;        // with the mounts below the source
  bool readonly_below = false;  // these are read-only, too
  // A detached copy of the source that vmm inherited (copy_mount() of vmm/api/mount_copy.h), which is attached in place
  // of one that vmm makes itself; -1: none.
  int tree_fd = -1;
};

// [[fs]]: one virtio-fs device.
struct Fs {
  std::string tag;   // 1 to 36 bytes
  std::string path;  // host directory; empty: a tree made of `mounts` alone
  bool readonly = false;
  std::vector<FsMount> mounts;
};

// Joins the guest's first connection to (CID 2, port) to a descriptor that vmm inherited.
struct VsockStream {
  uint32_t port = 0;
  int fd = -1;
};

// [vsock]
struct Vsock {
  uint64_t cid = 3;
  // Listening AF_UNIX socket with Firecracker's protocol; guest connections to port P go to "<uds>_P". May be empty.
  std::string uds;
  // Listening socket inherited from the parent instead of one made at `uds`; -1: none.
  int listen_fd = -1;
  std::vector<VsockStream> streams;
};

// [[net]]: one virtio-net device on a tap of the host. One of `tap` and `tap_fd` is given.
struct Net {
  std::string tap = {};  // the name of a tap that exists
  // Or a tap that vmm inherited: a descriptor of /dev/net/tun, attached with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR; -1:
  // none.
  int tap_fd = -1;
  std::string mac = {};  // "02:00:00:12:34:56"; empty: vmm makes one up
};

// [control]: a socket that takes the requests of vmm/api/control.h.
struct Control {
  std::string path;    // where vmm makes it
  int listen_fd = -1;  // or one inherited from the parent (SOCK_SEQPACKET); -1: none
};

// What the kernel does about a system call that a thread of a jailed vmm has no use for: end vmm, or let the call
// through and write a line to the kernel's log.
inline constexpr const char* kSeccompKill = "kill";
inline constexpr const char* kSeccompLog = "log";

// A range of user or group ids of whoever starts vmm.
struct IdRange {
  uint32_t first = 0;
  uint32_t count = 0;
  bool operator==(const IdRange&) const = default;
};

// [jail]: with it, vmm locks itself in before the guest runs.
struct Jail {
  bool enabled = false;
  std::string seccomp = kSeccompKill;
  // Makes the guest's device nodes on the host, in shares that the guest may write, if the host's root started vmm.
  // Without this, making one fails with EPERM. vmm itself opens none of them.
  bool device_nodes = false;
  // The ids that vmm has in the jail; empty: all that whoever started vmm has. A file of another owner is nobody's
  // there. vmm itself takes the first id of the first range, and so does what the guest does as root, unless 0 is in a
  // range.
  std::vector<IdRange> uids, gids;
  // vmm keeps the supplementary groups of whoever started it, although there are ranges.
  bool keep_groups = false;
  // Confine vmm and the maker of device nodes (base/confinement.h); empty: as whoever started vmm.
  std::string apparmor_profile;
  std::string selinux_label;
  // The SELinux label of the files that vmm makes for itself, on the root of its mount tree.
  std::string mount_label;
  bool operator==(const Jail&) const = default;
};

struct Config {
  std::string kernel;  // ELF vmlinux or bzImage
  std::string initrd;  // empty: none
  std::string cmdline;
  uint64_t memory = 512ull << 20;  // bytes; 2 MiB multiples; in TOML "512M" or an integer of bytes
  // What the guest's memory is made of: "anonymous", private to vmm; "memfd", which vmm can share; or a file by its
  // path, which vmm makes if it is not there and whose content is lost.
  std::string memory_backing = "anonymous";
  unsigned cpus = 1;  // 1 to 64
  // How far the machine can grow while it runs; 0: not at all. See vmm/api/control.h.
  uint64_t max_memory = 0;
  unsigned max_cpus = 0;
  bool console = true;  // serial console on stdin and stdout
  std::vector<Fs> fs;
  std::vector<Net> net;
  std::optional<Vsock> vsock;
  std::optional<Control> control;
  Jail jail;
  int lifeline_fd = -1;  // vmm ends when the other end of this descriptor is closed; -1: none
};

// How a vmm process ends: its exit status.
enum class ExitStatus : int {
  power_off = 0,     // the guest powered itself off
  error = 1,         // vmm could not start or go on; one line on stderr says why
  usage = 2,         // the command line or the configuration is wrong
  reset = 3,         // the guest asked for a reset
  triple_fault = 4,  // the guest's CPU shut down (triple fault)
  kvm_failure = 5,   // KVM could not run the guest on: internal error, entry failure
  killed = 6,        // ended from outside: SIGTERM, SIGINT, lifeline
};

// "512M", "2G", "1048576": bytes, with K, M, G as powers of 1024.
Result<uint64_t> parse_size(std::string_view text);
using MacAddress = std::array<uint8_t, 6>;
// "02:00:00:12:34:56" with two hexadecimal digits for each byte. Only an address that one station can have: neither a
// group's nor zero.
Result<MacAddress> parse_mac(std::string_view text);
// The values of --fs, "tag=T,path=P[,readonly]", of --net, "tap=NAME[,mac=XX:XX:XX:XX:XX:XX]", and of --vsock,
// "cid=N,uds=PATH".
Result<Fs> parse_fs(std::string_view text);
Result<Net> parse_net(std::string_view text);
Result<Vsock> parse_vsock(std::string_view text);

// Reads a TOML configuration. Unknown keys and values of the wrong type are errors that name the field.
Result<Config> parse_toml(std::string_view text);
// Checks that the values make sense, each by itself and all together; an error names the field.
Result<void> check(const Config& config);
std::string to_toml(const Config& config);

}  // namespace nacre::vmm
