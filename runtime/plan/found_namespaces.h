// SPDX-License-Identifier: Apache-2.0
// Looks at what the paths of linux.namespaces lead to, which is a part of collect_facts().
#pragma once

#include <string>

#include "base/result.h"
#include "runtime/config/config.h"
#include "runtime/plan/facts.h"

namespace nacre::runtime {

// Returns what is found, for each namespace that has a path. Containers of ours are looked for in `root`, and only if a
// path can lead to one. An error names the path.
Result<FoundNamespaces> find_namespaces(const oci::Config& config, const std::string& root);

}  // namespace nacre::runtime
