// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/schema.h"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

namespace nacre::oci {

std::unexpected<Error> wrong(const std::string& path, const std::string& what) {
  return fail(path + ": " + what, EINVAL);
}

namespace {

using Json = nlohmann::json;

Result<void> check_string(const Json& value, const FieldRule& field, const std::string& path) {
  if (!value.is_string()) return wrong(path, "must be a string");
  const auto& text = value.get_ref<const std::string&>();
  // No path, argument or name can carry it on.
  if (text.find('\0') != std::string::npos) return wrong(path, "contains a NUL byte");
  if (!field.one_of.empty() && (text.contains(' ') || !field.one_of.contains(" " + text + " "))) {
    return wrong(path, "\"" + text + "\" is not one of" + std::string(field.one_of.substr(0, field.one_of.size() - 1)));
  }
  return {};
}

Result<void> check_integer(const Json& value, const FieldRule& field, const std::string& path) {
  bool fits = false;
  if (value.is_number_unsigned()) {
    uint64_t number = value.get<uint64_t>();
    fits = number <= field.high && (field.low < 0 || number >= static_cast<uint64_t>(field.low));
  } else if (value.is_number_integer()) {
    fits = value.get<int64_t>() >= field.low;  // negative
  }
  if (!fits) {
    return wrong(path, "must be an integer from " + std::to_string(field.low) + " to " + std::to_string(field.high));
  }
  return {};
}

Result<void> check_value(const Json& value, const FieldRule& field, const std::string& path) {
  switch (field.kind) {
    case Kind::string:
      return check_string(value, field, path);
    case Kind::boolean:
      if (!value.is_boolean()) return wrong(path, "must be true or false");
      return {};
    case Kind::integer:
      return check_integer(value, field, path);
    case Kind::object:
      return check_object(value, field.fields, path);
    case Kind::map:
      if (!value.is_object()) return wrong(path, "must be an object");
      for (const auto& [key, element] : value.items()) TRY(check_string(element, {}, path + "." + key));
      return {};
    case Kind::named_objects:
      if (!value.is_object()) return wrong(path, "must be an object");
      for (const auto& [key, element] : value.items()) TRY(check_object(element, field.fields, path + "." + key));
      return {};
    case Kind::strings:
    case Kind::objects:
    case Kind::numbers:
      break;
  }
  if (!value.is_array()) return wrong(path, "must be an array");
  for (size_t i = 0; i < value.size(); i++) {
    std::string element = path + "[" + std::to_string(i) + "]";
    if (field.kind == Kind::strings) {
      TRY(check_string(value[i], field, element));
    } else if (field.kind == Kind::numbers) {
      TRY(check_integer(value[i], field, element));
    } else {
      TRY(check_object(value[i], field.fields, element));
    }
  }
  return {};
}

void drop_nulls(Json& json) {
  if (json.is_object()) {
    for (auto it = json.begin(); it != json.end();) {
      if (it->is_null()) {
        it = json.erase(it);
      } else {
        drop_nulls(*it);
        ++it;
      }
    }
  } else if (json.is_array()) {
    for (auto& element : json) drop_nulls(element);
  }
}

bool is_same_name(std::string_view one, std::string_view other) {
  return std::ranges::equal(one, other,
                            [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
}

void match_name(Json& object, const FieldRule& field) {
  if (object.contains(field.name)) return;
  for (auto it = object.begin(); it != object.end(); ++it) {
    if (!is_same_name(it.key(), field.name)) continue;
    Json value = std::move(*it);
    object.erase(it);
    object[std::string(field.name)] = std::move(value);
    return;
  }
}

void match_names(Json& object, std::span<const FieldRule> fields) {
  if (!object.is_object()) return;
  for (const FieldRule& field : fields) {
    match_name(object, field);
    auto found = object.find(field.name);
    if (found == object.end()) continue;
    if (field.kind == Kind::object) {
      match_names(*found, field.fields);
    } else if ((field.kind == Kind::objects && found->is_array()) ||
               (field.kind == Kind::named_objects && found->is_object())) {
      for (auto& element : *found) match_names(element, field.fields);
    }
  }
}

}  // namespace

Result<void> check_object(const Json& object, std::span<const FieldRule> fields, const std::string& path) {
  if (!object.is_object()) return wrong(path.empty() ? "config.json" : path, "must be an object");
  for (const FieldRule& field : fields) {
    std::string field_path = path.empty() ? std::string(field.name) : path + "." + std::string(field.name);
    auto found = object.find(field.name);
    if (found == object.end() || found->is_null()) {
      if (field.required) return wrong(field_path, "is required");
      continue;
    }
    TRY(check_value(*found, field, field_path));
  }
  return {};
}

void normalize(Json& object, std::span<const FieldRule> fields) {
  drop_nulls(object);
  match_names(object, fields);
}

}  // namespace nacre::oci
