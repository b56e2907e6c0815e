// What ps(1) shows: columns by its names, and the table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/guest/ps/process.h"

namespace nacre::ps {

struct ColumnKind {
  std::string_view name;  // as for ps -o
  std::string_view header;
  bool right;    // aligned to
  size_t width;  // at least
  std::string (*cell)(const Process& process, const Listing& listing);
};

struct Column {
  const ColumnKind* kind;
  std::string header;
};

// nullptr where there is none of the name.
const ColumnKind* find_column(std::string_view name);

// A line of headers, and one for each process.
std::string to_table(const std::vector<Column>& columns, const Listing& listing);

}  // namespace nacre::ps
