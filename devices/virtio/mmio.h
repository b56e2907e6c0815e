// SPDX-License-Identifier: Apache-2.0
// virtio over MMIO (virtio 1.3, section 4.2): one 4 KiB register window and one interrupt per device.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "devices/bus.h"
#include "devices/irq_line.h"
#include "devices/virtio/transport.h"

namespace nacre::virtio {

// Decodes registers for a TransportCore.
class MmioTransport final : public BusDevice {
 public:
  static constexpr uint64_t kWindowSize = 0x1000;
  // QueueNotify (4.2.2): the machine attaches a KVM ioeventfd here for each queue, with the queue's index as datamatch.
  static constexpr uint64_t kQueueNotifyOffset = 0x50;

  // All three must outlive the transport.
  static Result<std::unique_ptr<MmioTransport>> create(VirtioDevice& device, const GuestMemory& memory, IrqLine& irq);

  size_t queue_count() const { return core_->queue_count(); }
  // The eventfd that a notification of this queue signals; owned by the transport.
  int queue_event(size_t index) const { return core_->queue_event(index); }

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

  // Pauses, resumes, saves and restores the transport and its device: see TransportCore.
  void pause() { core_->pause(); }
  void resume();
  Result<void> save(StateWriter& state);
  Result<void> restore(StateReader& state);

 private:
  // The interrupt line, and the register that tells the driver why it was triggered.
  class InterruptStatus final : public InterruptSink {
   public:
    explicit InterruptStatus(IrqLine& irq) : irq_(irq) {}
    void queue_used(uint16_t) override;
    void config_changed() override;
    void clear() override { pending_ = 0; }
    uint32_t pending() const { return pending_; }
    void acknowledge(uint32_t causes) { pending_.fetch_and(~causes); }
    // Puts saved causes back. Nothing is triggered.
    void add_pending(uint32_t causes) { pending_.fetch_or(causes); }
    // Triggers the line once more if the driver has something to see.
    void repeat();

   private:
    void raise(uint32_t cause);
    IrqLine& irq_;
    std::atomic<uint32_t> pending_ = 0;
  };

  explicit MmioTransport(IrqLine& irq) : interrupt_(irq) {}
  uint32_t read_register(uint64_t offset);
  void write_register(uint64_t offset, uint32_t value);
  void write_queue_address(uint64_t offset, uint32_t value);
  void write_status(uint32_t value);

  InterruptStatus interrupt_;
  std::unique_ptr<TransportCore> core_;
  // What the selection registers hold. Drivers write them and use them on one CPU at a time; the values are checked
  // where they are used.
  std::atomic<uint32_t> device_features_select_ = 0;
  std::atomic<uint32_t> driver_features_select_ = 0;
  std::atomic<uint32_t> queue_select_ = 0;
};

}  // namespace nacre::virtio
