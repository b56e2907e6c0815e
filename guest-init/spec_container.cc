#include <linux/sched.h>
#include <sys/personality.h>
#include <sys/stat.h>

#include <array>
#include <string_view>

#include "base/log.h"
#include "guest-init/spec.h"

namespace nacre::guest {

namespace {

constexpr int64_t kMaxDeviceMajor = (1 << 12) - 1;
constexpr int64_t kMaxDeviceMinor = (1 << 20) - 1;

struct NamedNamespace {
  std::string_view name;
  uint64_t flag;
};

constexpr NamedNamespace kNamespaces[] = {{"pid", CLONE_NEWPID},
                                          {"mount", CLONE_NEWNS},
                                          {"uts", CLONE_NEWUTS},
                                          {"ipc", CLONE_NEWIPC},
                                          {"cgroup", CLONE_NEWCGROUP}};

Result<uint64_t> parse_namespaces(const Field& field) {
  uint64_t flags = 0;
  for (const Field& entry : TRY(field.list())) {
    std::string type = TRY(TRY(entry.member("type")).string());
    // The virtual machine's own network is the container's network namespace, and which one of the host's it is
    // joined to is the host's business: with or without a path there is nothing to make here.
    if (type == "network") continue;
    uint64_t flag = 0;
    for (const auto& known : kNamespaces) {
      if (known.name == type) flag = known.flag;
    }
    if (flag == 0) return fail(type + " namespaces are not supported by this version", ENOTSUP);
    if (TRY(entry.member("path")).asks()) {
      return fail("joining a " + type + " namespace by its path is not supported by this version", ENOTSUP);
    }
    if (flags & flag) return entry.fails("repeats the " + type + " namespace");
    flags |= flag;
  }
  if (!(flags & CLONE_NEWNS)) return field.fails("has no mount namespace, without which there is no container");
  return flags;
}

Result<DeviceSpec> parse_device(const Field& field) {
  DeviceSpec device{};
  device.path = TRY(TRY(field.member("path")).string());
  std::string type = TRY(TRY(field.member("type")).string());
  if (type == "c" || type == "u") {
    device.type = S_IFCHR;
  } else if (type == "b") {
    device.type = S_IFBLK;
  } else if (type == "p") {
    device.type = S_IFIFO;
  } else {
    return field.fails("has the unknown type \"" + type + "\"");
  }
  if (device.type != S_IFIFO) {
    device.major = static_cast<unsigned>(TRY(TRY(field.member("major")).integer(0, kMaxDeviceMajor)));
    device.minor = static_cast<unsigned>(TRY(TRY(field.member("minor")).integer(0, kMaxDeviceMinor)));
  }
  device.mode = static_cast<mode_t>(TRY(TRY(field.member("fileMode")).integer(0, 0xffff, 0666))) & 07777;
  device.uid = static_cast<uid_t>(TRY(TRY(field.member("uid")).integer(0, 0xfffffffe, 0)));
  device.gid = static_cast<gid_t>(TRY(TRY(field.member("gid")).integer(0, 0xfffffffe, 0)));
  return device;
}

// "net.ipv4.ip_forward" and "net/ipv4/conf/eth0.1/forwarding" as sysctl(8) takes them: the first kind of separator
// that is seen is the separator.
Result<std::string> sysctl_path(const std::string& name) {
  std::string path = name;
  size_t first = path.find_first_of("./");
  if (first != std::string::npos && path[first] == '.') {
    for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
  }
  if (path.empty() || path[0] == '/' || ("/" + path + "/").find("/../") != std::string::npos) {
    return fail("linux.sysctl has the invalid name \"" + name + "\"", EINVAL);
  }
  return path;
}

Result<std::optional<unsigned long>> parse_personality(const Field& field) {
  if (!field.present()) return std::nullopt;
  if (TRY(field.member("flags")).asks()) return field.fails("has flags, which are not supported");
  std::string domain = TRY(TRY(field.member("domain")).string());
  if (domain == "LINUX") return PER_LINUX;
  if (domain == "LINUX32") return PER_LINUX32;
  return field.fails("has the unknown domain \"" + domain + "\"");
}

Result<void> refuse_unsupported(const Field& linux) {
  for (const char* name : {"uidMappings", "gidMappings", "timeOffsets", "intelRdt", "netDevices", "memoryPolicy"}) {
    Field field = TRY(linux.member(name));
    if (field.asks()) return fail(field.path() + " is not supported by this version", ENOTSUP);
  }
  for (const char* name : {"seccomp", "mountLabel"}) {
    Field field = TRY(linux.member(name));
    if (field.asks()) log_warn("ignoring " + field.path());
  }
  return {};
}

Result<void> parse_linux(const Field& linux, ContainerSpec& spec) {
  TRY(refuse_unsupported(linux));
  spec.namespaces = TRY(parse_namespaces(TRY(linux.member("namespaces"))));
  for (const Field& device : TRY(TRY(linux.member("devices")).list())) {
    spec.devices.push_back(TRY(parse_device(device)));
  }
  spec.masked_paths = TRY(TRY(linux.member("maskedPaths")).strings());
  spec.readonly_paths = TRY(TRY(linux.member("readonlyPaths")).strings());
  for (const auto& [name, value] : TRY(TRY(linux.member("sysctl")).members())) {
    spec.sysctls.emplace_back(TRY(sysctl_path(name)), TRY(value.string()));
  }
  Field propagation = TRY(linux.member("rootfsPropagation"));
  if (propagation.asks()) {
    spec.root_propagation = TRY(parse_propagation(TRY(propagation.string())));
    if (spec.root_propagation == 0) return propagation.fails("is unknown");
  }
  spec.cgroup_files = TRY(parse_resources(TRY(linux.member("resources"))));
  return {};
}

}  // namespace

Result<ContainerSpec> parse_container(const Json& config) {
  ContainerSpec spec;
  Field top(&config, "");
  if (!config.is_object()) return fail("config is not an object", EINVAL);
  Field root = TRY(top.member("root"));
  spec.root_path = TRY(TRY(root.member("path")).string());
  if (spec.root_path.empty() || spec.root_path[0] != '/') return fail("root.path is not an absolute path", EINVAL);
  spec.root_readonly = TRY(TRY(root.member("readonly")).boolean(false));
  spec.hostname = TRY(TRY(top.member("hostname")).string(""));
  spec.domainname = TRY(TRY(top.member("domainname")).string(""));
  TRY(parse_linux(TRY(top.member("linux")), spec));
  for (const Field& mount : TRY(TRY(top.member("mounts")).list())) spec.mounts.push_back(TRY(parse_mount(mount)));
  spec.process = TRY(parse_process(TRY(top.member("process"))));
  spec.process.personality = TRY(parse_personality(TRY(TRY(top.member("linux")).member("personality"))));
  if (!(spec.namespaces & CLONE_NEWUTS) && !(spec.hostname.empty() && spec.domainname.empty())) {
    return fail("hostname and domainname need a uts namespace", EINVAL);
  }
  return spec;
}

}  // namespace nacre::guest
