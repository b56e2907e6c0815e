// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <memory>
#include <set>

#include "base/fd.h"
#include "base/rootfs.h"
#include "oci/json_limits.h"
#include "oci/mount_options.h"
#include "runtime/config/schema.h"

namespace nacre::oci {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxConfig = 8 << 20;  // half of a protocol frame
constexpr const char* kShareName = "mount-";
constexpr size_t kMaxDepth = 48;  // the guest's limit is 64, and the configuration travels inside a message

Result<std::string> real_path(const std::string& path) {
  std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), std::free);
  if (!resolved) return fail_errno(path);
  return std::string(resolved.get());
}

std::string string_or(const Json& object, const char* name, std::string otherwise = "") {
  auto found = object.find(name);
  return found == object.end() ? otherwise : found->get<std::string>();
}

// Checks for SemVer 2.0 with a major version of 1, such as "1.0.2-dev".
Result<void> check_version(const std::string& version) {
  unsigned major, minor, patch;
  int length = 0;
  if (std::sscanf(version.c_str(), "%u.%u.%u%n", &major, &minor, &patch, &length) != 3 ||
      (version[length] != '\0' && version[length] != '-' && version[length] != '+')) {
    return wrong("ociVersion", "\"" + version + "\" is not a version like 1.2.0");
  }
  if (major != 1) return wrong("ociVersion", "version " + version + " is not supported, 1.x is");
  return {};
}

Result<std::vector<Namespace>> read_namespaces(const Json& config) {
  std::vector<Namespace> namespaces;
  auto linux = config.find("linux");
  if (linux == config.end() || !linux->contains("namespaces")) return namespaces;
  std::set<std::string> seen;
  for (size_t i = 0; i < (*linux)["namespaces"].size(); i++) {
    const Json& entry = (*linux)["namespaces"][i];
    std::string path = "linux.namespaces[" + std::to_string(i) + "]";
    std::string type = string_or(entry, "type");
    if (type.empty()) return wrong(path + ".type", "is required");
    if (!seen.insert(type).second) return wrong(path + ".type", "\"" + type + "\" occurs twice");
    std::string namespace_path = string_or(entry, "path");
    if (!namespace_path.empty() && namespace_path[0] != '/') return wrong(path + ".path", "must be an absolute path");
    namespaces.push_back({.type = std::move(type), .path = std::move(namespace_path)});
  }
  bool uts = seen.contains("uts");
  if (!string_or(config, "hostname").empty() && !uts) {
    return wrong("hostname", "cannot be set without a uts namespace in linux.namespaces");
  }
  if (!string_or(config, "domainname").empty() && !uts) {
    return wrong("domainname", "cannot be set without a uts namespace in linux.namespaces");
  }
  return namespaces;
}

// Refuses sysctls that contradict a field of their own, as runc does: kernel.hostname in any case, and
// kernel.domainname beside "domainname", because that field is the younger one. runc also refuses sysctls that belong
// to none of the container's own namespaces. Here all do, since the kernel is the container's own.
Result<void> check_sysctls(const Json& config) {
  auto linux = config.find("linux");
  if (linux == config.end() || !linux->contains("sysctl")) return {};
  auto asks_for = [&](const std::string& name) {
    const Json& sysctls = (*linux)["sysctl"];
    return sysctls.contains("kernel." + name) || sysctls.contains("kernel/" + name);
  };
  auto conflict = [](const std::string& name) {
    return wrong("linux.sysctl",
                 "sysctl \"kernel." + name + "\" is not allowed as it conflicts with the OCI \"" + name + "\" field");
  };
  if (asks_for("hostname")) return conflict("hostname");
  if (asks_for("domainname") && !string_or(config, "domainname").empty()) return conflict("domainname");
  return {};
}

// Takes the hooks out of the configuration and returns them. Those that the guest runs stay in it; the guest must not
// see the others, whose environment may hold secrets.
Result<Json> take_hooks(Json& config) {
  auto found = config.find("hooks");
  if (found == config.end()) return Json();
  Json hooks = Json::object();
  for (std::string_view kind : kHookKinds) {
    auto list = found->find(kind);
    if (list == found->end()) continue;
    for (size_t i = 0; i < list->size(); i++) {
      if (string_or((*list)[i], "path").starts_with('/')) continue;
      return wrong("hooks." + std::string(kind) + "[" + std::to_string(i) + "].path", "must be an absolute path");
    }
    hooks[std::string(kind)] = std::move(*list);
  }
  config.erase("hooks");
  if (hooks.contains("startContainer")) config["hooks"]["startContainer"] = hooks["startContainer"];
  return hooks;
}

// Returns true if `yes` is among the options and no `no` follows it: the last of two opposites counts, as for mount(8).
bool last_of(const Json& options, const char* yes, const char* no) {
  bool wanted = false;
  for (const Json& option : options) {
    if (option == yes) wanted = true;
    if (option == no) wanted = false;
  }
  return wanted;
}

bool is_bind(const std::string& type, const Json& options) {
  if (type == "bind") return true;
  for (const Json& option : options) {
    if (option == "bind" || option == "rbind") return true;
  }
  return false;
}

Result<std::string> read_rootfs(const Json& config, const std::string& bundle) {
  std::string path = config["root"]["path"].get<std::string>();
  if (path.empty()) return wrong("root.path", "must not be empty");
  if (path[0] != '/') path = bundle + "/" + path;
  auto resolved = real_path(path);
  if (!resolved) return std::unexpected(resolved.error().with_context("root.path: invalid rootfs"));
  struct stat info;
  if (::stat(resolved->c_str(), &info) < 0) return fail_errno("root.path: invalid rootfs: " + path);
  if (!S_ISDIR(info.st_mode)) return wrong("root.path", "invalid rootfs: " + path + " is not a directory");
  return resolved;
}

// Returns the part of `path` that follows the root filesystem's path, or "" if it does not lie below.
std::string below(const std::string& rootfs, const std::string& path) {
  std::string normal = clean_path(path);
  return rootfs != "/" && normal.starts_with(rootfs + "/") ? normal.substr(rootfs.size()) : "";
}

// Returns true if one of `mounts` covers `path`, or lies below it. An empty path is covered by none.
bool is_mounted_over(const std::vector<Mount>& mounts, const std::string& path) {
  return !path.empty() && std::ranges::any_of(mounts, [&path](const Mount& mount) {
    std::string place = clean_path(mount.destination);
    return (path + "/").starts_with(place + "/") || place.starts_with(path + "/");
  });
}

// Returns true if a bind mount gets what the host mounts below its source later. As under runc, whose root is a slave
// of the host's, that holds unless an option makes the mount private.
bool follows_host(const Json& options) {
  bool follows = true;
  for (const Json& option : options) {
    if (option == "shared" || option == "rshared" || option == "slave" || option == "rslave") follows = true;
    if (option == "private" || option == "rprivate" || option == "unbindable" || option == "runbindable")
      follows = false;
  }
  return follows;
}

Result<std::vector<Mount>> read_mounts(Json& config, const std::string& bundle, const std::string& rootfs,
                                       std::vector<std::string>& warnings) {
  std::vector<Mount> mounts;
  auto list = config.find("mounts");
  if (list == config.end()) return mounts;
  for (size_t i = 0; i < list->size(); i++) {
    Json& json = (*list)[i];
    std::string path = "mounts[" + std::to_string(i) + "]";
    const Json options = json.value("options", Json::array());
    Mount mount{.name = path,
                .type = string_or(json, "type"),
                .destination = string_or(json, "destination"),
                .source = string_or(json, "source"),
                .share_path = kShareName + std::to_string(i)};
    if (mount.destination.empty()) return wrong(path + ".destination", "must not be empty");
    if (mount.destination[0] != '/') {
      // Old callers do this; runc accepts it too.
      warnings.push_back(path + ".destination: \"" + mount.destination + "\" is not absolute, \"/\" is put before it");
      mount.destination = "/" + mount.destination;
      json["destination"] = mount.destination;
    }
    // Some callers give the host's path; runc accepts it too.
    if (auto within = below(rootfs, mount.destination); !within.empty())
      json["destination"] = mount.destination = within;
    mount.bind = is_bind(mount.type, options);
    mount.recursive = last_of(options, "rbind", "bind");
    mount.readonly_below = last_of(options, "rro", "rrw");
    mount.readonly = mount.readonly_below || last_of(options, "ro", "rw");
    mount.follows = mount.bind && follows_host(options);
    if (mount.bind) {
      if (mount.source.empty()) return wrong(path + ".source", "is required for a bind mount");
      if (mount.source[0] != '/') mount.source = bundle + "/" + mount.source;
      auto within = below(rootfs, mount.source);
      if (is_mounted_over(mounts, within)) {
        // Only the guest has what is there.
        if (json.contains("uidMappings") || last_of(options, "idmap", "") || last_of(options, "ridmap", "")) {
          return wrong(path, "ids of a source within the root filesystem cannot be mapped");
        }
        json["source"] = oci::kInRoot + within;
        mount.bind = false;
        mount.type = "";
        mount.json = json;
        mounts.push_back(std::move(mount));
        continue;
      }
      auto resolved = real_path(mount.source);
      if (!resolved) return std::unexpected(resolved.error().with_context(path + ".source"));
      mount.source = std::move(*resolved);
    }
    mount.json = json;
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<void> check_rlimits(const Json& process, const std::string& path) {
  if (!process.contains("rlimits")) return {};
  std::set<std::string> seen;
  for (size_t i = 0; i < process["rlimits"].size(); i++) {
    const Json& limit = process["rlimits"][i];
    std::string entry = path + ".rlimits[" + std::to_string(i) + "]";
    std::string type = limit["type"].get<std::string>();
    if (!seen.insert(type).second) return wrong(entry + ".type", type + " occurs twice");
    if (limit.value("soft", uint64_t{0}) > limit.value("hard", uint64_t{0})) {
      return wrong(entry + ".soft", "must not be above hard");
    }
  }
  return {};
}

}  // namespace

Result<Json> parse_json(const std::string& text, const std::string& what) {
  if (!check_json_limits(text, {.depth = kMaxDepth})) return fail(what + ": nested too deeply", EINVAL);
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string message = error.what();
    if (size_t end = message.find("] "); message.starts_with("[json.exception") && end != std::string::npos) {
      message.erase(0, end + 2);
    }
    return fail(what + ": " + message, EINVAL);
  }
}

Result<void> check_process(const Json& process, const std::string& path) {
  TRY(check_object(process, process_fields(), path));
  if (process["args"].empty()) return wrong(path + ".args", "must not be empty");
  std::string cwd = process["cwd"].get<std::string>();
  if (cwd.empty()) return wrong(path + ".cwd", "must not be empty");
  if (cwd[0] != '/') return wrong(path + ".cwd", "must be an absolute path");
  return check_rlimits(process, path);
}

Result<void> check_resources(const Json& resources, const std::string& path) {
  return check_object(resources, resources_fields(), path);
}

Result<Config> load_config(const std::string& bundle, const std::string& file, const HostSupport& host) {
  Config config;
  config.bundle = TRY_CONTEXT(real_path(bundle.empty() ? "." : bundle), "bundle");
  config.file = file.empty() ? config.bundle + "/" + kConfigName : TRY_CONTEXT(real_path(file), "--config");
  auto text = read_file(config.file, kMaxConfig);
  if (!text) {
    if (text.error().code() != ENOENT) return std::unexpected(text.error());
    return fail("JSON specification file config.json not found: no such file or directory in " + config.bundle, ENOENT);
  }
  config.json = TRY(parse_json(*text, kConfigName));
  normalize(config.json, config_fields());
  Json& json = config.json;
  TRY_CONTEXT(check_object(json, config_fields(), ""), kConfigName);
  config.oci_version = json["ociVersion"].get<std::string>();
  TRY_CONTEXT(check_version(config.oci_version), kConfigName);
  if (!json.contains("process")) return fail("config.json: process: is required", EINVAL);
  TRY_CONTEXT(check_process(json["process"], "process"), kConfigName);
  config.namespaces = TRY_CONTEXT(read_namespaces(json), kConfigName);
  TRY_CONTEXT(check_sysctls(json), kConfigName);
  config.rootfs = TRY(read_rootfs(json, config.bundle));
  config.mounts = TRY_CONTEXT(read_mounts(json, config.bundle, config.rootfs, config.warnings), kConfigName);
  config.confinement = take_confinement(json["process"], config.warnings);
  TRY_CONTEXT(restrict_config(json, host, config.warnings), kConfigName);
  config.hooks = TRY_CONTEXT(take_hooks(json), kConfigName);
  config.rootfs_readonly = json["root"].value("readonly", false);
  if (json.contains("annotations")) json["annotations"].get_to(config.annotations);
  if (json.contains("linux")) {
    config.cgroups_path = string_or(json["linux"], "cgroupsPath");
    config.mount_label = string_or(json["linux"], "mountLabel");
    json["linux"].erase("mountLabel");
  }
  return config;
}

}  // namespace nacre::oci
