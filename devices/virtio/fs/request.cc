// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/request.h"

#include <climits>
#include <string_view>

namespace nacre::virtio::fs {

OrErrno<const char*> Request::take_string(size_t longest) {
  const void* end = std::memchr(body_.data(), 0, body_.size());
  if (body_.empty() || end == nullptr) return errno_of(EINVAL);
  const char* text = reinterpret_cast<const char*>(body_.data());
  size_t length = static_cast<size_t>(static_cast<const char*>(end) - text);
  if (length == 0) return errno_of(ENOENT);
  if (length > longest) return errno_of(ENAMETOOLONG);
  body_ = body_.subspan(length + 1);
  return text;
}

OrErrno<const char*> Request::take_name() {
  const char* name = TRY(take_string(NAME_MAX));
  std::string_view view(name);
  if (view == "." || view == ".." || view.find('/') != std::string_view::npos) return errno_of(EINVAL);
  return name;
}

OrErrno<std::span<const std::byte>> Request::take_bytes(size_t size) {
  if (size > body_.size()) return errno_of(EINVAL);
  auto bytes = body_.first(size);
  body_ = body_.subspan(size);
  return bytes;
}

OrErrno<void> Reply::put_bytes(std::span<const std::byte> bytes) {
  if (!body_.write(bytes)) return errno_of(EINVAL);
  return {};
}

OrErrno<void> Reply::advance(size_t count) {
  if (!body_.skip(count)) return errno_of(EINVAL);
  return {};
}

}  // namespace nacre::virtio::fs
