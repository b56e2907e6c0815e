// SPDX-License-Identifier: Apache-2.0
// Holds a container's /proc, as the guest has reported it, as a tree of numbered files.
//
// A file's number consists of the process (0: the machine) and the entry. So it means the same file in every snapshot.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::procfs {

using Node = uint64_t;
inline constexpr Node kRoot = 1;  // FUSE_ROOT_ID

enum class Kind { directory, file, link };

struct Entry {
  std::string name;
  Node node = 0;
  Kind kind = Kind::file;
};

class Snapshot {
 public:
  Snapshot() = default;
  // Takes the guest's answer, which is not to be trusted: only names of protocol/proc_files.h are taken over, and links
  // only in the kernel's form "NAME:[NUMBER]".
  static Result<Snapshot> parse(const protocol::ProcfsReply& reply);

  // Returns the entry of a name, or nullopt if there is none at present.
  std::optional<Entry> lookup(Node directory, std::string_view name) const;
  std::vector<Entry> list(Node directory) const;
  // Returns a file's text or a link's target. Returns null for anything else.
  const std::string* content(Node node) const;
  std::optional<Kind> kind(Node node) const;

 private:
  // The content of each node; empty for a directory.
  std::map<Node, std::string> nodes_;
};

}  // namespace nacre::procfs
