// SPDX-License-Identifier: Apache-2.0
// Decides how large a container's VM is, and how much of the host's memory it may use.
#pragma once

#include <cstdint>
#include <optional>

#include <nlohmann/json.hpp>

namespace nacre::runtime {

inline constexpr unsigned kMaxCpus = 64;

// Guest memory is virtual: a page costs the host nothing until the guest touches it. So a container without a memory
// limit gets a VM that suits most.
inline constexpr uint64_t kDefaultMemory = 512ull << 20;
// Each further CPU costs milliseconds of boot, so there are more only if linux.resources.cpu asks for more.
inline constexpr unsigned kDefaultCpus = 1;

struct HostSize {
  uint64_t memory = 0;  // bytes, with swap; 0: unknown
  unsigned cpus = 1;
};
// Returns the host's size.
HostSize host_size();

struct VmSize {
  uint64_t memory = kDefaultMemory;  // bytes, a multiple of 2 MiB
  unsigned cpus = kDefaultCpus;
};
// Returns the size for linux.resources (checked). The VM is not larger than the host: a limit above that does not act.
VmSize size_for(const nlohmann::json& resources, const HostSize& host);

// Return true if linux.resources decides the size. If not, the VM has the default.
bool limits_memory(const nlohmann::json& resources);
bool limits_cpus(const nlohmann::json& resources);

// Returns how far a VM can grow while it runs: to what the host has. A CPU that the guest may get later costs the host
// nothing and the guest some 220 KiB (550 KiB each if there are 16, since its kernel then makes its caches for many).
// So there are at most kMaxGrownCpus, or as many as the VM has from the start.
inline constexpr unsigned kMaxGrownCpus = 8;
VmSize largest_size(const VmSize& first, const HostSize& host);

// Returns the bytes that the guest's kernel and guest-init need in a VM whose container is to have `limit` bytes.
uint64_t guest_overhead(uint64_t limit);

// Returns memory.max of the host's cgroup for a container with a memory limit. It is above all that the VM is known to
// cost, so it does not act unless something is wrong.
std::optional<uint64_t> host_backstop(const nlohmann::json& resources, uint64_t vm_memory);
// Returns it for a VM whose size an annotation decided, after an update: as the limit has it, but not less than `now`,
// because the VM may use that much.
std::optional<uint64_t> annotated_backstop(const nlohmann::json& resources, uint64_t now, const HostSize& host);

}  // namespace nacre::runtime
