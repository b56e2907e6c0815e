// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>

#include "guest-init/protocol/protocol.h"
#include "runtime/plan/passes.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

bool names_itself(const Json& config) {
  auto hostname = config.find("hostname");
  return hostname != config.end() && *hostname != "";
}

// Gives a container without a name of its own its host's, as under runc. It gets a uts namespace for that if it has
// none, so that it may change the name without the host's hearing of it.
void inherit_hostname(Json& config, const std::string& hostname) {
  if (names_itself(config) || hostname.empty()) return;
  Json& namespaces = config["linux"]["namespaces"];
  bool has_own = std::ranges::any_of(namespaces, [](const Json& entry) { return entry["type"] == "uts"; });
  if (!has_own) namespaces.push_back({{"type", "uts"}});
  config["hostname"] = hostname;
}

void set_mounts(Json& config, const std::vector<oci::Mount>& mounts) {
  if (mounts.empty()) return;
  Json& list = config["mounts"] = Json::array();
  for (const oci::Mount& mount : mounts) list.push_back(mount.json);
}

void set_linux(Json& linux, const HostPlan& host) {
  for (const char* on_host : {"seccomp", "memoryPolicy", "intelRdt", "cgroupsPath"}) linux.erase(on_host);
  if (auto namespaces = linux.find("namespaces"); namespaces != linux.end()) {
    for (Json& entry : *namespaces) entry.erase("path");
  }
  if (!host.mappings.is_null()) linux.update(host.mappings);
}

// Returns true if a program in the guest is told the container's state, to which the annotations belong (runtime-spec
// 1.2, runtime.md, "State").
bool tells_state(const oci::Config& config) {
  auto found = config.hooks.find("startContainer");
  return found != config.hooks.end() && !found->empty();
}

void set_name(Json& config, const char* field, const std::string& name) {
  if (!name.empty()) config[field] = name;
}

// Returns the number that a group of the host has in a user namespace, if it has one there.
std::optional<uint64_t> map_group(uint32_t group, const Json& mappings) {
  if (mappings.is_null()) return group;
  for (const Json& range : mappings) {
    auto outside = range["hostID"].get<uint64_t>();
    if (group >= outside && group - outside < range["size"].get<uint64_t>()) {
      return range["containerID"].get<uint64_t>() + group - outside;
    }
  }
  return std::nullopt;
}

}  // namespace

void inherit_rlimits(Json& process, const std::vector<Rlimit>& inherited) {
  Json& limits = process["rlimits"];
  if (limits.is_null()) limits = Json::array();
  for (const Rlimit& own : inherited) {
    bool is_given = std::ranges::any_of(limits, [&](const Json& limit) { return limit["type"] == own.name; });
    if (!is_given) limits.push_back({{"type", own.name}, {"soft", own.soft}, {"hard", own.hard}});
  }
}

void keep_original_groups(Json& process, const std::map<std::string, std::string>& annotations,
                          const std::vector<uint32_t>& groups, const Json& mappings) {
  if (!annotations.contains(kKeepGroupsAnnotation)) return;
  Json& kept = process["user"]["additionalGids"] = Json::array();
  for (uint32_t group : groups) {
    if (auto mapped = map_group(group, mappings)) kept.push_back(*mapped);
  }
}

void tell_listen_fds(Json& process, int count) {
  if (count == 0) return;
  process["env"].push_back("LISTEN_FDS=" + std::to_string(count));
  process["env"].push_back("LISTEN_PID=1");
}

Json to_guest(const oci::Config& config, const HostFacts& facts, const PlanRequest& request, const ContainerPlan& plan,
              const std::string& prefix) {
  Json json = config.json;
  json["root"]["path"] = std::string(protocol::kShareMountPoint) + "/" + prefix + kRootTarget;
  set_mounts(json, plan.host.mounts);
  set_linux(json["linux"], plan.host);
  if (!tells_state(config)) json.erase("annotations");
  set_name(json, "hostname", plan.host.hostname);
  set_name(json, "domainname", plan.host.domainname);
  if (!plan.guest.joins.contains("uts")) inherit_hostname(json, facts.hostname);
  Json& process = json["process"];
  inherit_rlimits(process, facts.rlimits);
  keep_original_groups(process, config.annotations, facts.groups, json["linux"].value("gidMappings", Json()));
  if (plan.guest.notify) process["env"].push_back(notify_socket_variable());
  tell_listen_fds(process, request.listen_fds);
  return json;
}

}  // namespace nacre::runtime
