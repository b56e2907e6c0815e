#include "runtime/plan/translate.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "guest-init/protocol/protocol.h"
#include "oci/rlimit_names.h"
#include "runtime/vm/sizing.h"
#include "vmm/api/command_line.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr const char* kRootTarget = "rootfs";

// The kernel decides which of the memory that comes later can go again, and which may be used by itself.
constexpr const char* kGrows = " memory_hotplug.online_policy=auto-movable";

std::string mount_target(size_t number) {
  return "mount-" + std::to_string(number);
}

Result<std::string> program_directory() {
  std::array<char, PATH_MAX> path;
  ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length < 0) return fail_errno("readlink /proc/self/exe");
  std::string text(path.data(), static_cast<size_t>(length));
  return text.substr(0, text.rfind('/'));
}

std::string from_environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

Result<unsigned> parse_cpus(const char* name, const std::string& text) {
  unsigned cpus = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpus);
  if (error != std::errc() || end != text.data() + text.size() || cpus < 1 || cpus > kMaxCpus) {
    return fail(std::string("annotations.") + name + ": must be a number from 1 to 64", EINVAL);
  }
  return cpus;
}

// By linux.resources and the host, or as annotations have it.
Result<void> set_size(const oci::Config& config, vmm::Config& vm) {
  HostSize host = host_size();
  VmSize size = size_for(resources_of(config), host);
  auto memory = [&](const char* name, uint64_t otherwise) -> Result<uint64_t> {
    auto found = config.annotations.find(name);
    if (found == config.annotations.end()) return otherwise;
    return TRY_CONTEXT(vmm::parse_size(found->second), std::string("annotations.") + name);
  };
  auto cpus = [&](const char* name, unsigned otherwise) -> Result<unsigned> {
    auto found = config.annotations.find(name);
    if (found == config.annotations.end()) return otherwise;
    return parse_cpus(name, found->second);
  };
  size.memory = vm.memory = TRY(memory(kMemoryAnnotation, size.memory));
  size.cpus = vm.cpus = TRY(cpus(kCpusAnnotation, size.cpus));
  VmSize largest = largest_size(size, host);
  vm.max_memory = std::max(vm.memory, TRY(memory(kMaxMemoryAnnotation, largest.memory)));
  vm.max_cpus = std::max(vm.cpus, TRY(cpus(kMaxCpusAnnotation, largest.cpus)));
  if (vm.max_memory > vm.memory) vm.cmdline += kGrows;
  return {};
}

bool names_itself(const Json& config) {
  auto hostname = config.find("hostname");
  return hostname != config.end() && *hostname != "";
}

// A container without a name of its own has its host's, as under runc; also one without a uts namespace, though it
// may then change it without the host's hearing of it.
void inherit_hostname(Json& config, bool joins_uts) {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (joins_uts) return;
  if (names_itself(config) || ::gethostname(name.data(), name.size() - 1) < 0) return;
  Json& namespaces = config["linux"]["namespaces"];
  bool own = std::ranges::any_of(namespaces, [](const Json& entry) { return entry["type"] == "uts"; });
  if (!own) namespaces.push_back({{"type", "uts"}});
  config["hostname"] = name.data();
}

// Some process of the container may: it has the capability, over the machine and not a user namespace alone.
bool may_make_device_nodes(const oci::Config& config) {
  const Json::json_pointer kBounding("/process/capabilities/bounding"), kNamespaces("/linux/namespaces");
  if (!config.json.contains(kBounding)) return false;
  auto is_user = [](const Json& entry) { return entry["type"] == "user"; };
  if (config.json.contains(kNamespaces) && std::ranges::any_of(config.json[kNamespaces], is_user)) return false;
  return std::ranges::find(config.json[kBounding], "CAP_MKNOD") != config.json[kBounding].end();
}

}  // namespace

Result<Parts> find_parts() {
  std::string directory = TRY(program_directory());
  std::string library = directory + "/../lib/nacre/";
  return Parts{.vmm = from_environment("NACRE_VMM", directory + "/vmm"),
               .kernel = from_environment("NACRE_KERNEL", library + "vmlinux"),
               .initramfs = from_environment("NACRE_INITRAMFS", library + "initramfs.cpio")};
}

const Json& resources_of(const oci::Config& config) {
  static const Json kNothing = Json::object();
  auto linux = config.json.find("linux");
  if (linux == config.json.end()) return kNothing;
  auto resources = linux->find("resources");
  return resources == linux->end() ? kNothing : *resources;
}

std::vector<ServedMount> served_mounts(const oci::Config& config, const std::string& prefix) {
  std::vector<ServedMount> served;
  size_t number = 0;
  for (const oci::Mount& mount : config.mounts) {
    served.push_back({.destination = mount.destination,
                      .source = mount.source,
                      .target = mount.bind ? prefix + mount_target(number++) : "",
                      .recursive = mount.recursive,
                      .readonly_below = mount.readonly_below,
                      .follows = mount.follows});
  }
  return served;
}

Result<vmm::Config> to_vm(const oci::Config& config, const Parts& parts, bool debug, const std::string& prefix) {
  vmm::Config vm;
  vm.kernel = parts.kernel;
  vm.initrd = parts.initramfs;
  vm.cmdline = vmm::default_command_line(debug);
  vm.console = debug;
  TRY(set_size(config, vm));
  vmm::Fs share{.tag = protocol::kShareTag, .path = "", .readonly = false, .mounts = {}};
  share.mounts.push_back({.source = config.rootfs, .target = prefix + kRootTarget, .readonly = config.rootfs_readonly});
  auto served = served_mounts(config, prefix);
  for (size_t i = 0; i < served.size(); i++) {
    const oci::Mount& mount = config.mounts[i];
    if (!mount.bind) continue;
    share.mounts.push_back({.source = mount.source,
                            .target = served[i].target,
                            .readonly = mount.readonly,
                            .recursive = mount.recursive,
                            .readonly_below = mount.readonly_below});
  }
  vm.fs.push_back(std::move(share));
  vm.vsock = vmm::Vsock{};
  vm.jail = {.enabled = true, .device_nodes = may_make_device_nodes(config)};
  return vm;
}

void inherit_rlimits(Json& process) {
  Json& limits = process["rlimits"];
  if (limits.is_null()) limits = Json::array();
  for (auto [name, resource] : oci::kRlimits) {
    bool given = std::ranges::any_of(limits, [&](const Json& limit) { return limit["type"] == name; });
    rlimit own;
    if (given || ::getrlimit(static_cast<__rlimit_resource_t>(resource), &own) < 0) continue;
    limits.push_back({{"type", name}, {"soft", own.rlim_cur}, {"hard", own.rlim_max}});
  }
}

Json to_guest(const oci::Config& config, const std::string& prefix) {
  Json json = config.json;
  std::string share = std::string(protocol::kShareMountPoint) + "/" + prefix;
  json["root"]["path"] = share + kRootTarget;
  inherit_rlimits(json["process"]);
  inherit_hostname(json, config.joins.contains("uts"));
  if (json.contains("linux")) {
    json["linux"].erase("seccomp");  // travels compiled
    json["linux"].erase("memoryPolicy");
    json["linux"].erase("intelRdt");
  }
  auto served = served_mounts(config);
  for (size_t i = 0; i < served.size(); i++) {
    const oci::Mount& mount = config.mounts[i];
    if (mount.bind) json["mounts"][mount.index]["source"] = share + served[i].target;
  }
  keep_tmpfs_modes(config, json);
  return json;
}

}  // namespace nacre::runtime
