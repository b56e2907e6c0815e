// SPDX-License-Identifier: Apache-2.0
#include "guest-init/kernel/text.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"

namespace nacre::guest {

std::optional<std::string> read_start(int directory, const std::string& path, size_t limit) {
  auto file = open_at(directory, path, O_RDONLY);
  if (!file) return std::nullopt;
  std::string text(limit, '\0');
  size_t length = 0;
  while (length < limit) {
    ssize_t got = ::read(file->get(), text.data() + length, limit - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    length += static_cast<size_t>(got);
  }
  text.resize(length);
  return text;
}

}  // namespace nacre::guest
