// SPDX-License-Identifier: Apache-2.0
// The ACPI tables, by ACPICA's own eyes: iasl disassembles them, and what a kernel would read is looked for there.
#include "vmm/arch/x86_64/acpi.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/fd.h"
#include "vmm/arch/x86_64/layout.h"

namespace nacre::vmm::x86_64 {
namespace {

arch::BoardView make_board(unsigned cpus, bool has_console, size_t devices) {
  arch::BoardView board{.cpus = cpus, .has_console = has_console, .virtio = {}};
  for (size_t i = 0; i < devices; i++) board.virtio.push_back(arch::virtio_slot(i));
  return board;
}

template <typename T>
T number_at(std::string_view bytes, size_t offset) {
  T value{};
  BOOST_REQUIRE_LE(offset + sizeof(T), bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

uint8_t sum(std::string_view bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), uint8_t{0},
                         [](uint8_t sum, char c) { return static_cast<uint8_t>(sum + static_cast<uint8_t>(c)); });
}

// Follows the addresses as a kernel does: RSDP, XSDT, the tables in it, and the DSDT that the FADT names.
class Tables {
 public:
  explicit Tables(const arch::BoardView& board) : all_(build_acpi_tables(board)) {}

  std::string_view at(uint64_t address) const {
    BOOST_REQUIRE_GE(address, kAcpiTables.value);
    size_t offset = address - kAcpiTables.value;
    BOOST_REQUIRE_LE(offset + 36, all_.size());
    auto length = number_at<uint32_t>(all_, offset + 4);
    BOOST_REQUIRE_LE(offset + length, all_.size());
    return std::string_view(all_).substr(offset, length);
  }
  std::string_view rsdp() const { return std::string_view(all_).substr(0, 36); }
  std::string_view xsdt() const { return at(number_at<uint64_t>(all_, 24)); }
  std::string_view named(std::string_view signature) const {
    for (size_t i = 36; i + 8 <= xsdt().size(); i += 8) {
      std::string_view table = at(number_at<uint64_t>(xsdt(), i));
      if (table.starts_with(signature)) return table;
    }
    BOOST_FAIL("no table " << signature);
    return {};
  }
  std::string_view dsdt() const { return at(number_at<uint64_t>(named("FACP"), 140)); }
  size_t size() const { return all_.size(); }

 private:
  std::string all_;
};

// Returns iasl's disassembly of a table, with each run of spaces made one.
std::string disassemble(std::string_view table) {
  std::string directory = (std::filesystem::temp_directory_path() / "nacre-acpi-XXXXXX").string();
  BOOST_REQUIRE(::mkdtemp(directory.data()) != nullptr);
  BOOST_REQUIRE(replace_file(directory + "/table.aml", table));
  std::string command = "cd '" + directory + "' && iasl -d table.aml >log 2>&1";
  int status = std::system(command.c_str());
  std::string text = status == 0 ? read_file(directory + "/table.dsl").value() : "";
  std::string log = read_file(directory + "/log").value();
  std::filesystem::remove_all(directory);
  BOOST_REQUIRE_MESSAGE(status == 0, log);
  BOOST_TEST(log.find("Error") == std::string::npos, log);
  BOOST_TEST(log.find("Warning") == std::string::npos, log);
  std::string plain;
  for (char c : text) {
    bool space = c == ' ' || c == '\n' || c == '\t';
    if (!space) plain += c;
    if (space && !plain.empty() && plain.back() != ' ') plain += ' ';
  }
  return plain;
}

void expect(const std::string& text, std::string_view part) {
  BOOST_TEST(text.find(part) != std::string::npos, part << " is not in " << text);
}

BOOST_AUTO_TEST_SUITE(acpi)

BOOST_AUTO_TEST_CASE(every_table_is_found_and_sums_up_to_zero) {
  for (size_t devices : {size_t{0}, size_t{1}, arch::max_virtio_devices()}) {
    Tables tables(make_board(64, true, devices));
    BOOST_TEST(tables.rsdp().starts_with("RSD PTR "));
    BOOST_TEST(sum(tables.rsdp().substr(0, 20)) == 0);
    BOOST_TEST(sum(tables.rsdp()) == 0);
    BOOST_TEST(tables.xsdt().starts_with("XSDT"));
    BOOST_TEST(tables.dsdt().starts_with("DSDT"));
    for (std::string_view table : {tables.xsdt(), tables.named("FACP"), tables.named("APIC"), tables.dsdt()}) {
      BOOST_TEST(sum(table) == 0);
    }
    BOOST_TEST(tables.size() <= kAcpiTablesSize);
  }
}

BOOST_AUTO_TEST_CASE(the_dsdt_describes_the_console_and_the_devices) {
  std::string text = disassemble(Tables(make_board(1, true, 2)).dsdt());
  expect(text, "Device (COM1) { Name (_HID, \"PNP0501\"");
  expect(text, "IO (Decode16, 0x03F8, // Range Minimum 0x03F8, // Range Maximum 0x01, // Alignment 0x08, // Length )");
  expect(text, "Device (V000) { Name (_HID, \"LNRO0005\")");
  expect(text, "Memory32Fixed (ReadWrite, 0xD0000000, // Address Base 0x00001000, // Address Length )");
  expect(text, "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x00000005, }");
  expect(text, "Device (V001)");
  expect(text, "0xD0001000, // Address Base");
  expect(text, "{ 0x00000006, }");
  expect(text, "Name (_S5, Package (0x02)");
}

BOOST_AUTO_TEST_CASE(the_dsdt_names_nothing_that_is_not_there) {
  std::string text = disassemble(Tables(make_board(1, false, 0)).dsdt());
  BOOST_TEST(text.find("Device (") == std::string::npos, text);
  expect(text, "Name (_S5, Package (0x02)");
}

BOOST_AUTO_TEST_CASE(as_many_devices_as_there_can_be_are_described) {
  std::string text = disassemble(Tables(make_board(1, true, arch::max_virtio_devices())).dsdt());
  expect(text, "Device (V018)");
  expect(text, "0xD0012000, // Address Base");
  expect(text, "{ 0x00000017, }");
}

BOOST_AUTO_TEST_CASE(the_fadt_says_how_to_power_off_and_reset) {
  std::string text = disassemble(Tables(make_board(1, true, 1)).named("FACP"));
  expect(text, "Hardware Reduced (V5) : 1");
  expect(text, "Reset Register Supported (V2) : 1");
  expect(text, "VGA Not Present (V4) : 1");
  expect(text, "CMOS RTC Not Present (V5) : 1");
  expect(text, "Value to cause reset : 01");
  for (std::string_view address : {"0000000000000600", "0000000000000601", "0000000000000602"}) {
    expect(text, "Encoded Access Width : 01 [Byte Access:8]");
    expect(text, "Address : " + std::string(address));
  }
}

BOOST_AUTO_TEST_CASE(the_madt_lists_every_cpu_and_the_io_apic) {
  std::string text = disassemble(Tables(make_board(3, false, 0)).named("APIC"));
  expect(text, "Local Apic Address : FEE00000");
  for (std::string_view id : {"00", "01", "02"}) {
    expect(text, "Processor ID : " + std::string(id));
    expect(text, "Local Apic ID : " + std::string(id));
  }
  BOOST_TEST(text.find("Local Apic ID : 03") == std::string::npos);
  expect(text, "Processor Enabled : 1");
  expect(text, "[I/O APIC]");
  expect(text, "Address : FEC00000");
  expect(text, "Interrupt : 00000000");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::vmm::x86_64
