// SPDX-License-Identifier: Apache-2.0
// Checking JSON against constexpr tables: which fields an object may have, of what type and in what range.
//
// Fields that no table names are let through, as the runtime specification wants. JSON is read as Go reads it, the
// language of runc and of most callers: null counts as absent, and the case of a field's name does not matter.
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

struct FieldRule {
  std::string_view name;
  Kind kind;
  bool required = false;
  std::span<const FieldRule> fields = {};
  int64_t low = INT64_MIN;
  uint64_t high = INT64_MAX;
  std::string_view one_of = {};  // for strings: the allowed values, each between spaces
};

// Returns the error of a field that is not as it must be: "PATH: WHAT", EINVAL.
std::unexpected<Error> wrong(const std::string& path, const std::string& what);

// Checks an object. The error names the field: "process.user.uid: must be an integer from 0 to 4294967295".
Result<void> check_object(const nlohmann::json& object, std::span<const FieldRule> fields, const std::string& path);

// Prepares an object for the check: removes fields whose value is null, at every depth, and renames fields that have a
// name of `fields` in another case.
void normalize(nlohmann::json& object, std::span<const FieldRule> fields);

// Return the tables of config.json, of its "process" and of its "linux.resources".
std::span<const FieldRule> config_fields();
std::span<const FieldRule> process_fields();
std::span<const FieldRule> resources_fields();

}  // namespace nacre::oci
