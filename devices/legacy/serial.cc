// SPDX-License-Identifier: Apache-2.0
#include "devices/legacy/serial.h"

#include <algorithm>
#include <array>
#include <vector>

namespace nacre {

namespace {

enum Register : uint64_t {
  kData = 0,             // receiver buffer, transmitter holding; divisor's low byte while LCR.DLAB
  kInterruptEnable = 1,  // divisor's high byte while LCR.DLAB
  kInterruptId = 2,      // written: FIFO control
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
};

constexpr uint8_t kEnableReceived = 0x01;
constexpr uint8_t kEnableTransmitter = 0x02;
constexpr uint8_t kEnableLineStatus = 0x04;
constexpr uint8_t kEnableMask = 0x0f;  // the rest reads as 0: Linux tells the 16550A from later parts by it

// In order of priority.
constexpr uint8_t kIdLineStatus = 0x06;
constexpr uint8_t kIdReceived = 0x04;
constexpr uint8_t kIdTransmitter = 0x02;
constexpr uint8_t kIdNone = 0x01;
constexpr uint8_t kIdFifos = 0xc0;

constexpr uint8_t kFifoEnable = 0x01;
constexpr uint8_t kFifoClearReceiver = 0x02;

constexpr uint8_t kDivisorLatch = 0x80;

constexpr uint8_t kModemControlMask = 0x1f;
constexpr uint8_t kLoopback = 0x10;

constexpr uint8_t kDataReady = 0x01;
constexpr uint8_t kOverrun = 0x02;
constexpr uint8_t kTransmitterEmpty = 0x60;  // holding register and shift register

constexpr uint16_t kStateVersion = 1;

constexpr uint8_t kLinesUp = 0xb0;  // carrier detect, data set ready, clear to send

// In loopback each output line drives one input line.
struct LoopedLine {
  uint8_t control, status;
};
constexpr std::array kLoopedLines = {
    LoopedLine{0x01, 0x20},  // data terminal ready -> data set ready
    LoopedLine{0x02, 0x10},  // request to send -> clear to send
    LoopedLine{0x04, 0x40},  // OUT1 -> ring indicator
    LoopedLine{0x08, 0x80},  // OUT2 -> carrier detect
};

}  // namespace

void Serial::read(uint64_t offset, std::span<std::byte> data) {
  std::ranges::fill(data, std::byte{0});
  if (data.size() != 1) return;
  bool space = false;
  {
    MutexLock lock(mutex_);
    data[0] = std::byte{read_register(offset)};
    space = input_space_appeared();
  }
  if (space && on_input_space_) on_input_space_();
}

void Serial::write(uint64_t offset, std::span<const std::byte> data) {
  if (data.size() != 1) return;
  bool space = false;
  {
    MutexLock lock(mutex_);
    write_register(offset, std::to_integer<uint8_t>(data[0]));
    space = input_space_appeared();  // clearing the FIFO makes room as reading does
  }
  if (space && on_input_space_) on_input_space_();
}

bool Serial::input_space_appeared() {
  if (!registers_.input_refused || !input_.empty() || loopback()) return false;
  registers_.input_refused = false;
  return true;
}

size_t Serial::receive(std::span<const std::byte> data) {
  MutexLock lock(mutex_);
  // In loopback the line in is cut off; what comes meanwhile waits with the caller.
  size_t room = loopback() || input_.size() >= kInputLimit ? 0 : kInputLimit - input_.size();
  size_t taken = std::min(room, data.size());
  input_.insert(input_.end(), data.begin(), data.begin() + static_cast<ptrdiff_t>(taken));
  if (taken < data.size()) registers_.input_refused = true;
  update_line();
  return taken;
}

void Serial::output_ready() {
  MutexLock lock(mutex_);
  flush();
  update_line();
}

uint8_t Serial::read_register(uint64_t offset) {
  switch (offset) {
    case kData:
      return divisor_latch() ? static_cast<uint8_t>(registers_.divisor) : take_input();
    case kInterruptEnable:
      return divisor_latch() ? static_cast<uint8_t>(registers_.divisor >> 8) : registers_.interrupt_enable;
    case kInterruptId: {
      uint8_t id = interrupt_id();
      if (id == kIdTransmitter) registers_.transmit_pending = false;  // reading it is its acknowledgement
      update_line();
      return static_cast<uint8_t>(id | (registers_.fifo_enabled ? kIdFifos : 0));
    }
    case kLineControl:
      return registers_.line_control;
    case kModemControl:
      return registers_.modem_control;
    case kLineStatus:
      return line_status();
    case kModemStatus:
      return modem_status();
    case kScratch:
      return registers_.scratch;
    default:
      return 0;
  }
}

void Serial::write_register(uint64_t offset, uint8_t value) {
  switch (offset) {
    case kData:
      if (divisor_latch()) {
        registers_.divisor = static_cast<uint16_t>((registers_.divisor & 0xff00) | value);
      } else {
        transmit(value);
      }
      break;
    case kInterruptEnable:
      if (divisor_latch()) {
        registers_.divisor = static_cast<uint16_t>((registers_.divisor & 0x00ff) | value << 8);
        break;
      }
      // Enabling the transmitter's interrupt while it is empty raises it: Linux starts sending by it, and tests it.
      if ((value ^ registers_.interrupt_enable) & kEnableTransmitter) {
        registers_.transmit_pending = (value & kEnableTransmitter) && transmitter_empty();
      }
      registers_.interrupt_enable = value & kEnableMask;
      break;
    case kInterruptId:
      write_fifo_control(value);
      break;
    case kLineControl:
      registers_.line_control = value;
      break;
    case kModemControl:
      registers_.modem_control = value & kModemControlMask;
      break;
    case kScratch:
      registers_.scratch = value;
      break;
    default:
      break;  // line and modem status are the factory's to write
  }
  update_line();
}

uint8_t Serial::take_input() {
  if (input_.empty()) return 0;
  auto value = std::to_integer<uint8_t>(input_.front());
  input_.pop_front();
  update_line();
  return value;
}

void Serial::transmit(uint8_t value) {
  registers_.transmit_pending = false;
  if (loopback()) {
    if (input_.size() < kInputLimit) {
      input_.push_back(std::byte{value});
    } else {
      registers_.overrun = true;
    }
    registers_.transmit_pending = true;
    return;
  }
  // A full queue was visible in the line status; who sends all the same loses the byte.
  if (output_.size() < kOutputLimit) output_.push_back(std::byte{value});
  // While older output waits the sink has promised to call: asking it at each byte would be a system call each.
  if (output_.size() == 1) flush();
  if (transmitter_empty()) registers_.transmit_pending = true;
}

// Bit 2, which clears the transmitter, is left alone: what is queued here counts as sent.
void Serial::write_fifo_control(uint8_t value) {
  bool enable = value & kFifoEnable;
  if (enable != registers_.fifo_enabled || (value & kFifoClearReceiver)) input_.clear();
  registers_.fifo_enabled = enable;
}

void Serial::flush() {
  bool was_full = !transmitter_empty();
  while (!output_.empty()) {
    std::array<std::byte, 512> chunk;
    size_t size = std::min(chunk.size(), output_.size());
    std::copy_n(output_.begin(), size, chunk.begin());
    size_t taken = std::min(sink_.write(std::span(chunk).first(size)), size);
    output_.erase(output_.begin(), output_.begin() + static_cast<ptrdiff_t>(taken));
    if (taken < size) break;
  }
  if (was_full && transmitter_empty()) registers_.transmit_pending = true;
}

uint8_t Serial::interrupt_id() const {
  if (registers_.overrun && (registers_.interrupt_enable & kEnableLineStatus)) return kIdLineStatus;
  if (!input_.empty() && (registers_.interrupt_enable & kEnableReceived)) return kIdReceived;
  if (registers_.transmit_pending && (registers_.interrupt_enable & kEnableTransmitter)) return kIdTransmitter;
  return kIdNone;
}

uint8_t Serial::line_status() {
  uint8_t status = 0;
  if (!input_.empty()) status |= kDataReady;
  if (std::exchange(registers_.overrun, false)) status |= kOverrun;
  if (transmitter_empty()) status |= kTransmitterEmpty;
  update_line();
  return status;
}

uint8_t Serial::modem_status() const {
  if (!loopback()) return kLinesUp;
  uint8_t status = 0;
  for (const LoopedLine& line : kLoopedLines) {
    if (registers_.modem_control & line.control) status |= line.status;
  }
  return status;
}

// The interrupt output rises once for all that is pending; a driver looks until the identification says "none".
void Serial::update_line() {
  bool before = std::exchange(line_, interrupt_id() != kIdNone);
  if (line_ && !before) irq_.trigger();
}

void Serial::save(StateWriter& state) {
  MutexLock lock(mutex_);
  state.section("serial", kStateVersion, [&] {
    mutex_.assert_held();
    state.boolean(registers_.input_refused);
    state.boolean(registers_.transmit_pending);
    state.boolean(registers_.overrun);
    state.u16(registers_.divisor);
    state.u8(registers_.interrupt_enable);
    state.boolean(registers_.fifo_enabled);
    state.u8(registers_.line_control);
    state.u8(registers_.modem_control);
    state.u8(registers_.scratch);
    state.bytes(std::vector(output_.begin(), output_.end()));
    state.bytes(std::vector(input_.begin(), input_.end()));
  });
}

Result<void> Serial::restore(StateReader& state) {
  StateReader fields = TRY(state.section("serial", kStateVersion));
  Registers registers = TRY(restore_registers(fields));
  auto output = TRY(fields.bytes(kOutputLimit));
  auto input = TRY(fields.bytes(kInputLimit));
  TRY(fields.end());
  MutexLock lock(mutex_);
  registers_ = registers;
  output_.assign(output.begin(), output.end());
  input_.assign(input.begin(), input.end());
  flush();
  line_ = false;
  update_line();
  return {};
}

// Only values that write_register() leaves.
Result<Serial::Registers> Serial::restore_registers(StateReader& state) {
  Registers registers;
  registers.input_refused = TRY(state.boolean());
  registers.transmit_pending = TRY(state.boolean());
  registers.overrun = TRY(state.boolean());
  registers.divisor = TRY(state.u16());
  registers.interrupt_enable = TRY(state.u8());
  registers.fifo_enabled = TRY(state.boolean());
  registers.line_control = TRY(state.u8());
  registers.modem_control = TRY(state.u8());
  registers.scratch = TRY(state.u8());
  if (registers.interrupt_enable & ~kEnableMask || registers.modem_control & ~kModemControlMask) {
    return state.invalid("bits that the registers do not have");
  }
  return registers;
}

bool Serial::divisor_latch() const {
  return registers_.line_control & kDivisorLatch;
}

bool Serial::loopback() const {
  return registers_.modem_control & kLoopback;
}

}  // namespace nacre
