// SPDX-License-Identifier: Apache-2.0
// Changes sound JSON in a few places, since random text is seldom JSON, and what it says seldom passes the first check.
#pragma once

#include <iterator>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/fuzz/input.h"

namespace nacre::fuzz {

using Json = nlohmann::json;

// Returns a value that a field may not expect. Most are of the type that is there: others seldom pass the first check.
inline Json value_for(const Json& now, uint8_t kind, uint8_t which, const Json& parts) {
  static const std::vector<Json> kValues = {nullptr,
                                            true,
                                            false,
                                            0,
                                            -1,
                                            1,
                                            7,
                                            65536,
                                            INT64_MIN,
                                            UINT64_MAX,
                                            1.5,
                                            1e300,
                                            "",
                                            "a",
                                            "0",
                                            "-1",
                                            "/",
                                            "..",
                                            "../../x",
                                            "/proc/self/ns/pid",
                                            "a\nb",
                                            std::string("a\0b", 3),
                                            "\x1b[31m",
                                            "1G",
                                            "0-3,7",
                                            "=",
                                            "bind",
                                            "rslave",
                                            "SCMP_ACT_NOTIFY",
                                            std::string(5000, 'x'),
                                            Json::array(),
                                            Json::object(),
                                            Json::array({""}),
                                            {{"", 1}},
                                            {{"../../x", "1"}, {"/x", "1"}}};
  if (kind == UINT8_MAX) {
    Json deep = which;
    for (int level = 0; level < 4 * which; level++) deep = Json::array({std::move(deep)});
    return deep;
  }
  if (kind % 4 == 0) return kValues[which % kValues.size()];
  if (kind % 4 == 1)
    return std::next(parts.begin(), (kind << 8 | which) % static_cast<ptrdiff_t>(parts.size())).value();
  std::vector<Json> alike;
  for (const Json& value : kValues) {
    if (value.type() == now.type() || (value.is_number() && now.is_number())) alike.push_back(value);
  }
  return alike[which % alike.size()];
}

// Lists every place of a configuration, objects and lists included.
inline void list_places(const Json& value, const Json::json_pointer& at, std::vector<Json::json_pointer>& places) {
  places.push_back(at);
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) list_places(member, at / name, places);
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); i++) list_places(value[i], at / i, places);
  }
}

// Makes up to `most` changes to `json`. A change is a place (two bytes) and a value (two bytes). `parts` is sound JSON,
// flattened: values come from there too.
inline Json changed(Json json, const Json& parts, Input& input, int most) {
  for (int changes = 0; changes < most && !input.empty(); changes++) {
    std::vector<Json::json_pointer> places;
    list_places(json, Json::json_pointer(), places);
    Json& place = json[places[input.take<uint16_t>() % places.size()]];
    auto kind = input.take<uint8_t>();
    place = value_for(place, kind, input.take<uint8_t>(), parts);
  }
  return json;
}

// Writes JSON whose texts need not be UTF-8.
inline std::string to_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace nacre::fuzz
