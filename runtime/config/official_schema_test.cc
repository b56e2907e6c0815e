// SPDX-License-Identifier: Apache-2.0
// The tables of config.json against the official JSON schema of the runtime specification (tests/oci-schema).
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/config/schema.h"

using namespace nacre;
using Json = nlohmann::json;
using oci::FieldRule;

namespace {

// Properties of the schema that the tables leave out, each with the reason.
const std::map<std::string, std::string> kLeftOut = {
    {"solaris", "another platform's"},
    {"windows", "another platform's"},
    {"zos", "another platform's"},
    {"freebsd", "another platform's"},
    {"vm", "the specification's own virtual machines: runc ignores it too, and what runs here is annotations' to say"},
    {"process.commandLine", "Windows only"},
    {"process.user.username", "Windows only"},
    {"linux.netDevices", "a network is not there yet"},
};

Json read_schema(const std::string& name) {
  const char* directory = std::getenv("NACRE_OCI_SCHEMA");
  BOOST_REQUIRE_MESSAGE(directory, "NACRE_OCI_SCHEMA is not set: run it through meson test");
  std::ifstream file(std::string(directory) + "/" + name);
  BOOST_REQUIRE_MESSAGE(file, "cannot read " + name);
  return Json::parse(file);
}

// Walks the schema and the tables side by side.
class Walk {
 public:
  // Compares what the schema in `file` says of an object with the table of its fields.
  void object(const std::string& file, const Json& schema, std::span<const FieldRule> fields, const std::string& path) {
    std::string defined_in = file;
    const Json& said = follow(defined_in, schema);
    for (const char* combined : {"allOf", "anyOf", "oneOf"}) {
      for (const Json& part : said.value(combined, Json::array())) object(defined_in, part, fields, path);
    }
    const Json properties = said.value("properties", Json::object());
    for (const auto& [name, property] : properties.items()) {
      std::string property_path = path.empty() ? name : path + "." + name;
      seen.insert(property_path);
      if (kLeftOut.contains(property_path)) continue;
      auto field = std::ranges::find(fields, name, &FieldRule::name);
      if (field == fields.end()) {
        missing.push_back(property_path);
      } else if (!field->fields.empty()) {
        element(defined_in, property, field->fields, property_path);
      }
    }
  }

  std::set<std::string> seen;
  std::vector<std::string> missing;

 private:
  // An array, a map of objects, or the object itself: what they hold has the fields.
  void element(const std::string& file, const Json& schema, std::span<const FieldRule> fields,
               const std::string& path) {
    std::string defined_in = file;
    const Json& said = follow(defined_in, schema);
    for (const char* holder : {"items", "additionalProperties"}) {
      if (said.contains(holder) && said[holder].is_object()) return element(defined_in, said[holder], fields, path);
    }
    object(defined_in, said, fields, path);
  }

  // The schema that a reference such as "defs.json#/definitions/uid" stands for; `file` becomes its file.
  const Json& follow(std::string& file, const Json& schema) {
    auto reference = schema.find("$ref");
    if (reference == schema.end()) return schema;
    auto text = reference->get<std::string>();
    size_t hash = text.find('#');
    BOOST_REQUIRE(hash != std::string::npos);
    if (hash > 0) file = text.substr(0, hash);
    return follow(file, load(file).at(Json::json_pointer(text.substr(hash + 1))));
  }

  const Json& load(const std::string& file) {
    auto [found, is_new] = files_.try_emplace(file);
    if (is_new) found->second = read_schema(file);
    return found->second;
  }

  std::map<std::string, Json> files_;
};

BOOST_AUTO_TEST_CASE(the_tables_have_every_property_of_the_official_schema) {
  Walk walk;
  walk.object("config-schema.json", read_schema("config-schema.json"), oci::config_fields(), "");
  for (const auto& path : walk.missing) BOOST_ERROR(path + " is in no table");
  for (const auto& [path, reason] : kLeftOut) {
    BOOST_TEST(walk.seen.contains(path), path + " is left out (" + reason + ") but not in the schema");
  }
  // The walk has come to the end of the deepest paths: maps, arrays and references between files.
  for (const char* deep : {"linux.resources.rdma.hcaHandles", "linux.seccomp.syscalls.args.valueTwo",
                           "linux.resources.blockIO.weightDevice.leafWeight", "mounts.uidMappings.hostID",
                           "hooks.poststop.timeout", "linux.timeOffsets.monotonic.nanosecs"}) {
    BOOST_TEST(walk.seen.contains(deep), deep);
  }
}

}  // namespace
