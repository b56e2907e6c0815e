// What this version cannot do: an error where a container without it would be wrong or less safe than the caller
// believes, a warning where it still is what the caller wants inside a VM of its own.
#include <array>
#include <string>

#include "runtime/oci/config.h"

namespace nacre::oci {

namespace {

using Json = nlohmann::json;

struct Dropped {
  const char* name;
  const char* reason;
};

// Fields that are dropped with a warning.
constexpr std::array kDroppedOfProcess = {
    Dropped{"apparmorProfile", "the guest kernel has no AppArmor"},
    Dropped{"selinuxLabel", "the guest kernel has no SELinux"},
    Dropped{"scheduler", "not applied by this version"},
    Dropped{"ioPriority", "not applied by this version"},
    Dropped{"execCPUAffinity", "not applied by this version"},
};
constexpr std::array kDroppedOfLinux = {
    Dropped{"seccomp", "seccomp not applied by this version"}, Dropped{"mountLabel", "the guest kernel has no SELinux"},
    Dropped{"intelRdt", "not applied by this version"},        Dropped{"timeOffsets", "not applied by this version"},
    Dropped{"memoryPolicy", "not applied by this version"},    Dropped{"netDevices", "not applied by this version"},
};
constexpr std::array kDroppedOfResources = {
    Dropped{"blockIO", "not applied by this version"},
    Dropped{"hugepageLimits", "not applied by this version"},
    Dropped{"network", "not applied by this version"},
    Dropped{"rdma", "not applied by this version"},
};

// Device nodes that the guest has: "c MAJOR:MINOR".
constexpr std::array kGuestDevices = {
    std::pair{1, 3}, std::pair{1, 5}, std::pair{1, 7}, std::pair{1, 8},    std::pair{1, 9},
    std::pair{5, 0}, std::pair{5, 1}, std::pair{5, 2}, std::pair{10, 200}, std::pair{10, 229},
};

bool is_empty(const Json& value) {
  return ((value.is_object() || value.is_array()) && value.empty()) || (value.is_string() && value == "");
}

// True if all values are what the guest does anyway, like {"swappiness": null} or {"limit": 0}: nothing to warn of.
bool asks_for_nothing(const Json& value) {
  if (value.is_object() || value.is_array()) {
    for (const Json& element : value) {
      if (!asks_for_nothing(element)) return false;
    }
    return true;
  }
  return value == 0 || value == -1 || value == false || value == "";
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

std::unexpected<Error> unsupported(const std::string& path, const std::string& what) {
  return fail(path + ": " + what + " not supported by this version", EOPNOTSUPP);
}

Result<void> restrict_namespaces(Json& linux, std::vector<std::string>& warnings) {
  bool network = false;
  auto list = linux.find("namespaces");
  for (size_t i = 0; list != linux.end() && i < list->size(); i++) {
    Json& entry = (*list)[i];
    std::string path = "linux.namespaces[" + std::to_string(i) + "]";
    std::string type = entry["type"];
    bool by_path = entry.contains("path") && !is_empty(entry["path"]);
    if (type == "network") {
      network = true;
      if (by_path)
        warnings.push_back(path + ": the host's network namespace is not connected to the VM by this version");
      entry.erase("path");
      continue;
    }
    if (type == "user") return unsupported(path, "user namespaces are");
    if (type == "time") return unsupported(path, "time namespaces are");
    if (by_path) return unsupported(path, "joining a " + type + " namespace by path is");
  }
  if (!network) warnings.push_back("linux.namespaces: the host's network is not reachable from the VM in this version");
  return {};
}

Result<void> restrict_devices(const Json& linux) {
  auto list = linux.find("devices");
  for (size_t i = 0; list != linux.end() && i < list->size(); i++) {
    const Json& device = (*list)[i];
    std::string type = device["type"];
    bool known = type == "p";
    if (type == "c" || type == "u") {
      for (auto [major, minor] : kGuestDevices)
        known |= device.value("major", -1) == major && device.value("minor", -1) == minor;
    }
    if (!known) {
      return fail("linux.devices[" + std::to_string(i) + "]: the VM has no device " + device["path"].get<std::string>(),
                  EOPNOTSUPP);
    }
  }
  return {};
}

Result<void> restrict_linux(Json& linux, std::vector<std::string>& warnings) {
  for (const char* name : {"uidMappings", "gidMappings"}) {
    if (linux.contains(name) && !is_empty(linux[name])) {
      return unsupported(std::string("linux.") + name, "user namespaces are");
    }
  }
  TRY(restrict_namespaces(linux, warnings));
  TRY(restrict_devices(linux));
  drop(linux, kDroppedOfLinux, "linux", warnings);
  if (linux.contains("resources")) {
    restrict_resources(linux["resources"], "linux.resources", warnings);
  }
  return {};
}

}  // namespace

void restrict_resources(Json& resources, const std::string& path, std::vector<std::string>& warnings) {
  drop(resources, kDroppedOfResources, path, warnings);
}

Result<void> restrict_process(Json& process, std::vector<std::string>& warnings) {
  drop(process, kDroppedOfProcess, "process", warnings);
  return {};
}

Result<void> restrict_config(Json& config, std::vector<std::string>& warnings) {
  TRY(restrict_process(config["process"], warnings));
  if (config.contains("hooks")) {
    for (const auto& [name, hooks] : config["hooks"].items()) {
      if (!is_empty(hooks)) return unsupported("hooks." + name, "hooks are");
    }
    config.erase("hooks");
  }
  if (config.contains("mounts")) {
    for (size_t i = 0; i < config["mounts"].size(); i++) {
      for (const char* name : {"uidMappings", "gidMappings"}) {
        const Json& mount = config["mounts"][i];
        std::string path = "mounts[" + std::to_string(i) + "].";
        if (mount.contains(name) && !is_empty(mount[name])) return unsupported(path + name, "idmapped mounts are");
      }
    }
  }
  // A configuration without "linux" has no namespaces of its own: the VM is its boundary all the same.
  if (!config.contains("linux")) config["linux"] = Json::object();
  return restrict_linux(config["linux"], warnings);
}

}  // namespace nacre::oci
