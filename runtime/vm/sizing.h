// How large a container's virtual machine is, and what the host may charge for it.
#pragma once

#include <cstdint>
#include <optional>

#include <nlohmann/json.hpp>

namespace nacre::runtime {

inline constexpr unsigned kMaxCpus = 64;

// Guest memory is virtual: a page costs the host something once the guest has touched it. So a container without a
// memory limit gets a machine that suits most.
inline constexpr uint64_t kDefaultMemory = 512ull << 20;
// Each further CPU costs milliseconds of boot: there are more where linux.resources.cpu speaks of more.
inline constexpr unsigned kDefaultCpus = 1;

struct HostSize {
  uint64_t memory = 0;  // bytes, with swap; 0: not known
  unsigned cpus = 1;
};
HostSize host_size();

struct VmSize {
  uint64_t memory = kDefaultMemory;  // bytes, a multiple of 2 MiB
  unsigned cpus = kDefaultCpus;
};
// For linux.resources (checked). A limit above what the host has does not act, so the machine is not larger than that.
VmSize size_for(const nlohmann::json& resources, const HostSize& host);

// Whether anything of linux.resources decides the size: the default is used where not.
bool limits_memory(const nlohmann::json& resources);
bool limits_cpus(const nlohmann::json& resources);

// How far a machine can grow while it runs: to what the host has. A CPU that a guest may get and has not costs nothing
// on the host, and the guest some 220 KiB (550 KiB each of 16, as its kernel then makes its caches for many), so there
// are at most kMaxGrownCpus, or what it has from the start.
inline constexpr unsigned kMaxGrownCpus = 8;
VmSize largest_size(const VmSize& first, const HostSize& host);

// What a guest's kernel and guest-init need of a machine whose container is to have `limit` bytes.
uint64_t guest_overhead(uint64_t limit);

// memory.max of the host's cgroup for a container with a memory limit: above all that the machine is known to cost, so
// it does not act before something is wrong.
std::optional<uint64_t> host_backstop(const nlohmann::json& resources, uint64_t vm_memory);

}  // namespace nacre::runtime
