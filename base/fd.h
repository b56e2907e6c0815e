// SPDX-License-Identifier: Apache-2.0
// Owning file descriptors, and the calls on them that all parts of the tree need.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace nacre {

// Owns one descriptor and closes it. -1 means no descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  explicit operator bool() const { return valid(); }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

  // Returns a duplicate, close-on-exec.
  Result<Fd> dup() const;

 private:
  int fd_ = -1;
};

// Call open(2) and openat(2) with O_CLOEXEC added. Errors name the path.
Result<Fd> open_file(const std::string& path, int flags, mode_t mode = 0);
Result<Fd> open_at(int directory, const std::string& path, int flags, mode_t mode = 0);

// Calls openat2(2) with O_CLOEXEC and RESOLVE_IN_ROOT: `root` is "/" for every link and "..", so the lookup stays
// inside, whatever the owner of the tree has put there.
Result<Fd> open_in_root(int root, const std::string& path, int flags, mode_t mode = 0);

struct Pipe {
  Fd read, write;
};
Result<Pipe> make_pipe(int flags = 0);                // O_CLOEXEC always
Result<std::pair<Fd, Fd>> make_socketpair(int type);  // AF_UNIX, SOCK_CLOEXEC always
Result<Fd> make_eventfd(unsigned initial = 0);        // close-on-exec and non-blocking
// Makes an eventfd readable. A counter that is full already wakes its reader as well, so this cannot fail.
void signal_eventfd(int fd);
// Sets the counter of a non-blocking eventfd to zero, and returns what it was.
uint64_t drain_eventfd(int fd);

Result<void> set_nonblocking(int fd, bool on);
Result<void> set_cloexec(int fd, bool on);

// Read or write all of the bytes, or fail. An end of file before that is an error. EINTR is retried.
Result<void> read_all(int fd, std::span<std::byte> out);
Result<void> write_all(int fd, std::span<const std::byte> in);
Result<void> write_all(int fd, std::string_view text);

// Read a whole (small) file. A file longer than `limit` bytes is an error.
Result<std::string> read_file(const std::string& path, size_t limit = 16 << 20);
Result<std::string> read_fd(int fd, size_t limit = 16 << 20);

// Writes a new file beside `path` and renames it over `path`: readers see the old file or the new one, never a part.
Result<void> replace_file(const std::string& path, std::string_view content, mode_t mode = 0600);

// Send and receive one message with at most 16 descriptors (SCM_RIGHTS) over an AF_UNIX socket.
Result<void> send_with_fds(int socket, std::span<const std::byte> data, std::span<const int> fds);
struct Received {
  size_t size = 0;  // 0: the peer has closed the socket
  std::vector<Fd> fds;
};
Result<Received> receive_with_fds(int socket, std::span<std::byte> data, int flags = 0);

}  // namespace nacre
