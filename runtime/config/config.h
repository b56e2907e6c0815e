// config.json of a bundle, read and checked.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::oci {

inline constexpr const char* kConfigName = "config.json";
inline constexpr const char* kSpecVersion = "1.2.1";  // what we say that we implement

// "hooks" of config.json, in the order of a container's life.
inline constexpr std::array<std::string_view, 6> kHookKinds = {"prestart",       "createRuntime", "createContainer",
                                                               "startContainer", "poststart",     "poststop"};

struct Mount {
  size_t index;           // in config.json's "mounts"
  std::string type = {};  // as it says
  std::string destination;
  std::string source;  // absolute where `bind`
  bool bind = false;
  bool recursive = false;       // of a bind mount: with what is mounted below its source
  bool readonly = false;        // the mount itself
  bool readonly_below = false;  // and what is below it
  bool follows = false;         // of a bind mount: what the host mounts below its source later appears below it
};

// An entry of linux.namespaces.
struct Namespace {
  std::string type;
  std::string path;  // empty: a new one
};

// A checked configuration: what the host's side needs as values, and all of it as JSON for the guest.
struct Config {
  std::string bundle;  // absolute
  std::string file;    // config.json, or what stands for it; absolute
  std::string rootfs;  // absolute, without symlinks
  bool rootfs_readonly = false;
  std::string oci_version;
  std::string cgroups_path;
  std::map<std::string, std::string> annotations;
  std::vector<Mount> mounts;
  std::vector<Namespace> namespaces;  // `json` is without the paths that only the host's side joins
  // Namespaces by a path that are another container's of ours, in whose VM this one is then too: type and container
  // (container/shared_namespaces.h).
  std::map<std::string, std::string> joins;
  nlohmann::json json;
  nlohmann::json hooks;  // "hooks"; null: none. `json` keeps startContainer's alone, which are for the guest.
  // What the configuration asks for and this version leaves out, a line each; `json` is without it.
  std::vector<std::string> warnings;
};

// Errors name the field. `bundle` may be relative to the working directory, and so may `file`; "" is the bundle's
// config.json.
Result<Config> load_config(const std::string& bundle, const std::string& file = "");

// The checks of "process", for exec as well; `path` names it in errors.
Result<void> check_process(const nlohmann::json& process, const std::string& path);
// Removes from a process what this version leaves out, each with a line in `warnings`; an error where leaving it out
// would be wrong.
Result<void> restrict_process(nlohmann::json& process, std::vector<std::string>& warnings);
// The same for a whole configuration.
Result<void> restrict_config(nlohmann::json& config, std::vector<std::string>& warnings);

// linux.resources alone, for update; `path` names it in errors and warnings.
Result<void> check_resources(const nlohmann::json& resources, const std::string& path);
void restrict_resources(nlohmann::json& resources, const std::string& path, std::vector<std::string>& warnings);

// JSON text with broken input as one line: "WHAT: ...".
Result<nlohmann::json> parse_json(const std::string& text, const std::string& what);

// The configuration that `spec` writes, indented with tabs.
std::string template_config(bool rootless);

}  // namespace nacre::oci
