// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/file_map.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace nacre::vmm {

namespace {

constexpr uint64_t kChunk = 16 << 10;  // small: the heap keeps the buffer's memory for as long as vmm runs

bool has_one_value(std::span<const std::byte> bytes) {
  return std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace

Result<uint64_t> regular_file_size(const Fd& file) {
  struct stat info;
  if (::fstat(file.get(), &info) < 0) return fail_errno("fstat");
  if (!S_ISREG(info.st_mode)) return fail("not a regular file");
  return static_cast<uint64_t>(info.st_size);
}

Result<void> read_at(const Fd& file, uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    ssize_t n = ::pread(file.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("read");
    }
    if (n == 0) return fail("the file ends too early");
    offset += static_cast<uint64_t>(n);
    out = out.subspan(static_cast<size_t>(n));
  }
  return {};
}

Result<void> place_file(const GuestMemory& memory, GuestAddress to, const Fd& file, uint64_t offset, uint64_t size) {
  if (size == 0) return {};
  iovec target = TRY(memory.slice(to, size));
  auto* start = static_cast<std::byte*>(target.iov_base);
  uint64_t in_page = to.value % kPageSize;
  if (offset % kPageSize != in_page || memory.is_shared(to)) return read_at(file, offset, {start, size});

  // Whole pages by mmap; the head and the tail that share their page with something else by copy.
  uint64_t head = std::min(size, (kPageSize - in_page) % kPageSize);
  TRY(read_at(file, offset, {start, head}));
  uint64_t body = (size - head) / kPageSize * kPageSize;
  if (body > 0) {
    void* mapped = ::mmap(start + head, body, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                          file.get(), static_cast<off_t>(offset + head));
    if (mapped == MAP_FAILED) return fail_errno("mmap into guest memory");
  }
  return read_at(file, offset + head + body, {start + head + body, size - head - body});
}

Result<void> copy_file(const GuestMemory& memory, GuestAddress to, const Fd& file, uint64_t offset, uint64_t size) {
  std::vector<std::byte> buffer(std::min(size, kChunk));
  uint64_t padding = 0;  // how many bytes before `offset` are not placed yet
  auto place_padding = [&] {
    uint64_t bytes = std::exchange(padding, 0);
    return place_file(memory, GuestAddress{to.value - bytes}, file, offset - bytes, bytes);
  };
  while (size > 0) {
    std::span<std::byte> chunk = std::span(buffer).first(std::min(size, kChunk - offset % kChunk));
    TRY(read_at(file, offset, chunk));
    if (has_one_value(chunk)) {
      padding += chunk.size();
    } else {
      TRY(place_padding());
      TRY(memory.write(to, chunk));
    }
    to.value += chunk.size();
    offset += chunk.size();
    size -= chunk.size();
  }
  return place_padding();
}

}  // namespace nacre::vmm
