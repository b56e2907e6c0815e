// SPDX-License-Identifier: Apache-2.0
// Fuzzes the kernel loaders: the input is both the kernel and the initramfs of a guest with 16 MiB.
//
// Whatever the input is, either the guest's entry point lies in its memory, or there is an error.
#include <sys/mman.h>

#include <span>

#include "base/fd.h"
#include "devices/guest_memory.h"
#include "tests/fuzz/input.h"
#include "vmm/arch/arch.h"

using namespace nacre;
using namespace nacre::vmm;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Fd file(::memfd_create("input", MFD_CLOEXEC));
  fuzz::check(file && write_all(file.get(), std::as_bytes(std::span(data, size))), "no file in memory");
  auto memory = GuestMemory::anonymous(GuestAddress{0}, 16 << 20);
  fuzz::check(memory.has_value(), "no guest memory");
  arch::GuestSoftware software{
      .kernel = file, .initrd = file, .kernel_name = "kernel", .initrd_name = "initrd", .command_line = "quiet"};
  auto entry = arch::load_guest(*memory, software, {.cpus = 2, .has_console = true, .virtio = {arch::virtio_slot(0)}});
  if (entry) fuzz::check(memory->load<uint8_t>(*entry).has_value(), "the guest begins outside its memory");
  return 0;
}
