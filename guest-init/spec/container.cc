// SPDX-License-Identifier: Apache-2.0
#include <linux/sched.h>
#include <sys/personality.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/log.h"
#include "guest-init/protocol/messages.h"
#include "guest-init/spec/spec.h"
#include "oci/cpu_list.h"

namespace nacre::guest {

namespace {

struct NamedNamespace {
  std::string_view name;
  uint64_t flag;
};

constexpr NamedNamespace kNamespaces[] = {{"pid", CLONE_NEWPID},   {"mount", CLONE_NEWNS},      {"uts", CLONE_NEWUTS},
                                          {"ipc", CLONE_NEWIPC},   {"cgroup", CLONE_NEWCGROUP}, {"user", CLONE_NEWUSER},
                                          {"time", CLONE_NEWTIME}, {"network", CLONE_NEWNET}};
constexpr const char* kClocks[] = {"monotonic", "boottime"};
constexpr int64_t kNanoseconds = 1'000'000'000;

Result<void> parse_namespaces(const JsonField& field, ContainerSpec& spec) {
  uint64_t& flags = spec.namespaces;
  for (const JsonField& entry : TRY(field.list())) {
    std::string type = TRY(TRY(entry.member("type")).string());
    // The virtual machine's own network is the container's network namespace, and the host decides which of its own
    // that is joined to: with or without a path there is nothing to make here.
    if (type == "network") {
      spec.lists_network = true;
      continue;
    }
    uint64_t flag = namespace_flag(type);
    if (flag == 0) return fail(type + " namespaces are not supported by this version", ENOTSUP);
    if (TRY(entry.member("path")).asks()) {
      return fail("joining a " + type + " namespace by its path is not supported by this version", ENOTSUP);
    }
    if (flags & flag) return entry.fails("repeats the " + type + " namespace");
    flags |= flag;
  }
  // Without a mount namespace of its own the container would mount in the machine's.
  flags |= CLONE_NEWNS;
  // But the machine's network belongs to the machine's user namespace: root of another has no right over it, and
  // cannot mount sysfs.
  if ((flags & CLONE_NEWUSER) && spec.lists_network) flags |= CLONE_NEWNET;
  return {};
}

// Reads the mappings, which count only with a user namespace, as under runc.
Result<void> parse_user_namespace(const JsonField& linux, ContainerSpec& spec) {
  if (!(spec.namespaces & CLONE_NEWUSER)) return {};
  auto mappings = TRY(parse_mappings(linux));
  if (mappings) spec.user = std::move(*mappings);
  for (auto [ids, what] : {std::pair(&spec.user.uids, "uid"), std::pair(&spec.user.gids, "gid")}) {
    if (ids->empty()) return fail(std::string("User namespaces enabled, but no ") + what + " mappings found", EINVAL);
    if (!outside_id(*ids, 0))
      return fail(std::string("User namespaces enabled, but no ") + what + " 0 is mapped", EINVAL);
  }
  return {};
}

Result<std::vector<ClockOffset>> parse_clock_offsets(const JsonField& field, uint64_t namespaces) {
  std::vector<ClockOffset> offsets;
  for (const auto& [clock, value] : TRY(field.members())) {
    if (!(namespaces & CLONE_NEWTIME)) return fail(field.path() + " needs a time namespace", EINVAL);
    if (std::ranges::find(kClocks, clock) == std::end(kClocks)) return value.fails("is of an unknown clock");
    offsets.push_back({.clock = clock, .seconds = 0, .nanoseconds = 0});
    offsets.back().seconds = TRY(TRY(value.member("secs")).integer(INT64_MIN, INT64_MAX, 0));
    offsets.back().nanoseconds = TRY(TRY(value.member("nanosecs")).integer(0, kNanoseconds - 1, 0));
  }
  return offsets;
}

// Makes a path of a sysctl's name, "net.ipv4.ip_forward" or "net/ipv4/conf/eth0.1/forwarding", as sysctl(8) does: the
// first kind of separator that is seen is the separator.
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

Result<std::optional<unsigned long>> parse_personality(const JsonField& field) {
  if (!field.present()) return std::nullopt;
  if (TRY(field.member("flags")).asks()) return field.fails("has flags, which are not supported");
  std::string domain = TRY(TRY(field.member("domain")).string());
  if (domain == "LINUX") return PER_LINUX;
  if (domain == "LINUX32") return PER_LINUX32;
  return field.fails("has the unknown domain \"" + domain + "\"");
}

Result<void> refuse_unsupported(const JsonField& linux) {
  for (const char* name :
       {"intelRdt", "netDevices", "memoryPolicy", "seccomp"}) {  // seccomp comes compiled, beside the configuration
    JsonField field = TRY(linux.member(name));
    if (field.asks()) return fail(field.path() + " is not supported by this version", ENOTSUP);
  }
  JsonField label = TRY(linux.member("mountLabel"));
  if (label.asks()) log_warn("ignoring " + label.path());
  return {};
}

Result<void> parse_linux(const JsonField& linux, ContainerSpec& spec) {
  TRY(refuse_unsupported(linux));
  TRY(parse_namespaces(TRY(linux.member("namespaces")), spec));
  TRY(parse_user_namespace(linux, spec));
  spec.clock_offsets = TRY(parse_clock_offsets(TRY(linux.member("timeOffsets")), spec.namespaces));
  for (const JsonField& device : TRY(TRY(linux.member("devices")).list())) {
    spec.devices.push_back(TRY(parse_device(device)));
  }
  spec.masked_paths = TRY(TRY(linux.member("maskedPaths")).strings());
  spec.readonly_paths = TRY(TRY(linux.member("readonlyPaths")).strings());
  for (const auto& [name, value] : TRY(TRY(linux.member("sysctl")).members())) {
    spec.sysctls.emplace_back(TRY(sysctl_path(name)), TRY(value.string()));
  }
  JsonField propagation = TRY(linux.member("rootfsPropagation"));
  if (propagation.asks()) {
    spec.root_propagation = TRY(parse_propagation(TRY(propagation.string())));
    if (spec.root_propagation == 0) return propagation.fails("is unknown");
  }
  JsonField resources = TRY(linux.member("resources"));
  spec.limits = TRY(parse_resources(resources));
  spec.device_rules = TRY(parse_device_rules(TRY(resources.member("devices"))));
  return {};
}

}  // namespace

uint64_t namespace_flag(std::string_view type) {
  for (const auto& known : kNamespaces) {
    if (known.name == type) return known.flag;
  }
  return 0;
}

// cpuset.cpus and cpuset.mems have numbers of the host. In the guest the container has as many CPUs of the machine, and
// the machine's only memory node.
Result<Limits> parse_resources(const JsonField& resources) {
  std::vector<oci::CgroupFile> files = TRY(oci::cgroup_files(resources, false));
  Limits limits;
  bool has_nodes = false;
  for (const oci::CgroupFile& file : files) {
    if (file.name == "cpuset.cpus") limits.cpus = oci::count_cpus(file.value, protocol::kMaxCpus);
    if (file.name == "cpuset.mems") has_nodes = true;
  }
  limits.files = oci::files_on(oci::Side::guest, std::move(files));
  if (has_nodes) limits.files.push_back({.name = "cpuset.mems", .value = "0", .optional = true});
  return limits;
}

Result<ContainerSpec> parse_container(const Json& config) {
  ContainerSpec spec;
  JsonField top(&config, "");
  if (!config.is_object()) return fail("config is not an object", EINVAL);
  JsonField root = TRY(top.member("root"));
  spec.root_path = TRY(TRY(root.member("path")).string());
  if (spec.root_path.empty() || spec.root_path[0] != '/') return fail("root.path is not an absolute path", EINVAL);
  spec.root_readonly = TRY(TRY(root.member("readonly")).boolean(false));
  spec.hostname = TRY(TRY(top.member("hostname")).string(""));
  spec.domainname = TRY(TRY(top.member("domainname")).string(""));
  TRY(parse_linux(TRY(top.member("linux")), spec));
  for (const JsonField& mount : TRY(TRY(top.member("mounts")).list())) {
    spec.mounts.push_back(TRY(parse_mount(mount)));
    auto& ids = spec.mounts.back().ids;
    if (ids && ids->uids.empty() && ids->gids.empty()) ids = spec.user;
    if (ids && (ids->uids.empty() || ids->gids.empty())) {
      return mount.fails("has mapped ids without mappings of users and groups");
    }
  }
  spec.process = TRY(parse_process(TRY(top.member("process"))));
  TRY(check_user(spec.process, spec));
  spec.process.personality = TRY(parse_personality(TRY(TRY(top.member("linux")).member("personality"))));
  if (!(spec.namespaces & CLONE_NEWUTS) && !(spec.hostname.empty() && spec.domainname.empty())) {
    return fail("hostname and domainname need a uts namespace", EINVAL);
  }
  return spec;
}

}  // namespace nacre::guest
