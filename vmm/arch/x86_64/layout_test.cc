// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/layout.h"

#include <boost/test/unit_test.hpp>

#include "devices/virtio/mmio.h"
#include "vmm/arch/arch.h"

namespace nacre::vmm::x86_64 {
namespace {

constexpr uint64_t kGiB = 1 << 30;

BOOST_AUTO_TEST_SUITE(layout)

BOOST_AUTO_TEST_CASE(ram_leaves_room_for_devices_below_4_gib) {
  for (uint64_t size : {kGiB, 3 * kGiB, 3 * kGiB + (2 << 20), 8 * kGiB, 1024 * kGiB}) {
    uint64_t sum = 0;
    for (const arch::AddressRange& range : arch::ram_ranges(size)) {
      sum += range.size;
      bool below = range.start.value + range.size <= kMmioHoleStart;
      BOOST_TEST((below || range.start.value >= kMmioHoleEnd));
    }
    BOOST_TEST(sum == size);
    BOOST_TEST(arch::ram_ranges(size).size() == (size > 3 * kGiB ? 2u : 1u));
  }
}

BOOST_AUTO_TEST_CASE(memory_to_come_lies_above_ram_and_borders_on_none) {
  for (uint64_t boot : {kGiB, 3 * kGiB, 4 * kGiB, 63 * kGiB, 64 * kGiB, 512 * kGiB}) {
    arch::AddressRange last = arch::ram_ranges(boot).back();
    arch::AddressRange range = arch::hotplug_range(boot, 5 << 20);
    uint64_t chunk = arch::hotplug_chunk(boot);
    BOOST_TEST(range.start.value > last.start.value + last.size);
    BOOST_TEST(range.start.value >= kMmioHoleEnd);
    BOOST_TEST(range.start.value % chunk == 0u);
    BOOST_TEST(range.size == chunk);  // rounded up
  }
  BOOST_TEST(arch::hotplug_chunk(kGiB) == uint64_t{128} << 20);
  BOOST_TEST(arch::hotplug_chunk(64 * kGiB) == 2 * kGiB);
}

BOOST_AUTO_TEST_CASE(each_virtio_device_has_a_window_and_a_line_of_its_own) {
  size_t count = arch::max_virtio_devices();
  BOOST_TEST(kVirtioMmioSize == virtio::MmioTransport::kWindowSize);
  for (size_t i = 0; i < count; i++) {
    arch::VirtioSlot slot = arch::virtio_slot(i);
    BOOST_TEST(slot.base.value == kVirtioMmio.value + i * virtio::MmioTransport::kWindowSize);
    BOOST_TEST(slot.irq != arch::console_irq());
    BOOST_TEST(slot.irq < kIrqCount);
    if (i > 0) BOOST_TEST(slot.irq > arch::virtio_slot(i - 1).irq);
  }
  uint64_t end = arch::virtio_slot(count - 1).base.value + kVirtioMmioSize;
  BOOST_TEST((kVirtioMmio.value >= kMmioHoleStart && end <= kIoApic.value));
}

BOOST_AUTO_TEST_CASE(what_the_kernel_finds_in_low_memory_does_not_overlap) {
  BOOST_TEST((kGdt.value + 32 <= kZeroPage.value && kZeroPage.value + 4096 <= kPageTables.value));
  BOOST_TEST((kPageTables.value + 3 * 4096 <= kCommandLine.value && kCommandLine.value + 4096 <= kLowMemoryEnd.value));
  BOOST_TEST((kLowMemoryEnd <= kAcpiTables && kAcpiTables.value + kAcpiTablesSize <= kHighMemory.value));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::vmm::x86_64
