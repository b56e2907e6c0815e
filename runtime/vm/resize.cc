// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/resize.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

// A guest takes 128 MiB in milliseconds. Giving memory back is as fast, unless pages in use have to be moved first. A
// guest that changes nothing for this long is given up.
constexpr std::chrono::seconds kGrowPatience{20};
constexpr std::chrono::seconds kShrinkPatience{2};
constexpr useconds_t kFirstPauseUs = 1'000, kLongestPauseUs = 50'000;

bool changes_any(const Json& changes, const char* group, std::initializer_list<const char*> names) {
  auto found = changes.find(group);
  return found != changes.end() && std::ranges::any_of(names, [&](const char* name) { return found->contains(name); });
}

// Waits until the guest has reached `memory`, or makes no more progress.
Result<vmm::MachineSize> follow(const ResizeCall& resize, uint64_t memory, Clock::duration patience) {
  vmm::MachineSize size = TRY(resize({.memory = memory}));
  Clock::time_point moved = Clock::now();
  for (useconds_t pause = kFirstPauseUs; size.present != memory; pause = std::min(2 * pause, kLongestPauseUs)) {
    if (Clock::now() - moved > patience) break;
    ::usleep(pause);
    vmm::MachineSize next = TRY(resize({}));
    if (next.present != size.present) moved = Clock::now();
    size = next;
  }
  return size;
}

// Returns the machine's new size if this container's part of it changes.
template <typename T>
T exchange_part(T whole, T old_part, T new_part) {
  return whole - std::min(whole, old_part) + new_part;
}

std::string mib(uint64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

}  // namespace

WantedSize wanted_size(const Json& resources, const Json& changes, const VmState& machine, const HostSize& host) {
  WantedSize wanted;
  const vmm::MachineSize& now = machine.size;
  // A number of CPUs that a person asked for may be above the host's.
  VmSize size = size_for(resources, {.memory = host.memory, .cpus = std::max(host.cpus, now.max_cpus)});
  if (machine.part) {
    size.memory = exchange_part(now.memory, machine.part->memory, size.memory);
    size.cpus = exchange_part(now.cpus, machine.part->cpus, size.cpus);
  }
  if (changes_any(changes, "memory", {"limit"}) || changes_any(changes, "unified", {"memory.max"})) {
    uint64_t memory = limits_memory(resources) ? size.memory : std::max(now.memory, kDefaultMemory);
    if (memory > now.max_memory) {
      wanted.warnings.push_back("memory: the VM should have " + mib(memory) +
                                " for this limit, and cannot have more than " + mib(now.max_memory));
    }
    wanted.memory = std::max(std::min(memory, now.max_memory), machine.least_memory);
  }
  bool cpus_change = changes_any(changes, "cpu", {"quota", "period", "cpus"}) ||
                     changes_any(changes, "unified", {"cpu.max", "cpuset.cpus"});
  if (cpus_change && limits_cpus(resources)) {
    if (size.cpus > now.max_cpus) {
      wanted.warnings.push_back("cpu: the VM should have " + std::to_string(size.cpus) +
                                " CPUs, and cannot have more than " + std::to_string(now.max_cpus));
    }
    wanted.cpus = std::max(std::min(size.cpus, now.max_cpus), machine.least_cpus);
  }
  return wanted;
}

Result<void> grow_memory(const ResizeCall& resize, uint64_t memory) {
  vmm::MachineSize before = TRY(resize({}));
  auto after = follow(resize, memory, kGrowPatience);
  if (after && after->present >= memory) return {};
  (void)resize({.memory = before.memory});
  if (!after) return std::unexpected(after.error().with_context("the VM does not grow"));
  return fail("the VM does not grow to " + mib(memory) + ": its guest has taken " + mib(after->present), ENOMEM);
}

Result<uint64_t> shrink_memory(const ResizeCall& resize, uint64_t memory) {
  return TRY(follow(resize, memory, kShrinkPatience)).present;
}

}  // namespace nacre::runtime
