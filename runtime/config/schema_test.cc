// SPDX-License-Identifier: Apache-2.0
// Each field of config.json with what it may not be: an error that names it.
#include "runtime/config/schema.h"

#include <boost/test/unit_test.hpp>
#include <cfloat>
#include <functional>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/config/config.h"

using namespace nacre;
using Json = nlohmann::json;
using oci::FieldRule;
using oci::Kind;

namespace {

Json good_value(const FieldRule& field);

Json good_object(std::span<const FieldRule> fields) {
  Json object = Json::object();
  for (const FieldRule& field : fields) object[std::string(field.name)] = good_value(field);
  return object;
}

// One that the field takes.
Json good_value(const FieldRule& field) {
  switch (field.kind) {
    case Kind::string: {
      std::string_view words = field.one_of;
      return words.empty() ? "text" : std::string(words.substr(1, words.find(' ', 1) - 1));
    }
    case Kind::boolean:
      return true;
    case Kind::integer:
      return field.high;
    case Kind::object:
      return good_object(field.fields);
    case Kind::strings:
      return {"one", "two"};
    case Kind::objects:
      return Json::array({good_object(field.fields)});
    case Kind::map:
      return {{"key", "value"}};
    case Kind::named_objects:
      return {{"key", good_object(field.fields)}};
    case Kind::numbers:
      return {field.high, std::max<int64_t>(field.low, 0)};
  }
  return nullptr;
}

void add_wrong_numbers(const FieldRule& field, std::vector<Json>& wrong) {
  wrong.insert(wrong.end(), {1.5, 1.0, DBL_MAX});
  if (field.low > INT64_MIN) wrong.push_back(field.low - 1);
  if (field.high < UINT64_MAX) wrong.push_back(field.high + 1);
}

// Ones that it does not take.
std::vector<Json> wrong_values(const FieldRule& field) {
  std::vector<Json> wrong = {"1", true, 1, Json::array(), Json::object(), {{"a", 1}}, {1.5}};
  std::erase_if(wrong, [&](const Json& value) {
    switch (field.kind) {
      case Kind::string:
        return value.is_string() && field.one_of.empty();
      case Kind::boolean:
        return value.is_boolean();
      case Kind::integer:
        return value == 1;
      case Kind::object:
      case Kind::map:
      case Kind::named_objects:
        return value == Json::object() || (field.kind == Kind::object && value.is_object());
      default:
        return value == Json::array();
    }
  });
  if (field.kind == Kind::integer) add_wrong_numbers(field, wrong);
  if (field.kind == Kind::string) wrong.push_back(std::string("a\0b", 3));
  return wrong;
}

// The wrong ones in an array's place 0, for fields that are arrays.
std::vector<Json> wrong_elements(const FieldRule& field) {
  std::vector<Json> wrong;
  if (field.kind == Kind::strings) wrong = {1, Json::array(), Json::object(), std::string("a\0b", 3)};
  if (field.kind == Kind::objects) wrong = {1, "text", Json::array()};
  if (field.kind == Kind::numbers) {
    wrong = {"1", true, Json::array()};
    add_wrong_numbers(field, wrong);
  }
  return wrong;
}

using Check = std::function<std::string(const Json&)>;  // the error for a value in this place, or nothing

void try_fields(std::span<const FieldRule> fields, const std::string& path, const Check& check);

void try_field(const FieldRule& field, const std::string& path, const Check& check) {
  BOOST_TEST(check(good_value(field)) == "");
  for (const Json& wrong : wrong_values(field)) {
    BOOST_TEST(check(wrong).starts_with(path), path << " = " << wrong << ": " << check(wrong));
  }
  for (const Json& wrong : wrong_elements(field)) {
    std::string error = check(Json::array({wrong}));
    BOOST_TEST(error.starts_with(path + "[0]: "), path << "[0] = " << wrong << ": " << error);
  }
  if (field.kind == Kind::map) {
    BOOST_TEST(check({{"key", 1}}) == path + ".key: must be a string");
  } else if (field.kind == Kind::object) {
    try_fields(field.fields, path + ".", check);
  } else if (field.kind == Kind::named_objects) {
    try_fields(field.fields, path + ".key.", [&](const Json& object) { return check({{"key", object}}); });
  } else if (field.kind == Kind::objects) {
    try_fields(field.fields, path + "[0].", [&](const Json& object) { return check(Json::array({object})); });
  }
}

void try_fields(std::span<const FieldRule> fields, const std::string& path, const Check& check) {
  for (const FieldRule& field : fields) {
    std::string name(field.name), field_path = path + name;
    Json object = good_object(fields);
    try_field(field, field_path, [&](const Json& value) {
      object[name] = value;
      return check(object);
    });
    // Absent, and null, as callers written in Go have it.
    for (bool null : {false, true}) {
      object.erase(name);
      if (null) object[name] = nullptr;
      BOOST_TEST(check(object) == (field.required ? field_path + ": is required" : ""));
    }
    object = good_object(fields);
    object["field of a later version"] = {1, nullptr};
    BOOST_TEST(check(object) == "");
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(each_field_is_checked_and_named) {
  try_fields(oci::config_fields(), "", [](const Json& config) {
    auto checked = oci::check_object(config, oci::config_fields(), "");
    return checked ? "" : checked.error().message();
  });
  auto not_an_object = oci::check_object(Json::array(), oci::config_fields(), "");
  BOOST_REQUIRE(!not_an_object);
  BOOST_TEST(not_an_object.error().message() == "config.json: must be an object");
}

BOOST_AUTO_TEST_CASE(names_are_read_in_any_case) {
  Json config = Json::parse(R"({"OCIVersion": "1.0", "Process": {"ARGS": ["a"], "user": {"UID": 7}},
                                "annotations": {"Key": "x"}, "Other": 1,
                                "linux": {"Resources": {"hugepageLimits": [{"pagesize": "2MB", "limit": 1, "Limit": 2}]}}})");
  oci::normalize(config, oci::config_fields());
  BOOST_TEST(config == Json::parse(R"({"ociVersion": "1.0", "process": {"args": ["a"], "user": {"uid": 7}},
                                "annotations": {"Key": "x"}, "Other": 1,
                                "linux": {"resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": 1, "Limit": 2}]}}})"));
  Json odd = Json::parse(R"({"PROCESS": [{"ARGS": 1}], "mounts": {"Type": "x"}})");
  oci::normalize(odd, oci::config_fields());
  BOOST_TEST(odd == Json::parse(R"({"process": [{"ARGS": 1}], "mounts": {"Type": "x"}})"));
}
