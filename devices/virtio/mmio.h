// virtio over MMIO (virtio 1.3, section 4.2): one 4 KiB register window and one interrupt per device.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/fd.h"
#include "devices/bus.h"
#include "devices/guest_memory.h"
#include "devices/irq_line.h"
#include "devices/virtio/device.h"

namespace nacre::virtio {

class MmioTransport final : public BusDevice {
 public:
  static constexpr uint64_t kWindowSize = 0x1000;
  // QueueNotify (4.2.2): the machine attaches a KVM ioeventfd here for each queue, with the queue's index as datamatch.
  static constexpr uint64_t kQueueNotifyOffset = 0x50;

  // All three must outlive the transport.
  static Result<std::unique_ptr<MmioTransport>> create(VirtioDevice& device, const GuestMemory& memory, IrqLine& irq);
  ~MmioTransport() override;

  size_t queue_count() const;
  // The eventfd that a notification of this queue signals; owned by the transport.
  int queue_event(size_t index) const;

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

 private:
  struct State;
  explicit MmioTransport(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nacre::virtio
