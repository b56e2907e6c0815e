// A 16550A UART: the console of kernels that boot with console=ttyS0, and of anything without a better one.
//
// Registers as in the 16550D data sheet (National Semiconductor, PC16550D), as far as drivers use them: FIFOs, the
// received-data and transmitter-empty interrupts, loopback and scratch, which Linux's autoconfig() probes. There is no
// baud rate, and modem lines never change.
//
// Back-pressure instead of waiting: no vCPU ever sleeps for a slow reader of the console. Output that the sink does not
// take is kept, up to kOutputLimit bytes; beyond that the transmitter says "not empty", as a UART does whose line is
// slow, and a driver that sends all the same loses those bytes. Linux's tty layer then waits for the interrupt, its
// printk for 10 ms at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <span>

#include "devices/bus.h"
#include "devices/irq_line.h"

namespace nacre {

// Where the guest's output goes. Called on vCPU threads and on the caller of output_ready(), one at a time, with the
// port's lock held: it must not wait, and must not call the port back from within.
class SerialSink {
 public:
  virtual ~SerialSink() = default;
  // Takes as many bytes as it can at once. After less than all of them it sees to it that Serial::output_ready() is
  // called, from another stack, when it can take more.
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

  // Input for the guest, from any thread. Returns how many bytes found room (perhaps 0); the rest is the caller's to
  // keep, and on_input_space tells when to come again.
  size_t receive(std::span<const std::byte> data);
  // Called on a vCPU thread when the guest has read all input after a receive() that could not take everything. Must
  // not call the port back from within. Set before vCPUs run.
  void set_on_input_space(std::function<void()> callback) { on_input_space_ = std::move(callback); }

  // The sink can take more. Any thread.
  void output_ready();

 private:
  uint8_t read_register(uint64_t offset);
  void write_register(uint64_t offset, uint8_t value);
  uint8_t take_input();
  void transmit(uint8_t value);
  void write_fifo_control(uint8_t value);
  void flush();
  bool transmitter_empty() const { return output_.size() < kOutputLimit; }
  bool input_space_appeared();
  uint8_t interrupt_id() const;
  uint8_t line_status();
  uint8_t modem_status() const;
  void update_line();
  bool divisor_latch() const;
  bool loopback() const;

  IrqLine& irq_;
  SerialSink& sink_;
  std::function<void()> on_input_space_;

  std::mutex mutex_;  // guards all below
  std::deque<std::byte> output_;
  std::deque<std::byte> input_;
  bool input_refused_ = false;     // receive() left something with its caller
  bool transmit_pending_ = false;  // the transmitter-empty interrupt waits to be seen
  bool overrun_ = false;           // loopback only: receive() never overruns
  bool line_ = false;              // the interrupt output
  uint16_t divisor_ = 12;          // 9600 baud at 1.8432 MHz
  uint8_t interrupt_enable_ = 0;
  bool fifo_enabled_ = false;
  uint8_t line_control_ = 0x03;   // 8 bits, no parity, 1 stop bit
  uint8_t modem_control_ = 0x08;  // OUT2
  uint8_t scratch_ = 0;
};

}  // namespace nacre
