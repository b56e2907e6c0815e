// SPDX-License-Identifier: Apache-2.0
#include "base/mapping.h"

#include <sys/mman.h>

#include <cstdint>

namespace nacre {

Result<Mapping> Mapping::anonymous(size_t size, size_t alignment) {
  return aligned(size, alignment, PROT_READ | PROT_WRITE);
}

Result<Mapping> Mapping::reserve(size_t size, size_t alignment) {
  return aligned(size, alignment, PROT_NONE);
}

Result<Mapping> Mapping::aligned(size_t size, size_t alignment, int protection) {
  // Map more than is wanted, then give back what lies before and after the aligned part.
  size_t total = size + alignment;
  void* address = ::mmap(nullptr, total, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return fail_errno("mmap " + std::to_string(size) + " bytes");
  auto* start = static_cast<std::byte*>(address);
  size_t before = -reinterpret_cast<uintptr_t>(start) & (alignment - 1);
  if (before > 0) ::munmap(start, before);
  ::munmap(start + before + size, total - before - size);
  return Mapping(std::span(start + before, size));
}

Result<Mapping> Mapping::file(int fd, size_t size, int protection, int flags, off_t offset) {
  void* address = ::mmap(nullptr, size, protection, flags, fd, offset);
  if (address == MAP_FAILED) return fail_errno("mmap " + std::to_string(size) + " bytes");
  return Mapping(std::span(static_cast<std::byte*>(address), size));
}

void Mapping::unmap() {
  if (!data_.empty()) ::munmap(data_.data(), data_.size());
  data_ = {};
}

}  // namespace nacre
