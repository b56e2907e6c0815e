// SPDX-License-Identifier: Apache-2.0
// Fields that this version cannot fulfil. A container that would be wrong, or less safe than the caller believes, is an
// error; one that is still what the caller wants, inside a VM of its own, is a warning.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "oci/capability_names.h"
#include "runtime/config/config.h"
#include "runtime/config/mappings.h"
#include "runtime/host/cgroup/cgroup.h"

namespace nacre::oci {

namespace {

using Json = nlohmann::json;

struct Dropped {
  const char* name;
  const char* reason;
};

// Fields that are dropped with a warning.
constexpr std::array kDroppedOfResources = {
    Dropped{"network", "cgroup v2 has no classes and priorities of networks"},
};
constexpr std::array kDroppedOfMemory = {
    Dropped{"disableOOMKiller", "cgroup v2 cannot switch it off"},
};
constexpr std::array kDroppedOfCpu = {
    Dropped{"realtimeRuntime", "cgroup v2 has no realtime limits"},
    Dropped{"realtimePeriod", "cgroup v2 has no realtime limits"},
};
constexpr std::array kDroppedOfBlockIo = {
    Dropped{"leafWeight", "cgroup v2 has none"},
};

// The profile of a process that has none (apparmor(7)).
constexpr const char* kUnconfined = "unconfined";

// Device nodes that the guest has: "c MAJOR:MINOR".
constexpr std::array kGuestDevices = {
    std::pair{1, 3}, std::pair{1, 5}, std::pair{1, 7}, std::pair{1, 8},    std::pair{1, 9},    std::pair{1, 11},
    std::pair{5, 0}, std::pair{5, 1}, std::pair{5, 2}, std::pair{10, 200}, std::pair{10, 229},
};

// Returns true if all values are what the guest does anyway, like {"swappiness": null} or {"limit": 0}.
bool asks_for_nothing(const Json& value) {
  if (value.is_object() || value.is_array()) {
    for (const Json& element : value) {
      if (!asks_for_nothing(element)) return false;
    }
    return true;
  }
  return value == 0 || value == -1 || value == false || value == "";
}

// Removes a field of text, and returns the text, or "".
std::string take_text(Json& object, const char* name) {
  auto found = object.find(name);
  if (found == object.end()) return "";
  std::string text = found->is_string() ? found->get<std::string>() : "";
  object.erase(found);
  return text;
}

template <size_t N>
void drop(Json& object, const std::array<Dropped, N>& list, const std::string& path,
          std::vector<std::string>& warnings) {
  for (const Dropped& field : list) {
    auto found = object.find(field.name);
    if (found == object.end()) continue;
    if (!asks_for_nothing(*found)) warnings.push_back(path + "." + field.name + ": " + field.reason);
    object.erase(found);
  }
}

// Warns of unknown capabilities, as the specification wants for those that cannot be granted (config.md, "process").
void warn_of_capabilities(const Json& process, std::vector<std::string>& warnings) {
  auto sets = process.find("capabilities");
  if (sets == process.end()) return;
  for (std::string set : {"bounding", "effective", "permitted", "inheritable", "ambient"}) {
    auto names = sets->find(set);
    if (names == sets->end()) continue;
    for (const Json& name : *names) {
      if (std::ranges::find(oci::kCapabilityNames, name.get<std::string>()) == oci::kCapabilityNames.end()) {
        warnings.push_back("process.capabilities." + set + ": ignoring unknown capability " + name.get<std::string>());
      }
    }
  }
}

void warn_of_network(const Json& linux, std::vector<std::string>& warnings) {
  auto list = linux.find("namespaces");
  auto is_network = [](const Json& entry) { return entry["type"] == "network"; };
  bool network = list != linux.end() && std::ranges::any_of(*list, is_network);
  if (!network) warnings.push_back("linux.namespaces: the host's network is not reachable from the VM in this version");
}

// Returns true for the node of a device that the host has and the VM has not: the container would find no driver behind
// it. A number that no driver answers to is as good in the VM as on the host.
bool promises_a_device(const Json& device, const HostSupport& host) {
  std::string type = device["type"];
  if (type == "p") return false;
  int64_t number[] = {device.value("major", int64_t{0}), device.value("minor", int64_t{0})};
  for (auto [major, minor] : kGuestDevices) {
    if (type != "b" && number[0] == major && number[1] == minor) return false;
  }
  return host.has_device(std::string(type == "b" ? "block" : "char") + "/" + std::to_string(number[0]) + ":" +
                         std::to_string(number[1]));
}

// Returns true for a privileged container: its caller makes a node for each device of the host, and allows them all.
bool allows_all_devices(const Json& linux) {
  auto resources = linux.find("resources");
  if (resources == linux.end() || !resources->contains("devices")) return false;
  for (const Json& rule : (*resources)["devices"]) {
    std::string type = rule.value("type", "a");
    if (rule.value("allow", false) && (type == "a" || type.empty()) && rule.value("major", int64_t{-1}) == -1 &&
        rule.value("minor", int64_t{-1}) == -1 && rule.value("access", "rwm") == "rwm") {
      return true;
    }
  }
  return false;
}

Result<void> restrict_devices(Json& linux, const HostSupport& host, std::vector<std::string>& warnings) {
  auto list = linux.find("devices");
  if (list == linux.end()) return {};
  bool all = allows_all_devices(linux);
  Json kept = Json::array();
  std::string left_out;
  for (size_t i = 0; i < list->size(); i++) {
    const Json& device = (*list)[i];
    if (!promises_a_device(device, host)) {
      kept.push_back(device);
      continue;
    }
    std::string path = device["path"];
    if (!all) return fail("linux.devices[" + std::to_string(i) + "]: the VM has no device " + path, EOPNOTSUPP);
    left_out += " " + path;
  }
  if (!left_out.empty()) warnings.push_back("linux.devices: the VM does not have" + left_out);
  *list = std::move(kept);
  return {};
}

Result<void> restrict_linux(Json& linux, const HostSupport& host, std::vector<std::string>& warnings) {
  warn_of_network(linux, warnings);
  TRY(check_user_namespace(linux, warnings));
  TRY(restrict_devices(linux, host, warnings));
  // An entry asks for a device even if it is an empty object.
  if (auto devices = linux.find("netDevices"); devices != linux.end()) {
    if (!devices->empty()) warnings.emplace_back("linux.netDevices: not applied by this version");
    linux.erase(devices);
  }
  if (linux.contains("resources")) {
    restrict_resources(linux["resources"], host, "linux.resources", warnings);
  }
  return {};
}

}  // namespace

HostSupport host_support() {
  return {.has_cgroup_v1 = runtime::host_has_version_1(),
          .has_device = [](const std::string& device) { return ::access(("/sys/dev/" + device).c_str(), F_OK) == 0; }};
}

void restrict_resources(Json& resources, const HostSupport& host, const std::string& path,
                        std::vector<std::string>& warnings) {
  if (host.has_cgroup_v1) return;  // version 1 has these limits, or its own error says which are missing
  drop(resources, kDroppedOfResources, path, warnings);
  auto drop_of = [&](const char* group, const auto& list) {
    if (auto found = resources.find(group); found != resources.end()) drop(*found, list, path + "." + group, warnings);
  };
  drop_of("memory", kDroppedOfMemory);
  drop_of("cpu", kDroppedOfCpu);
  drop_of("blockIO", kDroppedOfBlockIo);
}

Confinement take_confinement(Json& process, std::vector<std::string>& warnings) {
  Confinement taken{.apparmor_profile = take_text(process, "apparmorProfile"),
                    .selinux_label = take_text(process, "selinuxLabel")};
  if (!taken.apparmor_profile.empty() && taken.apparmor_profile != kUnconfined) {
    warnings.emplace_back(
        "process.apparmorProfile: confines the VM on the host, and no process in the guest, whose kernel has no "
        "AppArmor");
  }
  if (!taken.selinux_label.empty()) {
    warnings.emplace_back(
        "process.selinuxLabel: labels the VM on the host, and no process in the guest, whose kernel has no SELinux");
  }
  return taken;
}

Result<void> restrict_process(Json& process, std::vector<std::string>& warnings) {
  warn_of_capabilities(process, warnings);
  return {};
}

Result<void> restrict_config(Json& config, const HostSupport& host, std::vector<std::string>& warnings) {
  TRY(restrict_process(config["process"], warnings));
  if (config.contains("mounts")) {
    for (size_t i = 0; i < config["mounts"].size(); i++) {
      for (const char* name : {"uidMappings", "gidMappings"}) {
        const Json& mount = config["mounts"][i];
        std::string path = "mounts[" + std::to_string(i) + "].";
        if (mount.contains(name)) TRY(check_mappings(mount[name], path + name));
      }
    }
  }
  // A configuration without "linux" has no namespaces of its own: the VM is its boundary all the same.
  if (!config.contains("linux")) config["linux"] = Json::object();
  return restrict_linux(config["linux"], host, warnings);
}

}  // namespace nacre::oci
