// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ios>
#include <sstream>
#include <string>

#include "vmm/machine/resize.h"

namespace nacre::vmm {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

std::string error_of(const Result<void>& result) {
  return result ? "no error" : result.error().message();
}

BOOST_AUTO_TEST_SUITE(machine_memory)

BOOST_AUTO_TEST_CASE(memory_that_does_not_grow_is_all_there) {
  GuestRam ram = create_guest_ram({.boot = 64 * kMiB, .max = 64 * kMiB}, nullptr).value();
  BOOST_TEST(!ram.hotplug);
  BOOST_REQUIRE_EQUAL(ram.memory.regions().size(), 1u);
  BOOST_TEST(ram.memory.slice(GuestAddress{0}, 64 * kMiB).has_value());
  BOOST_TEST(!ram.memory.slice(GuestAddress{64 * kMiB}, 1).has_value());
  BOOST_TEST(!ram.memory.regions().front().file);
}

// "hg" and "dd" in smaps (proc(5)): huge pages are wanted, and the pages are not in core files.
BOOST_AUTO_TEST_CASE(memory_is_in_huge_pages_and_in_no_core_file) {
  GuestRam ram = create_guest_ram({.boot = 64 * kMiB, .max = 64 * kMiB}, nullptr).value();
  std::ostringstream start;
  start << std::hex << reinterpret_cast<uintptr_t>(ram.memory.regions().front().mapping.data()) << '-';
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  while (std::getline(smaps, line) && !line.starts_with(start.str())) {
  }
  while (std::getline(smaps, line) && !line.starts_with("VmFlags:")) {
  }
  line += ' ';
  BOOST_TEST(line.find(" dd ") != std::string::npos, line);
  BOOST_TEST(
      (line.find(" hg ") != std::string::npos || !std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")),
      line);
}

BOOST_AUTO_TEST_CASE(memory_to_come_is_none_until_it_is_plugged) {
  GuestRam ram = create_guest_ram({.boot = 64 * kMiB, .max = 128 * kMiB}, nullptr).value();
  BOOST_REQUIRE(ram.hotplug);
  const GuestMemory::Region& region = ram.memory.regions().back();
  BOOST_TEST(ram.hotplug->blocks() * kHotplugBlock == region.mapping.size());
  BOOST_TEST(ram.hotplug->count(0, ram.hotplug->blocks()) == 0u);
  BOOST_TEST(!ram.memory.slice(region.start, 1).has_value());
}

BOOST_AUTO_TEST_CASE(memory_larger_than_the_host_is_refused) {
  auto ram = create_guest_ram({.boot = uint64_t{1} << 60, .max = uint64_t{1} << 60}, nullptr);
  BOOST_REQUIRE(!ram);
  BOOST_TEST(ram.error().message().starts_with("no memory for the guest: "));
}

BOOST_AUTO_TEST_CASE(memory_in_a_file_is_seen_by_whoever_maps_the_file) {
  auto file = std::make_shared<const Fd>(::memfd_create("test", MFD_CLOEXEC));
  GuestRam ram = create_guest_ram({.boot = 4 * kMiB, .max = 8 * kMiB}, file).value();
  BOOST_TEST(ram.memory.regions().front().file);
  BOOST_TEST(ram.memory.regions().front().mapping.size() == 4 * kMiB);
  BOOST_REQUIRE(ram.memory.store(GuestAddress{0x1234}, uint32_t{0xabcd}));
  Mapping other = Mapping::file(file->get(), 4 * kMiB, PROT_READ, MAP_SHARED).value();
  uint32_t seen = 0;
  std::memcpy(&seen, other.data() + 0x1234, sizeof(seen));
  BOOST_TEST(seen == 0xabcdu);
  // What comes later lies behind that, in the same file.
  const GuestMemory::Region& hotplug = ram.memory.regions().back();
  BOOST_TEST(hotplug.file_offset == 4 * kMiB);
  struct stat info{};
  BOOST_REQUIRE_EQUAL(::fstat(file->get(), &info), 0);
  BOOST_TEST(static_cast<uint64_t>(info.st_size) == 4 * kMiB + hotplug.mapping.size());
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_hold_memory_is_an_error) {
  auto file = std::make_shared<const Fd>(::open("/dev/null", O_RDWR | O_CLOEXEC));
  auto ram = create_guest_ram({.boot = 4 * kMiB, .max = 4 * kMiB}, file);
  BOOST_REQUIRE(!ram);
  BOOST_TEST(ram.error().message().find("ftruncate") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_machine_is_resized_within_its_limits) {
  MemorySize memory{.boot = kGiB, .max = 4 * kGiB};
  auto check = [&](const Resize& request) { return error_of(check_resize(request, memory, 4)); };
  BOOST_TEST(check({}) == "no error");
  BOOST_TEST(check({.memory = kGiB, .cpus = 1}) == "no error");
  BOOST_TEST(check({.memory = 4 * kGiB, .cpus = 4}) == "no error");
  BOOST_TEST(check({.cpus = 0}) == "cpus: 0 asked, the machine can have 1 to 4");
  BOOST_TEST(check({.cpus = 5}) == "cpus: 5 asked, the machine can have 1 to 4");
  BOOST_TEST(check({.memory = kGiB - 1}) ==
             "memory: 1073741823 bytes asked, the machine can have 1073741824 to 4294967296");
  BOOST_TEST(check({.memory = UINT64_MAX}) ==
             "memory: 18446744073709551615 bytes asked, the machine can have 1073741824 to 4294967296");
  BOOST_TEST(check({.memory = kGiB + 4096}) == "memory: not a multiple of 2 MiB");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::vmm
