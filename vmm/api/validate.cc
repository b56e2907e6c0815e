// SPDX-License-Identifier: Apache-2.0
// Checks a configuration as a whole, whether it came from options or from TOML.
#include <algorithm>
#include <set>
#include <unordered_set>

#include "vmm/api/command_line.h"
#include "vmm/api/config.h"

namespace nacre::vmm {

namespace {

constexpr uint64_t kMemoryStep = 2ull << 20;  // guest RAM is backed by 2 MiB pages if the host has them
constexpr uint64_t kMinMemory = 16ull << 20;
constexpr uint64_t kMaxMemory = 1ull << 40;
constexpr unsigned kMaxCpus = 64;
constexpr size_t kMaxTag = 36;        // virtio 1.3, 5.11.4: padded with zeroes, but not terminated
constexpr size_t kMaxcpusWord = 12;   // "maxcpus=64 "
constexpr uint64_t kMinGuestCid = 3;  // 0 to 2 are reserved (virtio 1.3, 5.10.4)

// Returns true for a relative path such as "mounts/0", none of whose components leads elsewhere.
bool is_plain_relative(const std::string& path) {
  if (path.empty() || path.front() == '/' || path.back() == '/') return false;
  size_t start = 0;
  while (start <= path.size()) {
    size_t end = path.find('/', start);
    if (end == std::string::npos) end = path.size();
    std::string part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return true;
}

Result<void> check_fs(const Fs& fs, bool jailed) {
  if (fs.tag.empty() || fs.tag.size() > kMaxTag) return fail("fs: tag must have 1 to 36 bytes");
  if (fs.path.empty() && fs.mounts.empty()) return fail("fs " + fs.tag + ": path is missing");
  if (!fs.mounts.empty() && !jailed) return fail("fs " + fs.tag + ": mounts need the jail");
  for (const FsMount& mount : fs.mounts) {
    if (mount.source.empty() || mount.source.front() != '/') {
      return fail("fs " + fs.tag + ": mount source '" + mount.source + "' is not an absolute path");
    }
    if (mount.tree_fd >= 0 && fs.readonly) {
      return fail("fs " + fs.tag + ": a share with an inherited tree cannot be read-only, its mounts can");
    }
    if (!is_plain_relative(mount.target)) {
      return fail("fs " + fs.tag + ": mount target '" + mount.target + "' is not a plain relative path");
    }
  }
  return {};
}

// What Linux takes as the name of a link. It would replace "%d" by a number.
bool is_link_name(const std::string& name) {
  constexpr size_t kMaxName = 15;
  if (name.empty() || name.size() > kMaxName || name == "." || name == "..") return false;
  return std::ranges::all_of(name,
                             [](unsigned char c) { return c > ' ' && c != 0x7f && c != '/' && c != ':' && c != '%'; });
}

Result<void> check_nets(const std::vector<Net>& nets) {
  std::unordered_set<std::string> taps;
  std::set<MacAddress> addresses;
  for (size_t i = 0; i < nets.size(); i++) {
    const Net& net = nets[i];
    std::string where = "net[" + std::to_string(i) + "]";
    if (net.tap.empty() == (net.tap_fd < 0)) return fail(where + ": needs either tap or tap_fd");
    if (net.tap_fd < 0) {
      if (!is_link_name(net.tap)) return fail(where + ": '" + net.tap + "' is no name of a tap");
      if (!taps.insert(net.tap).second) return fail(where + ": tap " + net.tap + " is used twice");
    }
    if (net.mac.empty()) continue;
    auto mac = TRY_CONTEXT(parse_mac(net.mac), where + ".mac");
    if (!addresses.insert(mac).second) return fail(where + ": mac " + net.mac + " is used twice");
  }
  return {};
}

Result<void> check_vsock(const Vsock& vsock) {
  if (vsock.cid < kMinGuestCid || vsock.cid >= UINT32_MAX) return fail("vsock: cid must be 3 to 4294967294");
  if (vsock.uds.size() > 100) return fail("vsock: uds path is longer than 100 bytes");
  std::unordered_set<uint32_t> ports;
  for (const VsockStream& stream : vsock.streams) {
    if (stream.fd < 0) return fail("vsock: stream without a descriptor");
    if (!ports.insert(stream.port).second) {
      return fail("vsock: port " + std::to_string(stream.port) + " has two streams");
    }
  }
  return {};
}

// What the kernel takes as an id map (user_namespaces(7)).
Result<void> check_ids(const std::vector<IdRange>& ranges, const std::string& name) {
  constexpr size_t kMaxRanges = 340;
  if (ranges.size() > kMaxRanges) return fail(name + ": more than " + std::to_string(kMaxRanges) + " ranges");
  for (auto range = ranges.begin(); range != ranges.end(); ++range) {
    if (range->count == 0) return fail(name + ": a range without ids");
    if (range->count > UINT32_MAX - range->first) return fail(name + ": a range goes past the last id");
    for (auto other = ranges.begin(); other != range; ++other) {
      if (range->first < other->first + other->count && other->first < range->first + range->count) {
        return fail(name + ": two ranges overlap");
      }
    }
  }
  return {};
}

}  // namespace

Result<void> check(const Config& config) {
  if (config.kernel.empty()) return fail("kernel is missing");
  if (config.cpus < 1 || config.cpus > kMaxCpus) return fail("cpus must be 1 to 64");
  if (config.memory < kMinMemory) return fail("memory must be at least 16M");
  if (config.memory > kMaxMemory) return fail("memory must be at most 1024G");
  if (config.memory % kMemoryStep != 0) return fail("memory must be a multiple of 2M");
  if (config.memory_backing.empty()) return fail("memory_backing must not be empty");
  if (config.max_memory != 0 && config.max_memory < config.memory) return fail("max_memory is less than memory");
  if (config.max_memory > kMaxMemory) return fail("max_memory must be at most 1024G");
  if (config.max_memory % kMemoryStep != 0) return fail("max_memory must be a multiple of 2M");
  if (config.max_cpus != 0 && config.max_cpus < config.cpus) return fail("max_cpus is less than cpus");
  if (config.max_cpus > kMaxCpus) return fail("max_cpus must be at most 64");
  // vmm adds a word if more CPUs can come.
  size_t max_cmdline = max_command_line() - (config.max_cpus > config.cpus ? kMaxcpusWord : 0);
  if (config.cmdline.size() > max_cmdline) {
    return fail("cmdline is longer than " + std::to_string(max_cmdline) + " bytes");
  }
  if (config.cmdline.find('\0') != std::string::npos) return fail("cmdline holds a zero byte");
  std::unordered_set<std::string> tags;
  for (const Fs& fs : config.fs) {
    TRY(check_fs(fs, config.jail.enabled));
    if (!tags.insert(fs.tag).second) return fail("fs: tag " + fs.tag + " is used twice");
  }
  TRY(check_nets(config.net));
  if (config.vsock) TRY(check_vsock(*config.vsock));
  if (config.jail.seccomp != kSeccompKill && config.jail.seccomp != kSeccompLog) {
    return fail("jail.seccomp must be \"kill\" or \"log\"");
  }
  TRY(check_ids(config.jail.uids, "jail.uids"));
  TRY(check_ids(config.jail.gids, "jail.gids"));
  if (config.jail.uids.empty() != config.jail.gids.empty())
    return fail("jail: uids without gids, or gids without uids");
  // The label becomes a quoted word among mount options (mount_context() of base/confinement.h).
  if (config.jail.mount_label.find('"') != std::string::npos) {
    return fail("jail.mount_label must not contain a quote");
  }
  if (config.control && config.control->path.empty() && config.control->listen_fd < 0) {
    return fail("control: path is missing");
  }
  return {};
}

}  // namespace nacre::vmm
