// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/device_board.h"

#include <fmt/core.h>
#include <unistd.h>

namespace nacre::vmm {

Result<void> DeviceBoard::add_console() {
  serial_irq_ = TRY(IrqFd::create(vm_, arch::console_irq()));
  serial_sink_ = TRY(SerialFdSink::create(loop_, STDOUT_FILENO));
  serial_ = std::make_unique<Serial>(*serial_irq_, *serial_sink_);
  serial_sink_->set_on_room([this] { serial_->output_ready(); });
  console_ = TRY(Console::create(loop_, *serial_, [this] { end_.end(ExitStatus::killed); }));
  return arch::map_console(buses_, *serial_);
}

Result<void> DeviceBoard::add_crash_log() {
  crash_log_ = std::make_unique<CrashLog>();
  return arch::map_console(buses_, *crash_log_);
}

Result<void> DeviceBoard::add_power() {
  power_ = TRY(arch::create_power(buses_, {.power_off = [this] { end_.end(ExitStatus::power_off); },
                                           .reset = [this] { end_.end(ExitStatus::reset); }}));
  return {};
}

Result<void> DeviceBoard::plug(std::unique_ptr<virtio::VirtioDevice> device) {
  size_t index = virtio_.size();
  if (index >= arch::max_virtio_devices()) {
    return fail(fmt::format("more than {} virtio devices", arch::max_virtio_devices()));
  }
  arch::VirtioSlot place = arch::virtio_slot(index);
  Plugged slot;
  slot.device = std::move(device);
  slot.irq = TRY(IrqFd::create(vm_, place.irq));
  slot.transport = TRY(virtio::MmioTransport::create(*slot.device, memory_, *slot.irq));
  TRY(buses_.mmio.add(place.base.value, virtio::MmioTransport::kWindowSize, *slot.transport));
  GuestAddress notify{place.base.value + virtio::MmioTransport::kQueueNotifyOffset};
  for (size_t i = 0; i < slot.transport->queue_count(); i++) {
    TRY(vm_.add_ioeventfd(slot.transport->queue_event(i), notify, static_cast<uint32_t>(i)));
  }
  virtio_.push_back(std::move(slot));
  return {};
}

arch::BoardView DeviceBoard::view(unsigned cpus) const {
  arch::BoardView view{.cpus = cpus, .has_console = serial_ != nullptr, .virtio = {}};
  for (size_t i = 0; i < virtio_.size(); i++) view.virtio.push_back(arch::virtio_slot(i));
  return view;
}

}  // namespace nacre::vmm
