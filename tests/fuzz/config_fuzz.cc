// SPDX-License-Identifier: Apache-2.0
// Fuzzes what is made of config.json: the schema, the checks, the plan, and guest-init's reading of the plan.
//
// An input is either the text itself or a list of up to three changes of a sound configuration, since random text is
// seldom JSON: its first byte says which. A change is a place (two bytes) and a value (two bytes). What is refused is
// refused with a message, and what vmm is to be started with is sound in vmm's own eyes.
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "guest-init/spec/spec.h"
#include "runtime/config/config.h"
#include "runtime/plan/plan.h"
#include "tests/fuzz/input.h"
#include "vmm/api/config.h"

namespace {

using namespace nacre;
using Json = nlohmann::json;

// Adds the fields that the template lacks.
constexpr const char* kMore = R"({
  "process": {"user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3]}, "terminal": false,
    "scheduler": {"policy": "SCHED_FIFO", "priority": 3}, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "execCPUAffinity": {"initial": "0", "final": "0-1"}, "consoleSize": {"height": 5, "width": 6}},
  "domainname": "domain",
  "hooks": {"createRuntime": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 3}],
    "startContainer": [{"path": "/bin/true"}]},
  "annotations": {"nacre.vm.memory": "256M", "nacre.vm.cpus": "2", "run.oci.keep_original_groups": "1"},
  "linux": {
    "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
      {"type": "cgroup"}, {"type": "time"}, {"type": "user"}],
    "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
    "sysctl": {"kernel.msgmax": "4096", "net.ipv4.ip_forward": "1"},
    "cgroupsPath": "/a/b",
    "timeOffsets": {"boottime": {"secs": 3, "nanosecs": 4}},
    "personality": {"domain": "LINUX"},
    "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
    "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
    "resources": {
      "memory": {"limit": 67108864, "swap": 134217728, "reservation": 1, "swappiness": 5},
      "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 5, "cpus": "0-1", "mems": "0", "idle": 0},
      "pids": {"limit": 10}, "hugepageLimits": [{"pageSize": "2MB", "limit": 5}],
      "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 5}]},
      "rdma": {"mlx": {"hcaHandles": 3}}, "unified": {"memory.high": "5M"},
      "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]},
    "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
      "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]}},
  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=755", "ro"]},
    {"destination": "/b", "type": "bind", "source": "rootfs", "options": ["rbind", "rro", "rslave"],
      "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}], "gidMappings": [{"containerID": 0, "hostID": 1, "size": 2}]}]
})";

Json sound_config() {
  Json config = Json::parse(oci::template_config(false));
  config.merge_patch(Json::parse(kMore));
  return config;
}

struct World {
  World() {
    set_log_sink([](LogLevel, std::string_view) {});
    const char* base = std::getenv("TMPDIR");
    bundle = std::string(base != nullptr ? base : "/tmp") + "/nacre-config-fuzz-XXXXXX";
    if (::mkdtemp(bundle.data()) == nullptr) std::abort();
    std::filesystem::create_directory(bundle + "/rootfs");
    facts.parts = {.vmm = "/p/vmm", .kernel = "/p/vmlinux", .initramfs = "/p/initramfs"};
    facts.size = {.memory = 8ull << 30, .cpus = 4};
    facts.unique_prefix = "7:";
  }
  ~World() { std::filesystem::remove_all(bundle); }

  std::string bundle;
  runtime::HostFacts facts{};
  Json sound = sound_config();
  Json parts = sound.flatten();  // by their places
};

// Returns a value that a field may not expect. Most are of the type that is there: others seldom pass the first check.
Json value_for(const Json& now, uint8_t kind, uint8_t which, const Json& parts) {
  static const std::vector<Json> kValues = {nullptr,
                                            true,
                                            false,
                                            0,
                                            -1,
                                            1,
                                            7,
                                            65536,
                                            INT64_MIN,
                                            UINT64_MAX,
                                            1.5,
                                            1e300,
                                            "",
                                            "a",
                                            "0",
                                            "-1",
                                            "/",
                                            "..",
                                            "../../x",
                                            "/proc/self/ns/pid",
                                            "a\nb",
                                            std::string("a\0b", 3),
                                            "\x1b[31m",
                                            "1G",
                                            "0-3,7",
                                            "=",
                                            "bind",
                                            "rslave",
                                            "SCMP_ACT_NOTIFY",
                                            std::string(5000, 'x'),
                                            Json::array(),
                                            Json::object(),
                                            Json::array({""}),
                                            {{"", 1}}};
  if (kind == UINT8_MAX) {
    Json deep = which;
    for (int level = 0; level < 4 * which; level++) deep = Json::array({std::move(deep)});
    return deep;
  }
  if (kind % 4 == 0) return kValues[which % kValues.size()];
  if (kind % 4 == 1)
    return std::next(parts.begin(), (kind << 8 | which) % static_cast<ptrdiff_t>(parts.size())).value();
  std::vector<Json> alike;
  for (const Json& value : kValues) {
    if (value.type() == now.type() || (value.is_number() && now.is_number())) alike.push_back(value);
  }
  return alike[which % alike.size()];
}

// Lists every place of a configuration, objects and lists included.
void list_places(const Json& value, const Json::json_pointer& at, std::vector<Json::json_pointer>& places) {
  places.push_back(at);
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) list_places(member, at / name, places);
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); i++) list_places(value[i], at / i, places);
  }
}

std::string changed(const World& world, fuzz::Input& input) {
  Json config = world.sound;
  for (int changes = 0; changes < 3 && !input.empty(); changes++) {
    std::vector<Json::json_pointer> places;
    list_places(config, Json::json_pointer(), places);
    Json& place = config[places[input.take<uint16_t>() % places.size()]];
    auto kind = input.take<uint8_t>();
    place = value_for(place, kind, input.take<uint8_t>(), world.parts);
  }
  return config.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void check_message(const std::string& text) {
  if (text.empty()) std::abort();
}

void try_config(const World& world) {
  auto config = oci::load_config(world.bundle, "", {});
  if (!config) return check_message(config.error().message());
  for (const std::string& warning : config->warnings) check_message(warning);
  auto plan = runtime::make_plan(*config, world.facts, {.id = "one", .directory = "/run/nacre/one"});
  if (!plan) return check_message(plan.error().message());
  if (!vmm::check(plan->vm.config)) std::abort();
  if (!vmm::parse_toml(vmm::to_toml(plan->vm.config))) std::abort();
  auto spec = guest::parse_container(plan->guest.config);
  if (!spec) check_message(spec.error().message());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const World world;
  fuzz::Input input(data, size);
  bool is_text = input.take<uint8_t>() % 4 == 0;
  auto rest = input.rest();
  std::string text(reinterpret_cast<const char*>(rest.data()), rest.size());
  if (!is_text) {
    fuzz::Input changes(data + 1, rest.size());
    text = changed(world, changes);
  }
  std::ofstream(world.bundle + "/config.json", std::ios::trunc) << text;
  try_config(world);
  return 0;
}
