// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace nacre::runtime {

namespace {

constexpr size_t kMaxLog = 1 << 20;
constexpr size_t kMaxLine = 1000;
constexpr size_t kMaxTail = 4 * kMaxLine;
// A vmm that never stops must not keep the stand-in here.
constexpr size_t kMaxMove = 64 << 10;

}  // namespace

std::string last_line(const std::string& text) {
  size_t end = text.find_last_not_of(" \n\r");
  if (end == std::string::npos) return "";
  size_t start = text.rfind('\n', end);
  start = start == std::string::npos ? 0 : start + 1;
  return text.substr(start, std::min(end + 1 - start, kMaxLine));
}

Result<VmmLog> VmmLog::create(const ContainerDir& dir, const char* name) {
  VmmLog log;
  Pipe pipe = TRY(make_pipe(O_NONBLOCK));
  log.file_ = TRY(open_at(dir.fd(), name, O_WRONLY | O_CREAT | O_APPEND, 0600));
  log.reader_ = std::move(pipe.read);
  log.writer_ = std::move(pipe.write);
  return log;
}

bool VmmLog::move() {
  std::array<char, 4096> bytes;
  for (size_t moved = 0; moved < kMaxMove;) {
    ssize_t n = ::read(reader_.get(), bytes.data(), bytes.size());
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    std::string_view text(bytes.data(), static_cast<size_t>(n));
    moved += text.size();
    tail_.append(text);
    if (tail_.size() > kMaxTail) tail_.erase(0, tail_.size() - kMaxTail);
    text = text.substr(0, kMaxLog - size_);
    size_ += text.size();
    (void)write_all(file_.get(), text);  // nobody can be told that there is no room for a log
  }
  return true;
}

std::string VmmLog::last_line() const {
  return runtime::last_line(tail_);
}

}  // namespace nacre::runtime
