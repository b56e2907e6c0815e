// SPDX-License-Identifier: Apache-2.0
// Namespaces that are given by a path.
//
// A path can lead to a namespace of another container of ours (/proc/PID/ns/ipc of its stand-in, or a bind mount of
// that). If the namespace is of a kind that exists in the guest alone (pid, ipc, mount, cgroup, time), the new
// container is made in the VM of that container, in that very namespace.
//
// Otherwise a VM can have a copy of some namespaces: of a user namespace, which is its mappings, and of a uts
// namespace, which is its names. The container gets a new one that begins like the other: two containers with one user
// namespace own the same files on the host. A copy does not follow the other: a name that is changed later is changed
// in one only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/config/config.h"
#include "runtime/plan/facts.h"

namespace nacre::runtime {

struct ResolvedNamespaces {
  std::vector<oci::Namespace> host;  // of the stand-in; an empty path means a new namespace
  std::string vm_of;                 // the container whose VM is joined; empty: the container has a VM of its own
  std::map<std::string, std::string> joins;  // type of namespace -> container that has it, in the same VM
  // The guest gets the links of the container's network namespace. It is in a VM of its own, and the namespace is a new
  // one or was made for it: not one of a process that lives.
  bool serves_network = false;
  // The container's user namespace: {uidMappings, gidMappings}; null: it has none.
  nlohmann::json mappings;
  std::string hostname, domainname;
  std::vector<std::string> warnings;
};

// Decides what becomes of each namespace. An error names the path that cannot be joined.
Result<ResolvedNamespaces> resolve_namespaces(const oci::Config& config, const FoundNamespaces& found);

// Returns true for types that exist in a guest alone: to be in such a namespace takes being in its VM.
bool is_guest_type(const std::string& type);

// Returns the type whose owner has the VM that the container has to be in; empty: none. An error if two VMs are asked
// for.
Result<std::string> type_that_joins(const oci::Config& config, const FoundNamespaces& found);

// Returns true if the container gets a copy of the namespace, which has to be looked at for that. `joined` is what
// type_that_joins() says.
bool is_copied(const oci::Namespace& wanted, const FoundNamespaces& found, const std::string& joined);

}  // namespace nacre::runtime
