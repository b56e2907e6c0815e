// SPDX-License-Identifier: Apache-2.0
// Kernel images and initramfs, good and hostile. None of them may do more than fail with a line that says why.
#include "vmm/arch/x86_64/kernel.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cstring>

#include "vmm/arch/arch.h"
#include "vmm/arch/x86_64/layout.h"
#include "vmm/boot/file_copy.h"

namespace nacre::vmm::x86_64 {
namespace {

constexpr uint64_t kMemory = 16 << 20;
constexpr uint64_t kStart = 0x100000;

Fd make_file(std::string_view content) {
  Fd file(::memfd_create("image", MFD_CLOEXEC));
  BOOST_REQUIRE(write_all(file.get(), content));
  return file;
}

template <typename T>
void put(std::string& bytes, size_t offset, const T& value) {
  if (bytes.size() < offset + sizeof(value)) bytes.resize(offset + sizeof(value));
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

struct Segment {
  uint64_t address;
  uint64_t offset;
  uint64_t file_size;
  uint64_t memory_size;
};

// An ELF file of 12 KiB whose segments are taken from it as they say. Byte i of what follows the first page is i / 256.
std::string make_elf(const std::vector<Segment>& segments, uint64_t entry = kStart) {
  std::string bytes(3 * 4096, '\0');
  for (size_t i = 4096; i < bytes.size(); i++) bytes[i] = static_cast<char>(i >> 8);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_entry = entry;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(segments.size());
  put(bytes, 0, header);
  for (size_t i = 0; i < segments.size(); i++) {
    Elf64_Phdr program{};
    program.p_type = PT_LOAD;
    program.p_paddr = segments[i].address;
    program.p_offset = segments[i].offset;
    program.p_filesz = segments[i].file_size;
    program.p_memsz = segments[i].memory_size;
    put(bytes, sizeof(header) + i * sizeof(program), program);
  }
  return bytes;
}

std::string make_bzimage(uint8_t setup_sectors = 1, uint64_t address = kStart, uint32_t init_size = 0x10000) {
  std::string bytes(8 * 512, '\0');
  for (size_t i = 2 * 512; i < bytes.size(); i++) bytes[i] = static_cast<char>(i >> 8);
  put(bytes, 0x1f1, setup_sectors);
  put(bytes, 0x201, uint8_t{0x66});
  put(bytes, 0x202, uint32_t{0x53726448});
  put(bytes, 0x206, uint16_t{0x20f});
  put(bytes, 0x22c, uint32_t{0x7fffffff});
  put(bytes, 0x236, uint16_t{1});
  put(bytes, 0x258, address);
  put(bytes, 0x260, init_size);
  return bytes;
}

struct Fixture {
  Result<LinuxKernel> load(const std::string& content) { return load_kernel(memory, make_file(content), "K"); }
  std::string error_of(const std::string& content) {
    auto kernel = load(content);
    return kernel ? "no error" : kernel.error().message();
  }
  uint8_t byte_at(uint64_t address) { return memory.load<uint8_t>(GuestAddress{address}).value(); }

  GuestMemory memory = GuestMemory::anonymous(GuestAddress{0}, kMemory).value();
};

BOOST_FIXTURE_TEST_SUITE(kernel_images, Fixture)

BOOST_AUTO_TEST_CASE(an_elf_kernel_is_loaded_by_its_segments) {
  auto kernel = load(make_elf({{kStart, 4096, 4096, 4096}, {kStart + 0x3100, 8192 + 0x100, 0x80, 0x2000}}, kStart + 8));
  BOOST_REQUIRE(kernel);
  BOOST_TEST(kernel->entry.value == kStart + 8);
  BOOST_TEST(kernel->end.value == kStart + 0x5100);
  BOOST_TEST(kernel->setup_header.empty());
  BOOST_TEST(byte_at(kStart) == 0x10);
  BOOST_TEST(byte_at(kStart + 0xfff) == 0x1f);
  BOOST_TEST(byte_at(kStart + 0x1000) == 0);
  BOOST_TEST(byte_at(kStart + 0x3100) == 0x21);
  BOOST_TEST(byte_at(kStart + 0x317f) == 0x21);
  BOOST_TEST(byte_at(kStart + 0x3180) == 0);  // its bss
}

BOOST_AUTO_TEST_CASE(segments_that_overlap_stay_in_memory_and_the_later_one_wins) {
  auto kernel = load(make_elf({{kStart, 4096, 8192, 8192}, {kStart + 0x1000, 4096, 4096, 4096}}));
  BOOST_REQUIRE(kernel);
  BOOST_TEST(byte_at(kStart + 0x1000) == 0x10);
  BOOST_TEST(kernel->end.value == kStart + 0x2000);
}

// Not even a guest that writes nothing sees what becomes of the file.
BOOST_AUTO_TEST_CASE(an_image_is_copied) {
  Fd file = make_file(make_elf({{kStart, 0, 3 * 4096, 3 * 4096}}));
  BOOST_REQUIRE(load_kernel(memory, file, "K"));
  const uint8_t changed = 0xee;
  for (off_t offset : {100, 4096, 8192}) BOOST_REQUIRE(::pwrite(file.get(), &changed, 1, offset) == 1);
  BOOST_TEST(byte_at(kStart + 100) == 0);
  BOOST_TEST(byte_at(kStart + 4096) == 0x10);
  BOOST_TEST(byte_at(kStart + 8192) == 0x20);
}

BOOST_AUTO_TEST_CASE(elf_headers_that_lie_are_refused) {
  auto with = [&](auto change) {
    std::string bytes = make_elf({{kStart, 4096, 4096, 4096}});
    Elf64_Ehdr header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    change(header);
    put(bytes, 0, header);
    return error_of(bytes);
  };
  BOOST_TEST(with([](Elf64_Ehdr&) {}) == "no error");
  for (auto change : std::initializer_list<void (*)(Elf64_Ehdr&)>{
           [](Elf64_Ehdr& h) { h.e_ident[EI_CLASS] = ELFCLASS32; }, [](Elf64_Ehdr& h) { h.e_machine = EM_AARCH64; },
           [](Elf64_Ehdr& h) { h.e_type = ET_REL; }}) {
    BOOST_TEST(with(change) == "kernel K: an ELF file, but not a kernel for this processor");
  }
  for (auto change : std::initializer_list<void (*)(Elf64_Ehdr&)>{[](Elf64_Ehdr& h) { h.e_phentsize = 1; },
                                                                  [](Elf64_Ehdr& h) { h.e_phnum = 0; },
                                                                  [](Elf64_Ehdr& h) { h.e_phnum = UINT16_MAX; }}) {
    BOOST_TEST(with(change) == "kernel K: an ELF file with bad program headers");
  }
  BOOST_TEST(with([](Elf64_Ehdr& h) { h.e_phoff = 3 * 4096; }) == "kernel K: the file ends too early");
  for (uint64_t offset : {uint64_t{1} << 63, UINT64_MAX}) {
    BOOST_TEST(with([offset](Elf64_Ehdr& h) { h.e_phoff = offset; }) != "no error");
  }
  for (uint64_t entry : {uint64_t{0}, kStart - 1, kStart + 4096, UINT64_MAX}) {
    BOOST_TEST(with([entry](Elf64_Ehdr& h) { h.e_entry = entry; }) ==
               "kernel K: an ELF file whose entry point is in none of its segments");
  }
}

BOOST_AUTO_TEST_CASE(elf_segments_that_lie_are_refused) {
  constexpr const char* kBad = "kernel K: an ELF file with a bad segment";
  BOOST_TEST(error_of(make_elf({{kStart, 4096, 8192, 4096}})) == kBad);        // more of the file than of memory
  BOOST_TEST(error_of(make_elf({{kStart, 4096, 8193, 16384}})) == kBad);       // past the end of the file
  BOOST_TEST(error_of(make_elf({{kStart, UINT64_MAX, 4096, 4096}})) == kBad);  // the sum of both wraps round
  BOOST_TEST(error_of(make_elf({{kStart, 1, UINT64_MAX, UINT64_MAX}})) == kBad);
  BOOST_TEST(error_of(make_elf({{UINT64_MAX - 4095, 4096, 4096, 4097}})) == kBad);
  BOOST_TEST(error_of(make_elf({{kStart, 4096, 4096, kMemory}})) ==
             "kernel K: it needs memory from 1 MiB to 17 MiB, more than the guest has");
  BOOST_TEST(error_of(make_elf({{kMemory, 4096, 4096, 4096}})) ==
             "kernel K: it needs memory from 16 MiB to 16 MiB, more than the guest has");
}

BOOST_AUTO_TEST_CASE(a_bzimage_is_loaded_at_its_address) {
  auto kernel = load(make_bzimage());
  BOOST_REQUIRE(kernel);
  BOOST_TEST(kernel->entry.value == kStart + 0x200);
  BOOST_TEST(kernel->end.value == kStart + 0x10000);
  BOOST_TEST(kernel->initrd_limit == 0x7fffffffu);
  BOOST_TEST(kernel->setup_header.size() == 0x202 + 0x66 - 0x1f1u);
  BOOST_TEST(byte_at(kStart) == 0x04);
  BOOST_TEST(byte_at(kStart + 0x200) == 0x06);
}

BOOST_AUTO_TEST_CASE(zero_setup_sectors_are_four) {
  BOOST_REQUIRE(load(make_bzimage(0)));
  BOOST_TEST(byte_at(kStart) == 0x0a);
}

BOOST_AUTO_TEST_CASE(bzimage_headers_that_lie_are_refused) {
  auto with = [&](size_t offset, auto value) {
    std::string bytes = make_bzimage();
    put(bytes, offset, value);
    return error_of(bytes);
  };
  BOOST_TEST(with(0x206, uint16_t{0x20b}) == "kernel K: a bzImage without a 64-bit entry point");
  BOOST_TEST(with(0x236, uint16_t{0}) == "kernel K: a bzImage without a 64-bit entry point");
  BOOST_TEST(with(0x1f1, uint8_t{7}) == "kernel K: a bzImage that is cut off");
  BOOST_TEST(with(0x1f1, uint8_t{255}) == "kernel K: a bzImage that is cut off");
  BOOST_TEST(with(0x258, UINT64_MAX) == "kernel K: a bzImage with a bad load address");
  BOOST_TEST(with(0x258, kMemory) == "kernel K: it needs memory from 16 MiB to 16 MiB, more than the guest has");
  BOOST_TEST(with(0x260, UINT32_MAX) == "kernel K: it needs memory from 1 MiB to 4096 MiB, more than the guest has");
  BOOST_TEST(with(0x201, uint8_t{255}) == "no error");  // longer than any header: what there is of it
  BOOST_TEST(with(0x201, uint8_t{0}) == "no error");
}

BOOST_AUTO_TEST_CASE(files_that_end_anywhere_are_no_more_than_an_error) {
  for (const std::string& whole : {make_elf({{kStart, 4096, 8192, 8192}}), make_bzimage()}) {
    for (size_t size = 0; size < whole.size(); size += size < 0x300 ? 1 : 97) {
      auto kernel = load(whole.substr(0, size));
      if (kernel) BOOST_TEST(kernel->end.value <= kMemory);
    }
  }
  BOOST_TEST(error_of("") == "kernel K: neither an ELF kernel nor a bzImage");
  BOOST_TEST(error_of("\x7f"
                      "ELF") == "kernel K: the file ends too early");
}

BOOST_AUTO_TEST_CASE(what_is_no_file_is_no_kernel) {
  auto kernel = load_kernel(memory, Fd(::open("/dev/zero", O_RDONLY | O_CLOEXEC)), "K");
  BOOST_REQUIRE(!kernel);
  BOOST_TEST(kernel.error().message() == "kernel K: not a regular file");
}

BOOST_AUTO_TEST_CASE(an_initramfs_lies_as_high_as_it_may) {
  Fd file = make_file(std::string(5000, 'x'));
  auto at = [&](uint64_t kernel_end, uint64_t limit) {
    auto initramfs = load_initramfs(memory, file, "I", GuestAddress{kernel_end}, limit);
    return initramfs ? initramfs->start.value : 0;
  };
  BOOST_TEST(at(kStart, UINT32_MAX) == kMemory - 8192);
  BOOST_TEST(byte_at(kMemory - 8192) == 'x');
  BOOST_TEST(byte_at(kMemory - 8192 + 4999) == 'x');
  BOOST_TEST(byte_at(kMemory - 8192 + 5000) == 0);
  BOOST_TEST(at(kStart, 0x3fffff) == 0x400000u - 8192);
  BOOST_TEST(at(kMemory - 8192, UINT32_MAX) == kMemory - 8192);
  BOOST_TEST(at(kMemory - 8191, UINT32_MAX) == 0u);  // it would lie over the kernel
  BOOST_TEST(at(kStart, 4999) == 0u);
}

BOOST_AUTO_TEST_CASE(shared_memory_gets_a_copy_that_others_see) {
  auto backing = std::make_shared<const Fd>(::memfd_create("memory", MFD_CLOEXEC));
  BOOST_REQUIRE_EQUAL(::ftruncate(backing->get(), kMemory), 0);
  std::vector<GuestMemory::Region> regions;
  Mapping mapping = Mapping::file(backing->get(), kMemory, PROT_READ | PROT_WRITE, MAP_SHARED).value();
  regions.push_back({GuestAddress{0}, std::move(mapping), nullptr, backing, 0});
  memory = GuestMemory(std::move(regions));
  BOOST_REQUIRE(load(make_elf({{kStart, 4096, 4096, 4096}})));
  uint8_t seen = 0;
  BOOST_REQUIRE_EQUAL(::pread(backing->get(), &seen, 1, kStart + 0xfff), 1);
  BOOST_TEST(seen == 0x1f);
}

BOOST_AUTO_TEST_CASE(a_guest_that_cannot_hold_its_boot_data_is_refused) {
  GuestMemory small = GuestMemory::anonymous(GuestAddress{0}, 0x8000).value();
  Fd kernel = make_file(make_elf({{0x1000, 4096, 4096, 4096}}, 0x1000));
  Fd initrd;
  arch::GuestSoftware software{
      .kernel = kernel, .initrd = initrd, .kernel_name = "K", .initrd_name = "", .command_line = "quiet"};
  BOOST_TEST(!arch::load_guest(small, software, {}).has_value());
}

BOOST_AUTO_TEST_CASE(the_command_line_is_where_the_zero_page_says) {
  Fd kernel = make_file(make_elf({{kStart, 4096, 4096, 4096}}));
  Fd initrd = make_file(std::string(100, 'i'));
  arch::GuestSoftware software{
      .kernel = kernel, .initrd = initrd, .kernel_name = "K", .initrd_name = "I", .command_line = "quiet"};
  BOOST_TEST(arch::load_guest(memory, software, {}).value().value == kStart);
  auto pointer = memory.load<uint32_t>(GuestAddress{kZeroPage.value + 0x228}).value();
  BOOST_TEST(pointer == kCommandLine.value);
  BOOST_TEST(std::string(memory.load<std::array<char, 6>>(GuestAddress{pointer})->data()) == "quiet");
  auto initramfs = memory.load<uint32_t>(GuestAddress{kZeroPage.value + 0x218}).value();
  BOOST_TEST(byte_at(initramfs) == 'i');
  BOOST_TEST(memory.load<uint32_t>(GuestAddress{kZeroPage.value + 0x21c}).value() == 100u);
  BOOST_TEST(memory.load<uint64_t>(GuestAddress{kZeroPage.value + 0x70}).value() == kAcpiTables.value);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::vmm::x86_64
