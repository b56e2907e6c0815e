// SPDX-License-Identifier: Apache-2.0
// Keeps the byte ranges of a file that one owner has locked, by the rules of the host's kernel: a new lock replaces the
// locks that the owner had on the same bytes, and adjacent ranges of one kind become one range.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <cstdint>
#include <map>

namespace nacre::virtio::fs {

class LockRanges {
 public:
  struct Range {
    uint64_t end;  // inclusive
    short type;    // F_RDLCK or F_WRLCK
  };

  // Locks or unlocks (F_UNLCK) the bytes from `start` to `end`, inclusive.
  void set(uint64_t start, uint64_t end, short type) {
    cut(start, end);
    if (type == F_UNLCK) return;
    auto after = ranges_.upper_bound(end);
    if (after != ranges_.end() && end != UINT64_MAX && after->first == end + 1 && after->second.type == type) {
      end = after->second.end;
      after = ranges_.erase(after);
    }
    if (after != ranges_.begin()) {
      auto before = std::prev(after);
      if (before->second.type == type && before->second.end + 1 == start) {
        before->second.end = end;
        return;
      }
    }
    ranges_.emplace(start, Range{.end = end, .type = type});
  }

  // Whether any of the bytes from `start` to `end`, inclusive, is locked.
  bool overlap(uint64_t start, uint64_t end) const {
    auto after = ranges_.upper_bound(end);
    return after != ranges_.begin() && std::prev(after)->second.end >= start;
  }

  // Whether the bytes from `start` to `end`, inclusive, lie within one range and reach neither of its ends. To change
  // them makes more ranges of one.
  bool within_one(uint64_t start, uint64_t end) const {
    auto after = ranges_.upper_bound(start);
    if (after == ranges_.begin()) return false;
    const auto& [first, range] = *std::prev(after);
    return first < start && range.end > end;
  }

  bool empty() const { return ranges_.empty(); }
  size_t size() const { return ranges_.size(); }
  auto begin() const { return ranges_.begin(); }  // pairs of a range's first byte and its Range
  auto end() const { return ranges_.end(); }

 private:
  // Unlocks the bytes from `start` to `end`, inclusive.
  void cut(uint64_t start, uint64_t end) {
    auto at = ranges_.upper_bound(start);
    if (at != ranges_.begin() && std::prev(at)->second.end >= start) --at;
    while (at != ranges_.end() && at->first <= end) {
      uint64_t first = at->first;
      Range range = at->second;
      at = ranges_.erase(at);
      if (first < start) ranges_.emplace(first, Range{.end = start - 1, .type = range.type});
      if (range.end > end) at = ranges_.emplace(end + 1, range).first;
    }
  }

  std::map<uint64_t, Range> ranges_;  // by first byte; the ranges do not overlap
};

}  // namespace nacre::virtio::fs
