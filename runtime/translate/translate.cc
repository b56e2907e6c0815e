#include "runtime/translate/translate.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "guest-init/protocol/protocol.h"

namespace nacre::runtime {

namespace {

using Json = nlohmann::json;

constexpr const char* kRootTarget = "rootfs";
constexpr unsigned kMaxCpus = 64;
constexpr uint64_t kMemoryUnit = 2ull << 20;  // vmm's
constexpr uint64_t kMaxMemory = 1ull << 46;

// panic=-1 and reboot=k: a kernel that panics, or whose init ends, pulls the reset line at once, and vmm ends.
// (reboot=t would be a triple fault, which vmm tells apart.)
constexpr const char* kCommandLine =
    "rdinit=/init panic=-1 reboot=k pci=off nomodule tsc=reliable no_timer_check rcupdate.rcu_expedited=1 "
    "random.trust_cpu=on i8042.noaux cryptomgr.notests net.ifnames=0 swiotlb=noforce";
constexpr const char* kSilent = " quiet 8250.nr_uarts=0";  // a serial line takes an exit to the host for each character
constexpr const char* kConsole = " console=ttyS0";

std::string mount_target(size_t number) {
  return "mounts/" + std::to_string(number);
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

Result<unsigned> parse_cpus(const std::string& text) {
  unsigned cpus = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpus);
  if (error != std::errc() || end != text.data() + text.size() || cpus < 1 || cpus > kMaxCpus) {
    return fail(std::string("annotations.") + kCpusAnnotation + ": must be a number from 1 to 64", EINVAL);
  }
  return cpus;
}

const Json& member(const Json& object, const char* name) {
  static const Json kNothing = Json::object();
  auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

uint64_t memory_for(const Json& resources) {
  int64_t limit = member(resources, "memory").value("limit", int64_t{0});
  if (limit <= 0 || static_cast<uint64_t>(limit) > kMaxMemory) return kDefaultMemory;  // none that acts
  uint64_t wanted = static_cast<uint64_t>(limit) + kGuestOverhead;
  return std::max(kDefaultMemory, (wanted + kMemoryUnit - 1) / kMemoryUnit * kMemoryUnit);
}

// One past the highest number in a list like "0-3,7".
unsigned cpus_in_set(const std::string& set) {
  unsigned highest = 0;
  const char* position = set.data();
  const char* end = position + set.size();
  while (position < end) {
    unsigned number = 0;
    auto [next, error] = std::from_chars(position, end, number);
    if (error == std::errc()) highest = std::max(highest, std::min(number, kMaxCpus) + 1);
    position = error == std::errc() ? next : position + 1;
  }
  return highest;
}

unsigned cpus_for(const Json& resources) {
  const Json& cpu = member(resources, "cpu");
  int64_t quota = cpu.value("quota", int64_t{0});
  constexpr uint64_t kDefaultPeriod = 100'000;  // microseconds, as the kernel's
  uint64_t period = cpu.value("period", uint64_t{0});
  if (period == 0) period = kDefaultPeriod;
  uint64_t from_quota = quota <= 0 ? 0 : (static_cast<uint64_t>(quota) - 1) / period + 1;
  auto on_host = static_cast<uint64_t>(std::max(1l, ::sysconf(_SC_NPROCESSORS_ONLN)));
  uint64_t cpus = std::max<uint64_t>({kDefaultCpus, std::min(from_quota, on_host), cpus_in_set(cpu.value("cpus", ""))});
  return static_cast<unsigned>(std::min<uint64_t>(cpus, kMaxCpus));
}

}  // namespace

Result<Parts> find_parts() {
  std::string directory = TRY(program_directory());
  std::string library = directory + "/../lib/nacre/";
  return Parts{.vmm = from_environment("NACRE_VMM", directory + "/vmm"),
               .kernel = from_environment("NACRE_KERNEL", library + "vmlinux"),
               .initramfs = from_environment("NACRE_INITRAMFS", library + "initramfs.cpio")};
}

Result<vmm::Config> to_vm(const oci::Config& config, const Parts& parts, bool debug) {
  vmm::Config vm;
  vm.kernel = parts.kernel;
  vm.initrd = parts.initramfs;
  vm.cmdline = std::string(kCommandLine) + (debug ? kConsole : kSilent);
  vm.console = debug;
  const Json& resources = member(member(config.json, "linux"), "resources");
  vm.memory = memory_for(resources);
  vm.cpus = cpus_for(resources);
  if (auto found = config.annotations.find(kMemoryAnnotation); found != config.annotations.end()) {
    vm.memory = TRY_CONTEXT(vmm::parse_size(found->second), std::string("annotations.") + kMemoryAnnotation);
  }
  if (auto found = config.annotations.find(kCpusAnnotation); found != config.annotations.end()) {
    vm.cpus = TRY(parse_cpus(found->second));
  }
  vmm::Fs share{.tag = protocol::kShareTag, .path = "", .readonly = false, .mounts = {}};
  share.mounts.push_back({.source = config.rootfs, .target = kRootTarget, .readonly = config.rootfs_readonly});
  size_t number = 0;
  for (const oci::Mount& mount : config.mounts) {
    if (!mount.bind) continue;
    share.mounts.push_back({.source = mount.source, .target = mount_target(number++), .readonly = mount.readonly});
  }
  vm.fs.push_back(std::move(share));
  vm.vsock = vmm::Vsock{};
  vm.jail.enabled = true;
  return vm;
}

Json to_guest(const oci::Config& config) {
  Json json = config.json;
  std::string share = std::string(protocol::kShareMountPoint) + "/";
  json["root"]["path"] = share + kRootTarget;
  size_t number = 0;
  for (const oci::Mount& mount : config.mounts) {
    if (mount.bind) json["mounts"][mount.index]["source"] = share + mount_target(number++);
  }
  return json;
}

}  // namespace nacre::runtime
