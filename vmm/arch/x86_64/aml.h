// SPDX-License-Identifier: Apache-2.0
// An AML encoder (ACPI 6.5, section 20.2) for no more than devices with fixed resources.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nacre::vmm::x86_64::aml {

// Each function returns encoded bytes. Concatenated, they make a table's body.
std::string name(std::string_view four_letters, std::string_view value);  // Name(XXXX, value)
std::string device(std::string_view four_letters, std::string_view body);
std::string scope(std::string_view path, std::string_view body);  // path encoded, such as "\\_SB_"
std::string integer(uint32_t value);
std::string text(std::string_view value);
std::string package(std::string_view elements, uint8_t count);
// Encodes a ResourceTemplate of the descriptors below.
std::string resources(std::string_view descriptors);

std::string memory32(uint32_t base, uint32_t size);  // 6.4.3.4
std::string io_ports(uint16_t base, uint8_t count);  // 6.4.2.5
std::string edge_interrupt(uint32_t gsi);            // 6.4.3.6: consumer, edge, active high, exclusive

}  // namespace nacre::vmm::x86_64::aml
