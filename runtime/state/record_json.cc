// SPDX-License-Identifier: Apache-2.0
#include "runtime/state/record_json.h"

#include <climits>

#include <nlohmann/json.hpp>

namespace nacre::runtime {

namespace {

// Keeps the fields in the order of insertion, because people read the output.
using Json = nlohmann::ordered_json;

// Converts to text. A bundle's path need not be UTF-8: it is shown with replacement characters then.
std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json process_to_json(const ProcessId& process) {
  return {{"pid", process.pid}, {"startTime", process.start_time}};
}

// Refuses other numbers than a pid and a start time can be: converting them would be undefined, or name another
// process.
Result<ProcessId> process_from_json(const Json& json) {
  const Json &pid = json.at("pid"), &start_time = json.at("startTime");
  if (!pid.is_number_unsigned() || pid > INT_MAX || !start_time.is_number_unsigned()) {
    return fail("broken state: a process without a pid and a start time");
  }
  return ProcessId{.pid = pid.get<pid_t>(), .start_time = start_time.get<uint64_t>()};
}

Json view_json(const View& view) {
  const Record& record = view.record;
  Json json;
  json["ociVersion"] = record.oci_version;
  json["id"] = record.id;
  json["pid"] = view.status == Status::stopped ? 0 : record.standin.pid;
  json["status"] = to_string(view.status);
  json["bundle"] = record.bundle;
  json["rootfs"] = record.rootfs;
  json["created"] = record.created;
  if (!record.annotations.empty()) json["annotations"] = record.annotations;
  json["owner"] = record.owner;
  return json;
}

}  // namespace

std::string record_to_json(const Record& record) {
  Json json;
  json["ociVersion"] = record.oci_version;
  json["id"] = record.id;
  json["bundle"] = record.bundle;
  json["config"] = record.config;
  json["rootfs"] = record.rootfs;
  json["created"] = record.created;
  json["owner"] = record.owner;
  json["annotations"] = record.annotations;
  json["standin"] = process_to_json(record.standin);
  json["vmm"] = process_to_json(record.vmm);
  json["cgroup"] = record.cgroup;
  json["hooks"] = Json::parse(record.hooks.empty() ? "null" : record.hooks);
  if (!record.mappings.empty()) json["mappings"] = Json::parse(record.mappings);
  return dump(json) + "\n";
}

Result<Record> record_from_json(std::string_view text) {
  try {
    Json json = Json::parse(text);
    Record record;
    json.at("ociVersion").get_to(record.oci_version);
    json.at("id").get_to(record.id);
    json.at("bundle").get_to(record.bundle);
    json.at("config").get_to(record.config);
    json.at("rootfs").get_to(record.rootfs);
    json.at("created").get_to(record.created);
    json.at("owner").get_to(record.owner);
    json.at("annotations").get_to(record.annotations);
    record.standin = TRY(process_from_json(json.at("standin")));
    record.vmm = TRY(process_from_json(json.at("vmm")));
    json.at("cgroup").get_to(record.cgroup);
    record.hooks = dump(json.value("hooks", Json()));  // earlier versions did not write this field
    if (json.contains("mappings")) record.mappings = dump(json["mappings"]);
    return record;
  } catch (const Json::exception& error) {
    return fail(std::string("broken state: ") + error.what());
  }
}

std::string view_to_json(const View& view) {
  Json json = view_json(view);
  json["owner"] = "";  // runc shows the owner in `list` only
  return dump(json, 2);
}

std::string views_to_json(const std::vector<View>& views) {
  if (views.empty()) return "null";
  Json list = Json::array();
  for (const auto& view : views) list.push_back(view_json(view));
  return dump(list);
}

}  // namespace nacre::runtime
