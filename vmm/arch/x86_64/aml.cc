// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/aml.h"

#include "vmm/arch/x86_64/bytes.h"

namespace nacre::vmm::x86_64::aml {

namespace {

constexpr char kNameOp = 0x08;
constexpr char kDWordPrefix = 0x0c;
constexpr char kStringPrefix = 0x0d;
constexpr char kScopeOp = 0x10;
constexpr char kBufferOp = 0x11;
constexpr char kPackageOp = 0x12;
constexpr std::string_view kDeviceOp = "\x5b\x82";

std::string join(std::string_view a, std::string_view b) {
  return std::string(a) += b;
}

// 20.2.4: the length counts itself. One byte up to 63, else low 4 bits in the first byte and 8 in each of those after.
std::string with_length(std::string_view body) {
  if (body.size() + 1 < 64) return std::string(1, static_cast<char>(body.size() + 1)) += body;
  size_t extra = 1;
  while ((body.size() + 1 + extra) >> (4 + 8 * extra) != 0) extra++;
  size_t length = body.size() + 1 + extra;
  std::string encoded(1, static_cast<char>(extra << 6 | (length & 0xf)));
  for (size_t i = 0; i < extra; i++) encoded += static_cast<char>(length >> (4 + 8 * i));
  return encoded += body;
}

}  // namespace

std::string name(std::string_view four_letters, std::string_view value) {
  return join(std::string(1, kNameOp) += four_letters, value);
}

std::string device(std::string_view four_letters, std::string_view body) {
  return std::string(kDeviceOp) += with_length(join(four_letters, body));
}

std::string scope(std::string_view path, std::string_view body) {
  return std::string(1, kScopeOp) += with_length(join(path, body));
}

std::string integer(uint32_t value) {
  return std::string(1, kDWordPrefix) += le(value);
}

std::string text(std::string_view value) {
  return (std::string(1, kStringPrefix) += value) += '\0';
}

std::string package(std::string_view elements, uint8_t count) {
  return std::string(1, kPackageOp) += with_length(std::string(1, static_cast<char>(count)) += elements);
}

std::string resources(std::string_view descriptors) {
  std::string content(descriptors);
  content += std::string("\x79\x00", 2);  // end tag, checksum not used (6.4.2.9)
  return std::string(1, kBufferOp) += with_length(integer(static_cast<uint32_t>(content.size())) += content);
}

std::string memory32(uint32_t base, uint32_t size) {
  return (std::string("\x86\x09\x00\x01", 4) += le(base)) += le(size);
}

std::string io_ports(uint16_t base, uint8_t count) {
  std::string bytes("\x47\x01", 2);  // decodes 16 bits
  bytes += le(base) += le(base);
  return bytes += std::string{'\1', static_cast<char>(count)};
}

std::string edge_interrupt(uint32_t gsi) {
  return std::string("\x89\x06\x00\x03\x01", 5) += le(gsi);
}

}  // namespace nacre::vmm::x86_64::aml
