// SPDX-License-Identifier: Apache-2.0
// Fuzzes guest-init's reading of what a container is to be: the host may have been taken over, and its checks with it.
//
// The input chooses an object (the container, a process, its hooks) and changes a sound one in a few places. What is
// accepted is within the bounds that the rest of guest-init counts on: names that are names, numbers that the kernel
// has, and paths below /proc/sys that stay there.
#include <sys/stat.h>

#include "guest-init/spec/spec.h"
#include "tests/fuzz/sound_config.h"

namespace {

using namespace nacre;
using fuzz::Json;

constexpr int kMaxChanges = 4;

bool has_nul(const std::string& text) {
  return text.contains('\0');
}

void check_process(const guest::ProcessSpec& process) {
  fuzz::check(!process.args.empty(), "a process has no program");
  fuzz::check(process.cwd.starts_with('/'), "a process begins in a relative directory");
  fuzz::check(std::ranges::none_of(process.args, has_nul) && std::ranges::none_of(process.env, has_nul),
              "an argument has a NUL, where execve(2) ends it");
  fuzz::check((process.umask & ~07777u) == 0, "a umask has bits that there are not");
  for (const auto& rlimit : process.rlimits) {
    fuzz::check(rlimit.resource >= 0 && rlimit.resource < RLIM_NLIMITS, "a limit of a resource that there is not");
  }
  if (process.oom_score_adj) {
    fuzz::check(*process.oom_score_adj >= -1000 && *process.oom_score_adj <= 1000, "an OOM score beyond the kernel's");
  }
}

void check_limits(const guest::Limits& limits) {
  for (const oci::CgroupFile& file : limits.files) {
    bool is_name = !file.name.empty() && !file.name.contains('/') && file.name != "." && file.name != "..";
    fuzz::check(is_name && !has_nul(file.name), "a limit is a file outside the cgroup");
  }
}

void check_container(const guest::ContainerSpec& container) {
  check_process(container.process);
  check_limits(container.limits);
  for (const auto& [path, value] : container.sysctls) {
    fuzz::check(!path.empty() && !path.starts_with('/') && !("/" + path + "/").contains("/../"),
                "a sysctl leads out of /proc/sys");
  }
  for (const guest::DeviceSpec& device : container.devices) {
    bool is_special = S_ISCHR(device.type) || S_ISBLK(device.type) || S_ISFIFO(device.type);
    fuzz::check(is_special && (device.mode & S_IFMT) == 0, "a device is none");
  }
  for (const guest::MountSpec& mount : container.mounts) {
    fuzz::check(!mount.destination.empty(), "a mount has no place");
  }
  fuzz::check(!(container.joined & ~container.namespaces), "a namespace is another's and none");
}

// Makes of a sound configuration what the host sends: paths in the guest, and nothing that acts on the host alone.
Json config_for_guest() {
  Json config = fuzz::sound_config();
  config["root"]["path"] = "/share/rootfs";
  for (Json& mount : config["mounts"]) {
    if (mount["type"] == "bind") mount["source"] = "/share/b";
  }
  for (const char* field : {"seccomp", "memoryPolicy", "cgroupsPath"}) config["linux"].erase(field);
  auto container = guest::parse_container(config);
  fuzz::check(container.has_value(), container ? "" : container.error().message());
  return config;
}

template <typename Spec>
bool accepted(const Result<Spec>& spec) {
  if (!spec) fuzz::check(!spec.error().message().empty(), "a refusal without a word");
  return spec.has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Json sound = config_for_guest();
  static const Json parts = sound.flatten();
  fuzz::silence_log();
  fuzz::Input input(data, size);
  auto which = input.take<uint8_t>();
  Json config = fuzz::changed(sound, parts, input, kMaxChanges);
  switch (which % 4) {
    case 0:
    case 1: {
      auto container = guest::parse_container(config);
      if (accepted(container)) check_container(*container);
      break;
    }
    case 2: {
      const Json process = config.is_object() ? config.value("process", Json()) : config;
      auto spec = guest::parse_process(guest::JsonField(&process, "process"));
      if (accepted(spec)) check_process(*spec);
      break;
    }
    default: {
      auto hooks = guest::parse_start_hooks(config, "one", "/bundle");
      if (!accepted(hooks)) break;
      for (const guest::HookSpec& hook : hooks->hooks) {
        fuzz::check(hook.path.starts_with('/'), "a hook has a relative path");
        fuzz::check(!hook.timeout_s || *hook.timeout_s > 0, "a hook has no time");
      }
    }
  }
  return 0;
}
