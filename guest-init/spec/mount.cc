// SPDX-License-Identifier: Apache-2.0
#include <sys/mount.h>

#include <string_view>

#include "guest-init/spec/spec.h"
#include "oci/mount_options.h"

namespace nacre::guest {

namespace {

using oci::MountAttribute;

constexpr std::string_view kUnsupported[] = {"remount"};

template <typename List>
bool contains(const List& list, std::string_view name) {
  for (std::string_view entry : list) {
    if (entry == name) return true;
  }
  return false;
}

const MountAttribute* find_attribute(std::string_view name) {
  for (const auto& attribute : oci::kMountAttributes) {
    if (attribute.name == name) return &attribute;
  }
  return nullptr;
}

// Applies a word. A later word overrides an earlier one on the same bits.
void apply(const MountAttribute& option, uint64_t& set, uint64_t& clear) {
  set = (set & ~option.clear) | option.set;
  clear = (clear & ~option.set) | option.clear;
}

}  // namespace

Result<uint64_t> parse_propagation(const std::string& name) {
  for (const auto& propagation : oci::kMountPropagations) {
    if (propagation.name == name) return propagation.flag;
    if (name[0] == 'r' && propagation.name == std::string_view(name).substr(1)) return propagation.flag | MS_REC;
  }
  return 0;
}

Result<MountSpec> parse_mount(const JsonField& field) {
  MountSpec mount;
  mount.destination = TRY(TRY(field.member("destination")).string());
  if (mount.destination.empty()) return field.fails("has an empty destination");
  mount.type = TRY(TRY(field.member("type")).string(""));
  mount.source = TRY(TRY(field.member("source")).string(""));
  mount.ids = TRY(parse_mappings(field));
  for (const std::string& option : TRY(TRY(field.member("options")).strings())) {
    if (option.empty() || contains(oci::kVoidMountOptions, option)) continue;
    if (contains(kUnsupported, option)) {
      return fail("mount option \"" + option + "\" of " + mount.destination + " is not supported by this version",
                  ENOTSUP);
    }
    uint64_t propagation = TRY(parse_propagation(option));
    if (option == oci::kCopyUpOption) {
      mount.copy_up = true;
    } else if (contains(oci::kMappingOptions, option)) {
      mount.map_below = option == "ridmap";
      if (!mount.ids) mount.ids.emplace();  // the container's: parse_container()
    } else if (contains(oci::kBindOptions, option)) {
      mount.type = "bind";
      mount.recursive = option == "rbind";
    } else if (propagation != 0) {
      mount.propagation.push_back(propagation);
    } else if (const auto* attribute = find_attribute(option)) {
      apply(*attribute, mount.set, mount.clear);
    } else if (const auto* deep = option[0] == 'r' ? find_attribute(std::string_view(option).substr(1)) : nullptr) {
      apply(*deep, mount.deep_set, mount.deep_clear);
    } else {
      mount.options.push_back(option);
    }
  }
  if (mount.type.empty() || mount.type == "none") return field.fails("has no type");
  if (mount.type == "bind" && mount.source.empty()) return field.fails("has no source");
  mount.in_root = mount.type == "bind" && mount.source.starts_with(oci::kInRoot);
  if (mount.in_root) mount.source.erase(0, std::string_view(oci::kInRoot).size());
  if (mount.ids && mount.type != "bind") return field.fails("has mapped ids, which only bind mounts can have");
  if (mount.type == "cgroup") mount.type = "cgroup2";  // the guest has no other
  return mount;
}

}  // namespace nacre::guest
