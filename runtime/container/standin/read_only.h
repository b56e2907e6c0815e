// SPDX-License-Identifier: Apache-2.0
// Keeps what a caller opened for reading from being written by a vmm that a guest has taken over.
#pragma once

#include <optional>

#include "base/fd.h"

namespace nacre::runtime {

// A file of the caller's, opened again through a mount that allows reading only. Through /proc/self/fd vmm could open
// the caller's descriptor itself once more for writing, if its user may write to the file.
class ReadOnlyFile {
 public:
  // Opens the file of `fd` again, at the position that `fd` has. Returns nothing if that is not a regular file or block
  // device that is open for reading alone, or if this process may make no mounts: then vmm has the rights of a user
  // without privilege, and they end at that user's own files. Called in the mount namespace in which the file was
  // opened.
  static std::optional<ReadOnlyFile> reopen(int fd);

  int fd() const { return copy_.get(); }

  // Moves the position of the caller's descriptor to where this one's is, as if vmm had read from that itself. Other
  // programs may go on reading there.
  void give_position_back() const;

 private:
  ReadOnlyFile(Fd original, Fd copy) : original_(std::move(original)), copy_(std::move(copy)) {}
  Fd original_, copy_;
};

}  // namespace nacre::runtime
