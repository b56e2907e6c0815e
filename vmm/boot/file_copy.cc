// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/file_copy.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace nacre::vmm {

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

Result<void> copy_file(const GuestMemory& memory, GuestAddress to, const Fd& file, uint64_t offset, uint64_t size) {
  if (size == 0) return {};
  iovec target = TRY(memory.slice(to, size));
  return read_at(file, offset, {static_cast<std::byte*>(target.iov_base), target.iov_len});
}

}  // namespace nacre::vmm
