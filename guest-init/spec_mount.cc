#include <sys/mount.h>

#include <string_view>

#include "guest-init/spec.h"

namespace nacre::guest {

namespace {

struct AttributeOption {
  std::string_view name;
  uint64_t set, clear;
};

// mount(8)'s words for attributes of a mount. With an "r" before it each one is for the whole tree (runtime-spec 1.2,
// "Linux mount options"). The kinds of access time exclude each other: setting one clears the field first.
constexpr AttributeOption kAttributes[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME},
    {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
    {"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"norelatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
};

struct PropagationOption {
  std::string_view name;
  uint64_t flag;
};

constexpr PropagationOption kPropagations[] = {
    {"shared", MS_SHARED}, {"slave", MS_SLAVE}, {"private", MS_PRIVATE}, {"unbindable", MS_UNBINDABLE}};

// Words of fstab(5) and of callers that ask for nothing here.
constexpr std::string_view kNothing[] = {"defaults", "nofail", "_netdev", "auto", "noauto", "silent", "loud", "async"};

constexpr std::string_view kUnsupported[] = {"idmap", "ridmap", "tmpcopyup", "remount", "mand"};

template <typename List>
bool contains(const List& list, std::string_view name) {
  for (std::string_view entry : list) {
    if (entry == name) return true;
  }
  return false;
}

const AttributeOption* find_attribute(std::string_view name) {
  for (const auto& attribute : kAttributes) {
    if (attribute.name == name) return &attribute;
  }
  return nullptr;
}

// A later word overrides an earlier one on the same bits.
void apply(const AttributeOption& option, uint64_t& set, uint64_t& clear) {
  set = (set & ~option.clear) | option.set;
  clear = (clear & ~option.set) | option.clear;
}

}  // namespace

Result<uint64_t> parse_propagation(const std::string& name) {
  for (const auto& propagation : kPropagations) {
    if (propagation.name == name) return propagation.flag;
    if (name[0] == 'r' && propagation.name == std::string_view(name).substr(1)) return propagation.flag | MS_REC;
  }
  return 0;
}

Result<MountSpec> parse_mount(const Field& field) {
  MountSpec mount;
  mount.destination = TRY(TRY(field.member("destination")).string());
  if (mount.destination.empty()) return field.fails("has an empty destination");
  mount.type = TRY(TRY(field.member("type")).string(""));
  mount.source = TRY(TRY(field.member("source")).string(""));
  for (const char* name : {"uidMappings", "gidMappings"}) {
    Field mapping = TRY(field.member(name));
    if (mapping.asks()) return fail(mapping.path() + " is not supported by this version", ENOTSUP);
  }
  for (const std::string& option : TRY(TRY(field.member("options")).strings())) {
    if (option.empty() || contains(kNothing, option)) continue;
    if (contains(kUnsupported, option)) {
      return fail("mount option \"" + option + "\" of " + mount.destination + " is not supported by this version",
                  ENOTSUP);
    }
    uint64_t propagation = TRY(parse_propagation(option));
    if (option == "bind" || option == "rbind") {
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
  if (mount.type == "cgroup") mount.type = "cgroup2";  // the guest has no other
  return mount;
}

}  // namespace nacre::guest
