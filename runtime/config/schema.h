// Checking JSON against constexpr tables: which fields an object may have, of what type and in what range.
//
// As the runtime specification wants, fields that no table names are let through. JSON is read as Go reads it, in which
// callers and runc are written: null counts as absent, and a name in another case is the field's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"

namespace nacre::oci {

enum class Kind {
  string,
  boolean,
  integer,        // in [low, high]
  object,         // by `fields`
  strings,        // array of strings
  objects,        // array of objects by `fields`
  map,            // object whose values are strings
  numbers,        // array of integers in [low, high]
  named_objects,  // object whose values are objects by `fields`
};

struct Field {
  std::string_view name;
  Kind kind;
  bool required = false;
  std::span<const Field> fields = {};
  int64_t low = INT64_MIN;
  uint64_t high = INT64_MAX;
  std::string_view one_of = {};  // for strings: the allowed values, each between spaces
};

// The error names the field: "process.user.uid: must be an integer from 0 to 4294967295".
Result<void> check_object(const nlohmann::json& object, std::span<const Field> fields, const std::string& path);

// Before the check: removes fields whose value is null, everywhere, and gives the names of `fields` to what has them in
// another case.
void normalize(nlohmann::json& object, std::span<const Field> fields);

// The tables of config.json, of its "process" and of its "linux.resources".
std::span<const Field> config_fields();
std::span<const Field> process_fields();
std::span<const Field> resources_fields();

}  // namespace nacre::oci
