// SPDX-License-Identifier: Apache-2.0
// Shows processes in a table, with the columns of ps(1).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/guest/ps/process.h"

namespace nacre::ps {

struct ColumnKind {
  std::string_view name;  // as in ps -o
  std::string_view header;
  bool right;    // aligned to
  size_t width;  // at least
  std::string (*cell)(const Process& process, const Listing& listing);
};

struct Column {
  const ColumnKind* kind;
  std::string header;
};

// Returns nullptr if there is no column of this name.
const ColumnKind* find_column(std::string_view name);

// Returns a line of headers, and a line for each process.
std::string to_table(const std::vector<Column>& columns, const Listing& listing);

}  // namespace nacre::ps
