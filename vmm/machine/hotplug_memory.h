// The host's side of memory that the guest may get later: addresses at first, and for each chunk that holds plugged
// blocks memory of the host and a slot of KVM.
#pragma once

#include <span>

#include "devices/guest_address.h"
#include "devices/virtio/mem/device.h"
#include "vmm/kvm/kvm.h"

namespace nacre::vmm {

class HotplugMemory final : public virtio::MemBackend {
 public:
  // `host` was reserved (Mapping::reserve) and outlives this, as does `vm`; its chunks take the slots from
  // `first_slot`.
  HotplugMemory(Vm& vm, GuestAddress start, std::span<std::byte> host, uint32_t first_slot)
      : vm_(vm), start_(start), host_(host), first_slot_(first_slot) {}

  Result<void> open_chunk(uint64_t offset, uint64_t size) override;
  void close_chunk(uint64_t offset, uint64_t size) override;
  Result<void> discard(uint64_t offset, uint64_t size) override;

 private:
  Vm& vm_;
  const GuestAddress start_;
  const std::span<std::byte> host_;
  const uint32_t first_slot_;
};

}  // namespace nacre::vmm
