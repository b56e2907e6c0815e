// A container's /proc as the guest told it, as a tree of files that have numbers.
//
// A file's number says which one it is, whatever snapshot one looks into: the process (0: the machine) and the entry.
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

  // None: no such entry, or not now.
  std::optional<Entry> lookup(Node directory, std::string_view name) const;
  std::vector<Entry> list(Node directory) const;
  // Of a file its text, of a link its target. None: neither.
  const std::string* content(Node node) const;
  std::optional<Kind> kind(Node node) const;

 private:
  // By node; of a directory empty.
  std::map<Node, std::string> nodes_;
};

}  // namespace nacre::procfs
