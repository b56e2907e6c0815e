// SPDX-License-Identifier: Apache-2.0
// A 16550A UART: the console of kernels that boot with console=ttyS0, and of anything without a better one.
//
// Registers as in the 16550D data sheet (National Semiconductor, PC16550D), as far as drivers use them: FIFOs, the
// received-data and transmitter-empty interrupts, loopback and scratch, which Linux's autoconfig() probes. There is no
// baud rate, and modem lines never change.
//
// No vCPU ever sleeps for a slow reader of the console. Output that the sink does not take is kept, up to kOutputLimit
// bytes. Beyond that the transmitter says "not empty", as a UART on a slow line does, and a driver that sends all the
// same loses those bytes. Linux's tty layer then waits for the interrupt, and its printk for 10 ms at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>

#include "base/mutex.h"
#include "devices/bus.h"
#include "devices/irq_line.h"
#include "devices/state.h"

namespace nacre {

// Where the guest's output goes. Called on vCPU threads and on the caller of output_ready(), one at a time, with the
// port's lock held: it must not wait, and must not call the port back from within.
class SerialSink {
 public:
  virtual ~SerialSink() = default;
  // Takes as many bytes as possible at once, and returns how many. After fewer than all the sink calls
  // Serial::output_ready(), from another stack, when there is room for more.
  virtual size_t write(std::span<const std::byte> data) = 0;
};

class Serial final : public BusDevice {
 public:
  static constexpr uint64_t kWindowSize = 8;
  static constexpr size_t kOutputLimit = 64 << 10;
  static constexpr size_t kInputLimit = 4096;

  // Both must outlive the port.
  Serial(IrqLine& irq, SerialSink& sink) : irq_(irq), sink_(sink) {}

  void read(uint64_t offset, std::span<std::byte> data) override;
  void write(uint64_t offset, std::span<const std::byte> data) override;

  // Takes input for the guest, from any thread. Returns how many bytes found room, perhaps 0. The caller keeps the rest
  // and comes again when on_input_space is called.
  size_t receive(std::span<const std::byte> data);
  // Called on a vCPU thread when the guest has read all input after a receive() that could not take everything. Must
  // not call the port back from within. Set before vCPUs run.
  void set_on_input_space(std::function<void()> callback) { on_input_space_ = std::move(callback); }

  // Tells the port that the sink has room for more. Any thread.
  void output_ready();

  // Writes the registers and both FIFOs, and takes them over again in a port that no vCPU runs against yet. After that
  // the sink is offered the output that was waiting, and an interrupt that is pending is triggered once more. A state
  // that is refused changes nothing.
  void save(StateWriter& state);
  Result<void> restore(StateReader& state);

 private:
  uint8_t read_register(uint64_t offset) REQUIRES(mutex_);
  void write_register(uint64_t offset, uint8_t value) REQUIRES(mutex_);
  uint8_t take_input() REQUIRES(mutex_);
  void transmit(uint8_t value) REQUIRES(mutex_);
  void write_fifo_control(uint8_t value) REQUIRES(mutex_);
  void flush() REQUIRES(mutex_);
  bool transmitter_empty() const REQUIRES(mutex_) { return output_.size() < kOutputLimit; }
  bool input_space_appeared() REQUIRES(mutex_);
  uint8_t interrupt_id() const REQUIRES(mutex_);
  uint8_t line_status() REQUIRES(mutex_);
  uint8_t modem_status() const REQUIRES(mutex_);
  void update_line() REQUIRES(mutex_);
  bool divisor_latch() const REQUIRES(mutex_);
  bool loopback() const REQUIRES(mutex_);

  // What software sees of the port, and what it makes of that.
  struct Registers {
    bool input_refused = false;     // receive() left something with its caller
    bool transmit_pending = false;  // the transmitter-empty interrupt waits to be seen
    bool overrun = false;           // loopback only: receive() never overruns
    uint16_t divisor = 12;          // 9600 baud at 1.8432 MHz
    uint8_t interrupt_enable = 0;
    bool fifo_enabled = false;
    uint8_t line_control = 0x03;   // 8 bits, no parity, 1 stop bit
    uint8_t modem_control = 0x08;  // OUT2
    uint8_t scratch = 0;
  };
  static Result<Registers> restore_registers(StateReader& state);

  IrqLine& irq_;
  SerialSink& sink_;
  std::function<void()> on_input_space_;

  Mutex mutex_;
  Registers registers_ GUARDED_BY(mutex_);
  std::deque<std::byte> output_ GUARDED_BY(mutex_);
  std::deque<std::byte> input_ GUARDED_BY(mutex_);
  bool line_ GUARDED_BY(mutex_) = false;  // the interrupt output
};

}  // namespace nacre
