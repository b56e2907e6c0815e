#include "vmm/kvm/kvm.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace nacre::vmm {

namespace {

constexpr int kApiVersion = 12;  // the only one there is (api.rst, 4.1)
constexpr size_t kMaxCpuidEntries = 256;

// struct kvm_cpuid2 and struct kvm_msrs: a count, padding, and then the entries. The kernel's own declarations have a
// flexible array in an anonymous structure, which is 4 bytes larger in C++ than in C: the ioctl numbers, made from the
// size, come out wrong. So here are the C sizes.
struct ListHeader {
  uint32_t count;
  uint32_t padding;
};
constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, sizeof(ListHeader));
constexpr unsigned long kSetCpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, sizeof(ListHeader));
constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, sizeof(ListHeader));

// Header and entries as one block.
template <typename Entry>
std::vector<std::byte> encode_list(std::span<const Entry> entries) {
  ListHeader header{static_cast<uint32_t>(entries.size()), 0};
  std::vector<std::byte> block(sizeof(header) + entries.size_bytes());
  std::memcpy(block.data(), &header, sizeof(header));
  std::memcpy(block.data() + sizeof(header), entries.data(), entries.size_bytes());
  return block;
}

}  // namespace

Result<bool> Vcpu::run() {
  if (::ioctl(fd_.get(), KVM_RUN, 0) == 0) return true;
  if (errno == EINTR || errno == EAGAIN) return false;
  return fail_errno("KVM_RUN");
}

std::span<std::byte> Vcpu::io_data() {
  const auto& io = exit().io;
  return {run_.data() + io.data_offset, size_t{io.size} * io.count};
}

Result<void> Vcpu::set_cpuid(std::span<const kvm_cpuid_entry2> entries) {
  if (::ioctl(fd_.get(), kSetCpuid2, encode_list(entries).data()) < 0) return fail_errno("KVM_SET_CPUID2");
  return {};
}

Result<void> Vcpu::set_msrs(std::span<const kvm_msr_entry> entries) {
  int set = ::ioctl(fd_.get(), kSetMsrs, encode_list(entries).data());
  if (set < 0) return fail_errno("KVM_SET_MSRS");
  if (static_cast<size_t>(set) != entries.size()) {
    return fail("KVM_SET_MSRS: this KVM refuses MSR index " + std::to_string(entries[static_cast<size_t>(set)].index));
  }
  return {};
}

Result<kvm_sregs> Vcpu::sregs() {
  kvm_sregs sregs{};
  if (::ioctl(fd_.get(), KVM_GET_SREGS, &sregs) < 0) return fail_errno("KVM_GET_SREGS");
  return sregs;
}

Result<void> Vcpu::set_sregs(const kvm_sregs& sregs) {
  if (::ioctl(fd_.get(), KVM_SET_SREGS, &sregs) < 0) return fail_errno("KVM_SET_SREGS");
  return {};
}

Result<kvm_regs> Vcpu::regs() {
  kvm_regs regs{};
  if (::ioctl(fd_.get(), KVM_GET_REGS, &regs) < 0) return fail_errno("KVM_GET_REGS");
  return regs;
}

Result<void> Vcpu::set_regs(const kvm_regs& regs) {
  if (::ioctl(fd_.get(), KVM_SET_REGS, &regs) < 0) return fail_errno("KVM_SET_REGS");
  return {};
}

Result<void> Vcpu::announce_apic() {
  kvm_lapic_state state{};
  if (::ioctl(fd_.get(), KVM_GET_LAPIC, &state) < 0) return fail_errno("KVM_GET_LAPIC");
  if (::ioctl(fd_.get(), KVM_SET_LAPIC, &state) < 0) return fail_errno("KVM_SET_LAPIC");
  return {};
}

Result<void> Vcpu::set_fpu(const kvm_fpu& fpu) {
  if (::ioctl(fd_.get(), KVM_SET_FPU, &fpu) < 0) return fail_errno("KVM_SET_FPU");
  return {};
}

Result<void> Vm::add_memory(uint32_t slot, GuestAddress start, std::span<std::byte> memory, bool readonly) {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = readonly ? KVM_MEM_READONLY : 0;
  region.guest_phys_addr = start.value;
  region.memory_size = memory.size();
  region.userspace_addr = reinterpret_cast<uintptr_t>(memory.data());
  if (::ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) return fail_errno("KVM_SET_USER_MEMORY_REGION");
  return {};
}

Result<void> Vm::remove_memory(uint32_t slot) {
  kvm_userspace_memory_region region{};  // of size 0
  region.slot = slot;
  if (::ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) return fail_errno("KVM_SET_USER_MEMORY_REGION");
  return {};
}

Result<void> Vm::set_tss_address(GuestAddress address) {
  if (::ioctl(fd_.get(), KVM_SET_TSS_ADDR, address.value) < 0) return fail_errno("KVM_SET_TSS_ADDR");
  return {};
}

Result<void> Vm::set_identity_map_address(GuestAddress address) {
  if (::ioctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &address.value) < 0) {
    return fail_errno("KVM_SET_IDENTITY_MAP_ADDR");
  }
  return {};
}

Result<void> Vm::create_irqchip() {
  if (::ioctl(fd_.get(), KVM_CREATE_IRQCHIP, 0) < 0) return fail_errno("KVM_CREATE_IRQCHIP");
  return {};
}

Result<void> Vm::add_irqfd(int event, uint32_t gsi) {
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<uint32_t>(event);
  irqfd.gsi = gsi;
  if (::ioctl(fd_.get(), KVM_IRQFD, &irqfd) < 0) return fail_errno("KVM_IRQFD");
  return {};
}

Result<void> Vm::add_ioeventfd(int event, GuestAddress address, uint32_t value) {
  kvm_ioeventfd ioeventfd{};
  ioeventfd.datamatch = value;
  ioeventfd.addr = address.value;
  ioeventfd.len = sizeof(value);
  ioeventfd.fd = event;
  ioeventfd.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  if (::ioctl(fd_.get(), KVM_IOEVENTFD, &ioeventfd) < 0) return fail_errno("KVM_IOEVENTFD");
  return {};
}

Result<Vcpu> Vm::create_vcpu(uint32_t id) {
  Fd fd(::ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(id)));
  if (!fd) return fail_errno("KVM_CREATE_VCPU");
  Mapping run = TRY(Mapping::file(fd.get(), run_size_, PROT_READ | PROT_WRITE, MAP_SHARED));
  return Vcpu(std::move(fd), std::move(run));
}

Result<int> Vm::check_extension(long capability) const {
  int value = ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  if (value < 0) return fail_errno("KVM_CHECK_EXTENSION");
  return value;
}

Result<Kvm> Kvm::open() {
  Fd fd(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!fd) {
    switch (errno) {
      case ENOENT:
        return fail("no /dev/kvm: this host has no KVM, or its module is not loaded", ENOENT);
      case EACCES:
      case EPERM:
        return fail("/dev/kvm: permission denied", errno);
      default:
        return fail_errno("/dev/kvm");
    }
  }
  int version = ::ioctl(fd.get(), KVM_GET_API_VERSION, 0);
  if (version < 0) return fail("/dev/kvm is not KVM", ENOTTY);
  if (version != kApiVersion) return fail("/dev/kvm: API version " + std::to_string(version) + " is not known");
  int run_size = ::ioctl(fd.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < static_cast<int>(sizeof(kvm_run))) return fail_errno("KVM_GET_VCPU_MMAP_SIZE");
  return Kvm(std::move(fd), static_cast<size_t>(run_size));
}

Result<Vm> Kvm::create_vm() {
  int fd;
  do {
    fd = ::ioctl(fd_.get(), KVM_CREATE_VM, 0);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return fail_errno("KVM_CREATE_VM");
  return Vm(Fd(fd), run_size_);
}

Result<std::vector<kvm_cpuid_entry2>> Kvm::supported_cpuid() {
  std::vector<kvm_cpuid_entry2> entries(kMaxCpuidEntries);
  std::vector<std::byte> block = encode_list(std::span<const kvm_cpuid_entry2>(entries));
  if (::ioctl(fd_.get(), kGetSupportedCpuid, block.data()) < 0) return fail_errno("KVM_GET_SUPPORTED_CPUID");
  ListHeader header;
  std::memcpy(&header, block.data(), sizeof(header));
  entries.resize(std::min<size_t>(header.count, kMaxCpuidEntries));
  std::memcpy(entries.data(), block.data() + sizeof(header), entries.size() * sizeof(kvm_cpuid_entry2));
  return entries;
}

Result<int> Kvm::check_extension(long capability) const {
  int value = ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
  if (value < 0) return fail_errno("KVM_CHECK_EXTENSION");
  return value;
}

Result<std::unique_ptr<IrqFd>> IrqFd::create(Vm& vm, uint32_t gsi) {
  Fd event = TRY(make_eventfd());
  TRY(vm.add_irqfd(event.get(), gsi));
  return std::unique_ptr<IrqFd>(new IrqFd(std::move(event)));
}

void IrqFd::trigger() {
  signal_eventfd(event_.get());
}

}  // namespace nacre::vmm
