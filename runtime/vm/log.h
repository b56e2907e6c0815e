// SPDX-License-Identifier: Apache-2.0
// Keeps what vmm logs and what its guest's console prints, in files of the container's directory.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

// Moves what vmm writes to its stdout or stderr to a file. vmm has the end of a pipe and not the file, so a vmm that a
// guest has taken over can neither fill the host's /run nor change what it has said before.
class VmmLog {
 public:
  // Makes the pipe and the file `name`.
  static Result<VmmLog> create(const ContainerDir& dir, const char* name);

  // Returns the end for vmm, which does not block: what finds no room is lost. Called once.
  Fd take_writer() { return std::move(writer_); }

  // Returns the descriptor to poll for what vmm has said; -1: none.
  int fd() const { return reader_.get(); }
  // Moves what vmm has said so far, up to one mebibyte in all. What comes after that is read and dropped. Returns false
  // if vmm says no more.
  bool move();

  // Returns the last line so far, cut to one kilobyte.
  std::string last_line() const;

 private:
  VmmLog() = default;
  Fd reader_, writer_, file_;
  size_t size_ = 0;   // of the file
  std::string tail_;  // the last of what vmm has said
};

// Returns the last line of a text, cut to one kilobyte.
std::string last_line(const std::string& text);

}  // namespace nacre::runtime
