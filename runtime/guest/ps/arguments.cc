// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/ps/arguments.h"

#include <algorithm>
#include <array>
#include <span>

namespace nacre::ps {

namespace {

struct Shown {
  std::string_view name;
  std::string_view header;  // empty: the column's default
};

constexpr Shown kShort[] = {{"pid", ""}, {"tname", ""}, {"time", ""}, {"ucmd", ""}};
constexpr Shown kFull[] = {{"user", "UID"}, {"pid", ""},   {"ppid", ""}, {"c", ""},
                           {"stime", ""},   {"tname", ""}, {"time", ""}, {"cmd", ""}};
constexpr Shown kBsd[] = {{"pid", ""}, {"tname", ""}, {"stat", ""}, {"bsdtime", ""}, {"args", ""}};
constexpr Shown kBsdUser[] = {{"user", ""},       {"pid", ""},     {"%cpu", ""},  {"%mem", ""},
                              {"vsz", ""},        {"rss", ""},     {"tname", ""}, {"stat", ""},
                              {"start_time", ""}, {"bsdtime", ""}, {"args", ""}};

struct Parsed {
  bool full = false;  // -f
  bool bsd = false;   // a word without a dash
  bool user = false;  // u
  std::vector<Column> columns;
};

// Parses "pid,user,args=WHAT". A header after "=" extends to the end of the text.
Result<void> add_columns(std::string_view list, std::vector<Column>& columns) {
  while (!list.empty()) {
    size_t end = std::min(list.find_first_of(", ="), list.size());
    std::string_view name = list.substr(0, end);
    bool named = end < list.size() && list[end] == '=';
    if (name.empty()) {
      if (named) return fail("improper format list", EINVAL);
      list.remove_prefix(end + 1);
      continue;
    }
    const ColumnKind* kind = find_column(name);
    if (kind == nullptr) {
      return fail("unknown user-defined format specifier \"" + std::string(name) + "\"", EINVAL);
    }
    columns.push_back({kind, std::string(named ? list.substr(end + 1) : kind->header)});
    if (named) break;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return {};
}

// Parses one word of option letters. "o" takes the rest of the word, or else the next word, and then advances `next`.
Result<void> parse_word(std::string_view word, std::span<const std::string>& next, Parsed& parsed) {
  bool dash = word.starts_with('-');
  std::string_view letters = word.substr(dash ? 1 : 0);
  // As in ps(1), "-aux" means "aux".
  if (dash && letters.find('x') != std::string_view::npos) dash = false;
  parsed.bsd = parsed.bsd || !dash;
  bool known = !letters.empty();
  for (size_t i = 0; known && i < letters.size(); i++) {
    char letter = letters[i];
    if (letter == 'o') {
      std::string_view list = letters.substr(i + 1);
      if (list.empty()) {
        if (next.empty()) return fail("list of columns must follow o", EINVAL);
        list = next.front();
        next = next.subspan(1);
      }
      return add_columns(list, parsed.columns);
    }
    if (dash && letter == 'f') {
      parsed.full = true;
    } else if (!dash && letter == 'u') {
      parsed.user = true;
    } else {
      known = std::string_view(dash ? "eAaw" : "axw").find(letter) != std::string_view::npos;
    }
  }
  if (known) return {};
  return fail(
      "ps argument \"" + std::string(word) + "\" is not supported: these are -e -A -f -w -o LIST, a u x w o LIST",
      EINVAL);
}

std::vector<Column> columns_of(std::span<const Shown> shown) {
  std::vector<Column> columns;
  for (const auto& [name, header] : shown) {
    const ColumnKind* kind = find_column(name);
    columns.push_back({kind, std::string(header.empty() ? kind->header : header)});
  }
  return columns;
}

}  // namespace

Result<std::vector<Column>> parse_arguments(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return columns_of(kFull);
  Parsed parsed;
  std::span<const std::string> rest = arguments;
  while (!rest.empty()) {
    std::string_view word = rest.front();
    rest = rest.subspan(1);
    TRY(parse_word(word, rest, parsed));
  }
  if (parsed.columns.empty()) {
    if (parsed.full) return columns_of(kFull);
    if (parsed.user) return columns_of(kBsdUser);
    return parsed.bsd ? columns_of(kBsd) : columns_of(kShort);
  }
  if (std::ranges::find(parsed.columns, "PID", &Column::header) == parsed.columns.end()) {
    return fail("couldn't find PID field in ps output", EINVAL);
  }
  return std::move(parsed.columns);
}

}  // namespace nacre::ps
