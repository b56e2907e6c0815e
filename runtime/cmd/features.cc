// SPDX-License-Identifier: Apache-2.0
// Prints what this runtime supports (features.md and features-linux.md of the runtime specification).
#include <seccomp.h>

#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "oci/capability_names.h"
#include "oci/mount_options.h"
#include "runtime/cmd/command.h"
#include "runtime/config/config.h"
#include "runtime/config/seccomp/names.h"
#include "runtime/plan/memory_policy.h"
#include "version.h"

namespace nacre::cmd {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kNamespaces = {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"};

// Returns the mount options, sorted and without duplicates.
std::set<std::string> mount_options() {
  std::set<std::string> words(oci::kBindOptions.begin(), oci::kBindOptions.end());
  words.insert(oci::kMappingOptions.begin(), oci::kMappingOptions.end());
  words.insert(oci::kVoidMountOptions.begin(), oci::kVoidMountOptions.end());
  words.insert(oci::kSuperBlockOptions.begin(), oci::kSuperBlockOptions.end());
  words.emplace(oci::kCopyUpOption);
  auto with_tree = [&](std::string_view name) {
    words.emplace(name);
    words.insert("r" + std::string(name));
  };
  for (const auto& attribute : oci::kMountAttributes) with_tree(attribute.name);
  for (const auto& propagation : oci::kMountPropagations) with_tree(propagation.name);
  return words;
}

Json names_of(std::span<const seccomp::Word> words) {
  Json names = Json::array();
  for (const auto& word : words) names.push_back(word.name);
  return names;
}

// Returns the architectures that a filter may have beside the machine's own. libseccomp cannot mix byte orders in a
// filter.
Json seccomp_architectures() {
  Json names = Json::array();
  for (const auto& word : seccomp::kArchitectures) {
    std::unique_ptr<void, void (*)(void*)> context(::seccomp_init(SCMP_ACT_ALLOW), ::seccomp_release);
    int added = context ? ::seccomp_arch_add(context.get(), word.value) : -ENOMEM;
    if (added == 0 || added == -EEXIST) names.push_back(word.name);
  }
  return names;
}

Json seccomp_features() {
  Json known = names_of(seccomp::kFlags);
  known.push_back(seccomp::kWaitKillableFlag);
  return {{"enabled", true},
          {"actions", names_of(seccomp::kActions)},
          {"operators", names_of(seccomp::kOperators)},
          {"archs", seccomp_architectures()},
          {"knownFlags", std::move(known)},
          {"supportedFlags", names_of(seccomp::kFlags)}};
}

Json linux_features() {
  Json off{{"enabled", false}};
  return {{"namespaces", kNamespaces},
          {"capabilities", oci::kCapabilityNames},
          // The host's cgroups. The guest has version 2.
          {"cgroup", {{"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", true}, {"rdma", true}}},
          {"seccomp", seccomp_features()},
          {"apparmor", {{"enabled", true}}},  // as under runc, whether the host has them or not
          {"selinux", {{"enabled", true}}},
          {"intelRdt", {{"enabled", true}, {"schemata", true}, {"monitoring", true}}},
          {"memoryPolicy", {{"modes", runtime::memory_policy_modes()}, {"flags", runtime::memory_policy_flags()}}},
          {"mountExtensions", {{"idmap", {{"enabled", true}}}}},
          {"netDevices", off}};
}

std::string libseccomp_version() {
  const scmp_version* version = ::seccomp_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->micro);
}

}  // namespace

Result<int> features(const Globals&) {
  Json all{{"ociVersionMin", "1.0.0"},
           {"ociVersionMax", oci::kSpecVersion},
           {"hooks", oci::kHookKinds},
           {"mountOptions", mount_options()},
           {"linux", linux_features()},
           {"annotations",
            {{"io.github.seccomp.libseccomp.version", libseccomp_version()},
             {"nacre.commit", NACRE_COMMIT},
             {"nacre.version", NACRE_VERSION}}},
           // Prefixes of annotations that decide how much of the host a VM may use.
           {"potentiallyUnsafeConfigAnnotations", Json::array({"nacre.vm.", "org.systemd.property."})}};
  TRY(write_all(1, all.dump(4) + "\n"));
  return 0;
}

}  // namespace nacre::cmd
