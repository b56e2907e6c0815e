// SPDX-License-Identifier: Apache-2.0
// config.json of a bundle, read and checked.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/confinement.h"
#include "base/result.h"

namespace nacre::oci {

inline constexpr const char* kConfigName = "config.json";
inline constexpr const char* kSpecVersion = "1.2.1";  // what we say that we implement

// "hooks" of config.json, in the order of a container's life.
inline constexpr std::array<std::string_view, 6> kHookKinds = {"prestart",       "createRuntime", "createContainer",
                                                               "startContainer", "poststart",     "poststop"};

// An entry of "mounts".
struct Mount {
  std::string name;       // "mounts[3]", for errors
  std::string type = {};  // as in config.json
  std::string destination;
  std::string source;  // absolute if `bind`
  bool bind = false;
  bool recursive = false;       // a bind mount shows what is mounted below its source too
  bool readonly = false;        // the mount itself is read-only
  bool readonly_below = false;  // the mounts below it are read-only too
  bool follows = false;         // a bind mount shows what the host mounts below its source later
  // Its name in the share of the VM, if the host serves the mount. A container in another one's VM has names that begin
  // with its own prefix: the plan puts that in front.
  std::string share_path = {};
  // Names the tmpfs of the host that this one in the guest stands for: containers that get the same one share it.
  std::string shared_memory = {};
  nlohmann::json json = {};  // the entry as the guest gets it
};

// An entry of linux.namespaces.
struct Namespace {
  std::string type;
  std::string path;  // empty: a new one
};

// A checked configuration: the values that the host's side needs, and the whole as JSON. Nothing changes it once it is
// loaded; what the guest gets is made from it by runtime/plan.
struct Config {
  std::string bundle;  // absolute
  std::string file;    // config.json, or the file that replaces it; absolute
  std::string rootfs;  // absolute, without symlinks
  bool rootfs_readonly = false;
  std::string oci_version;
  std::string cgroups_path;
  Confinement confinement;  // of the process
  std::string mount_label;  // linux.mountLabel
  std::map<std::string, std::string> annotations;
  std::vector<Mount> mounts;
  std::vector<Namespace> namespaces;
  nlohmann::json json;
  nlohmann::json hooks;  // "hooks", or null. `json` keeps those of startContainer alone, which the guest runs.
  // What the configuration asks for and this version leaves out, a line each. `json` is without it.
  std::vector<std::string> warnings;
};

// What a host can do decides which fields of a configuration are left out.
struct HostSupport {
  bool has_cgroup_v1 = false;
  // True if the host has the device: "char/4:1", as in /sys/dev.
  std::function<bool(const std::string& device)> has_device = [](const std::string&) { return false; };
};
// Asks the host that this program runs on.
HostSupport host_support();

// Reads and checks a bundle's configuration. `bundle` and `file` may be relative to the working directory; an empty
// `file` means the bundle's config.json. Errors name the field.
Result<Config> load_config(const std::string& bundle, const std::string& file = "",
                           const HostSupport& host = host_support());

// Checks "process", for exec as well; `path` names it in errors.
Result<void> check_process(const nlohmann::json& process, const std::string& path);
// Removes from a process what this version leaves out, and adds a line to `warnings` for each. Returns an error if the
// process would be wrong, or less safe than the caller believes, without it.
Result<void> restrict_process(nlohmann::json& process, std::vector<std::string>& warnings);
// Takes process.apparmorProfile and process.selinuxLabel out of a process: the host applies them. Adds a line to
// `warnings` for each that does not act in the guest.
Confinement take_confinement(nlohmann::json& process, std::vector<std::string>& warnings);
// Calls restrict_process(), and does the same for the rest of a configuration.
//
// load_config() calls it before the configuration becomes const, and not later over what the guest gets: its errors
// name fields of config.json, exec and update restrict their own objects by the same tables, and a field that is left
// out must reach neither the guest nor the host's cgroup.
Result<void> restrict_config(nlohmann::json& config, const HostSupport& host, std::vector<std::string>& warnings);

// Checks linux.resources alone, for update; `path` names it in errors and warnings.
Result<void> check_resources(const nlohmann::json& resources, const std::string& path);
void restrict_resources(nlohmann::json& resources, const HostSupport& host, const std::string& path,
                        std::vector<std::string>& warnings);

// Parses JSON text. The error for broken input is one line: "WHAT: ...".
Result<nlohmann::json> parse_json(const std::string& text, const std::string& what);

// Returns the configuration that `spec` writes, indented with tabs.
std::string template_config(bool rootless);

}  // namespace nacre::oci
