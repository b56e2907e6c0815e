// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/kvm.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace nacre::vmm {

namespace {

constexpr int kApiVersion = 12;  // the only one there is (api.rst, 4.1)

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
