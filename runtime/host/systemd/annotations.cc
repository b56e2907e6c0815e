// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/systemd/annotations.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

namespace nacre::runtime {

// Parses values in GVariant's text form. Supports the types that properties of scopes have: booleans, numbers, strings,
// and arrays of strings.
namespace {

// Properties that reach beyond the unit. So does any property that ends in "Action", such as
// SuccessAction=reboot-force.
constexpr std::array<std::string_view, 19> kBeyondTheUnit = {"BindsTo",
                                                             "ConflictedBy",
                                                             "Conflicts",
                                                             "JoinsNamespaceOf",
                                                             "OnFailure",
                                                             "OnSuccess",
                                                             "PIDs",
                                                             "PartOf",
                                                             "PropagatesReloadTo",
                                                             "PropagatesStopTo",
                                                             "RequiredBy",
                                                             "Requires",
                                                             "RequiresMountsFor",
                                                             "Requisite",
                                                             "Slice",
                                                             "StopPropagatedFrom",
                                                             "Upholds",
                                                             "WantedBy",
                                                             "Wants"};

void skip_spaces(std::string_view& text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
}

std::optional<std::string> take_string(std::string_view& text) {
  if (text.empty() || (text.front() != '\'' && text.front() != '"')) return std::nullopt;
  char quote = text.front();
  std::string value;
  for (size_t i = 1; i < text.size(); i++) {
    if (text[i] == quote) {
      text.remove_prefix(i + 1);
      return value;
    }
    // Only escapes of the backslash and of the quote are supported.
    if (text[i] == '\\' && (++i == text.size() || (text[i] != quote && text[i] != '\\'))) break;
    value += text[i];
  }
  return std::nullopt;
}

std::optional<PropertyValue> parse_strings(std::string_view text) {
  std::vector<std::string> values;
  text.remove_prefix(1);
  for (skip_spaces(text); !text.starts_with(']'); skip_spaces(text)) {
    if (!values.empty()) {
      if (!text.starts_with(',')) return std::nullopt;
      text.remove_prefix(1);
      skip_spaces(text);
    }
    auto value = take_string(text);
    if (!value) return std::nullopt;
    values.push_back(std::move(*value));
  }
  if (text != "]") return std::nullopt;
  return values;
}

template <typename Number>
std::optional<PropertyValue> parse_number(std::string_view text) {
  Number number{};
  auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || at != text.data() + text.size() || text.empty()) return std::nullopt;
  return number;
}

std::optional<PropertyValue> parse_value(std::string_view text) {
  skip_spaces(text);
  while (text.ends_with(' ')) text.remove_suffix(1);
  if (text == "true" || text == "false") return text == "true";
  if (text.starts_with('[')) return parse_strings(text);
  if (text.starts_with("@as ")) return text.substr(4).starts_with('[') ? parse_strings(text.substr(4)) : std::nullopt;
  if (text.starts_with('\'') || text.starts_with('"')) {
    auto value = take_string(text);
    return value && text.empty() ? std::optional<PropertyValue>(std::move(*value)) : std::nullopt;
  }
  size_t space = text.find(' ');
  if (space == std::string_view::npos) {
    return text.contains('.') ? parse_number<double>(text) : parse_number<int32_t>(text);
  }
  std::string_view type = text.substr(0, space), number = text.substr(space + 1);
  if (type == "int32") return parse_number<int32_t>(number);
  if (type == "uint32") return parse_number<uint32_t>(number);
  if (type == "int64") return parse_number<int64_t>(number);
  if (type == "uint64") return parse_number<uint64_t>(number);
  if (type == "double") return parse_number<double>(number);
  return std::nullopt;
}

bool is_name(std::string_view name) {
  return name.size() >= 3 && std::ranges::all_of(name, [](unsigned char c) { return std::isalpha(c) != 0; });
}

// Converts seconds to microseconds: systemd's D-Bus interface has "TimeoutStopUSec" for "TimeoutStopSec".
Result<uint64_t> in_microseconds(const PropertyValue& value) {
  constexpr double kSecond = 1'000'000, kMost = 1e13;  // seconds; far more than systemd takes
  return std::visit(
      [](const auto& seconds) -> Result<uint64_t> {
        using Value = std::decay_t<decltype(seconds)>;
        if constexpr (std::is_arithmetic_v<Value> && !std::is_same_v<Value, bool>) {
          auto number = static_cast<double>(seconds);
          if (std::isfinite(number) && number >= 0 && number < kMost) return static_cast<uint64_t>(number * kSecond);
        }
        return fail("not a number of seconds", EINVAL);
      },
      value);
}

}  // namespace

Result<UnitProperties> annotated_properties(const std::map<std::string, std::string>& annotations) {
  UnitProperties properties;
  for (const auto& [key, text] : annotations) {
    if (!key.starts_with(kPropertyAnnotation)) continue;
    std::string name = key.substr(std::string_view(kPropertyAnnotation).size());
    std::string what = "annotation " + key;
    if (!is_name(name)) return fail(what + " name incorrect: " + name, EINVAL);
    if (name.ends_with("Action") || std::ranges::find(kBeyondTheUnit, name) != kBeyondTheUnit.end()) {
      return fail(what + ": this property is not the container's to set", EPERM);
    }
    auto value = parse_value(text);
    if (!value) return fail(what + "=" + text + " value parse error", EINVAL);
    if (name.ends_with("Sec") && !name.ends_with("USec")) {
      uint64_t microseconds = TRY_CONTEXT(in_microseconds(*value), what);
      properties.push_back({name.substr(0, name.size() - 3) + "USec", microseconds});
    } else {
      properties.push_back({name, std::move(*value)});
    }
  }
  return properties;
}

}  // namespace nacre::runtime
