// SPDX-License-Identifier: Apache-2.0
// Owns an mmap(2) range.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <utility>

#include "base/result.h"

namespace nacre {

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept : data_(std::exchange(other.data_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      unmap();
      data_ = std::exchange(other.data_, {});
    }
    return *this;
  }
  ~Mapping() { unmap(); }

  // Maps private anonymous zero pages, reserved but not populated (MAP_NORESERVE). `alignment` is a power of two.
  static Result<Mapping> anonymous(size_t size, size_t alignment = 4096);
  // Reserves addresses without memory (PROT_NONE). The owner makes them accessible with mprotect(2).
  static Result<Mapping> reserve(size_t size, size_t alignment = 4096);
  // Maps `size` bytes of a file from `offset`, with mmap's PROT_* and MAP_* flags.
  static Result<Mapping> file(int fd, size_t size, int protection, int flags, off_t offset = 0);

  std::byte* data() const { return data_.data(); }
  size_t size() const { return data_.size(); }
  std::span<std::byte> bytes() const { return data_; }

 private:
  static Result<Mapping> aligned(size_t size, size_t alignment, int protection);
  explicit Mapping(std::span<std::byte> data) : data_(data) {}
  void unmap();

  std::span<std::byte> data_;
};

}  // namespace nacre
