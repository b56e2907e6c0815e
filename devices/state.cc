// SPDX-License-Identifier: Apache-2.0
#include "devices/state.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nacre {

namespace {

// Both architectures that Nacre runs on store as the format does.
static_assert(std::endian::native == std::endian::little);

constexpr size_t kMaxName = 32;
constexpr uint64_t kMagic = 0x006574617473636e;  // "ncstate"
constexpr uint16_t kFormat = 1;

// FNV-1a with 64 bits. Each step is a bijection of the sum so far, so any single damaged byte changes the result.
uint64_t checksum(std::span<const std::byte> content) {
  uint64_t sum = 0xcbf29ce484222325;
  for (std::byte value : content) sum = (sum ^ std::to_integer<uint64_t>(value)) * 0x100000001b3;
  return sum;
}

}  // namespace

void StateWriter::bytes(std::span<const std::byte> value) {
  u32(static_cast<uint32_t>(value.size()));
  content_.insert(content_.end(), value.begin(), value.end());
}

size_t StateWriter::begin_section(std::string_view name, uint16_t version) {
  text(name);
  u16(version);
  u64(0);
  return content_.size() - sizeof(uint64_t);
}

void StateWriter::end_section(size_t length_at) {
  uint64_t length = content_.size() - length_at - sizeof(uint64_t);
  std::memcpy(content_.data() + length_at, &length, sizeof(length));
}

std::unexpected<Error> StateReader::invalid(std::string_view what) const {
  return fail("saved state, section " + name_ + ": " + std::string(what), EBADMSG);
}

Result<std::span<const std::byte>> StateReader::take(size_t size) {
  if (size > left_.size()) return invalid("it ends too early");
  auto taken = left_.first(size);
  left_ = left_.subspan(size);
  return taken;
}

Result<bool> StateReader::boolean() {
  uint8_t value = TRY(u8());
  if (value > 1) return invalid("neither true nor false");
  return value == 1;
}

Result<std::span<const std::byte>> StateReader::bytes(size_t most) {
  uint32_t size = TRY(u32());
  if (size > most) return invalid("longer than allowed");
  return take(size);
}

Result<std::string> StateReader::text(size_t most) {
  auto raw = TRY(bytes(most));
  return std::string(reinterpret_cast<const char*>(raw.data()), raw.size());
}

Result<uint32_t> StateReader::count(size_t most, size_t item_size) {
  uint32_t items = TRY(u32());
  if (items > most) return invalid("a longer list than allowed");
  if (items > left_.size() / std::max<size_t>(item_size, 1)) return invalid("it ends too early");
  return items;
}

Result<StateReader> StateReader::section(std::string_view name, uint16_t newest) {
  if (TRY(text(kMaxName)) != name) return invalid("section " + std::string(name) + " is not there");
  uint16_t version = TRY(u16());
  uint64_t length = TRY(u64());
  if (version == 0 || version > newest) {
    return invalid("version " + std::to_string(version) + " of section " + std::string(name) + " is not known");
  }
  if (length > left_.size()) return invalid("it ends too early");
  return StateReader(TRY(take(length)), name, version);
}

Result<void> StateReader::end() const {
  if (!left_.empty()) return invalid("there is more than belongs to it");
  return {};
}

std::vector<std::byte> seal_state(const StateWriter& state) {
  StateWriter stored;
  stored.u64(kMagic);
  stored.u16(kFormat);
  stored.u64(checksum(state.content()));
  std::vector<std::byte> bytes = stored.content();
  bytes.insert(bytes.end(), state.content().begin(), state.content().end());
  return bytes;
}

Result<StateReader> open_state(std::span<const std::byte> stored) {
  StateReader header(stored);
  if (TRY(header.u64()) != kMagic) return fail("saved state: not one of ours", EBADMSG);
  if (TRY(header.u16()) != kFormat) return fail("saved state: its format is not known", EBADMSG);
  uint64_t sum = TRY(header.u64());
  auto content = stored.last(header.remaining());
  if (checksum(content) != sum) return fail("saved state: damaged", EBADMSG);
  return StateReader(content);
}

}  // namespace nacre
