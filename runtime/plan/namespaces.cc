// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/namespaces.h"

#include <algorithm>

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

const FoundNamespace* find(const FoundNamespaces& found, const std::string& type) {
  auto entry = found.find(type);
  return entry == found.end() ? nullptr : &entry->second;
}

const NamespaceOwner* owner_of(const FoundNamespaces& found, const std::string& type) {
  const FoundNamespace* entry = find(found, type);
  return entry != nullptr && entry->owner ? &*entry->owner : nullptr;
}

// Returns true if the namespace is in the VM that the container joins.
bool is_in_vm(const oci::Namespace& wanted, const FoundNamespaces& found, const std::string& joined) {
  if (joined.empty() || wanted.path.empty()) return false;
  const NamespaceOwner* owner = owner_of(found, wanted.type);
  return owner != nullptr && owner->vmm == owner_of(found, joined)->vmm;
}

// The names of the configuration take precedence.
void copy_names(ResolvedNamespaces& resolved, const FoundNamespace& found) {
  if (resolved.hostname.empty()) resolved.hostname = found.hostname;
  if (resolved.domainname.empty()) resolved.domainname = found.domainname;
}

// Returns true for a namespace of a process, which may be using its links: engines name another container's like this,
// and those that they make for a container by a file of their own.
bool is_of_process(const std::string& path) {
  return path.starts_with("/proc/");
}

// Takes over what a namespace outside of the container's VM consists of, or says that it cannot be had.
Result<void> copy_or_refuse(ResolvedNamespaces& resolved, const oci::Namespace& wanted, const FoundNamespaces& found,
                            const std::string& joined) {
  if (wanted.type == "network") {  // the stand-in joins it
    if (!joined.empty() || is_of_process(wanted.path)) {
      resolved.warnings.push_back("linux.namespaces: the host's network namespace " + wanted.path +
                                  " is not connected to the VM by this version");
    }
  } else if (wanted.type == "user") {
    resolved.mappings = found.at(wanted.type).mappings;
  } else if (wanted.type == "uts") {
    copy_names(resolved, found.at(wanted.type));
  } else if (wanted.type == "ipc") {
    resolved.warnings.push_back("linux.namespaces: the container's IPC objects are those of its VM, not of " +
                                wanted.path);
  } else {
    return fail(wanted.path + ": a " + wanted.type + " namespace that is no container's of ours cannot be joined",
                ENOTSUP);
  }
  return {};
}

Json own_mappings(const oci::Config& config) {
  bool has_user = std::ranges::any_of(config.namespaces, [](const auto& entry) { return entry.type == "user"; });
  if (!has_user) return nullptr;
  const Json& linux = config.json.at("linux");
  return {{"uidMappings", linux.value("uidMappings", Json::array())},
          {"gidMappings", linux.value("gidMappings", Json::array())}};
}

}  // namespace

bool is_guest_type(const std::string& type) {
  return type == "pid" || type == "ipc" || type == "mount" || type == "cgroup" || type == "time";
}

Result<std::string> type_that_joins(const oci::Config& config, const FoundNamespaces& found) {
  std::string joined;
  for (const oci::Namespace& wanted : config.namespaces) {
    if (wanted.path.empty() || !is_guest_type(wanted.type)) continue;
    const NamespaceOwner* owner = owner_of(found, wanted.type);
    if (owner == nullptr) continue;
    if (const auto* other = joined.empty() ? nullptr : owner_of(found, joined); other && other->vmm != owner->vmm) {
      return fail("linux.namespaces: those of " + other->id + " and of " + owner->id + " are in two different VMs",
                  EINVAL);
    }
    joined = wanted.type;
  }
  // Two containers that share a network are in one VM, unless another namespace has decided.
  return joined.empty() && owner_of(found, "network") != nullptr ? "network" : joined;
}

bool is_copied(const oci::Namespace& wanted, const FoundNamespaces& found, const std::string& joined) {
  if (wanted.path.empty()) return false;
  return wanted.type == "user" || (wanted.type == "uts" && !is_in_vm(wanted, found, joined));
}

Result<ResolvedNamespaces> resolve_namespaces(const oci::Config& config, const FoundNamespaces& found) {
  ResolvedNamespaces resolved{.host = config.namespaces,
                              .vm_of = "",
                              .joins = {},
                              .serves_network = false,
                              .mappings = own_mappings(config),
                              .hostname = config.json.value("hostname", ""),
                              .domainname = config.json.value("domainname", ""),
                              .warnings = {}};
  const std::string joined = TRY(type_that_joins(config, found));
  for (size_t i = 0; i < config.namespaces.size(); i++) {
    const oci::Namespace& wanted = config.namespaces[i];
    if (wanted.path.empty()) continue;
    bool joins = is_in_vm(wanted, found, joined);
    if (joins) resolved.joins[wanted.type] = owner_of(found, wanted.type)->id;
    std::string place = "linux.namespaces[" + std::to_string(i) + "].path";
    if (!joins || wanted.type == "user") TRY_CONTEXT(copy_or_refuse(resolved, wanted, found, joined), place);
    // The other's stand-in sees the other's files there; ours needs the host's.
    if (wanted.type == "mount") resolved.host[i].path.clear();
  }
  if (!resolved.joins.empty()) resolved.vm_of = resolved.joins.begin()->second;
  resolved.serves_network = resolved.vm_of.empty() && std::ranges::any_of(resolved.host, [](const auto& wanted) {
                              return wanted.type == "network" && !is_of_process(wanted.path);
                            });
  return resolved;
}

}  // namespace nacre::runtime
