// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "runtime/plan/memory_policy.h"
#include "runtime/plan/mountpoints.h"
#include "runtime/plan/passes.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

// A host as no test machine is.
runtime::HostFacts invented_host() {
  return {.parts = {.vmm = "/p/vmm", .kernel = "/p/vmlinux", .initramfs = "/p/initramfs"},
          .size = {.memory = 8ull << 30, .cpus = 4},
          .administrator = {},
          .secret = "a boot of the host",
          .hostname = "invented",
          .rlimits = {},
          .groups = {},
          .is_unprivileged = false,
          .uid = 0,
          .gid = 0,
          .has_notify_socket = false,
          .has_apparmor = false,
          .has_selinux = false,
          .resctrl = {},
          .unique_prefix = "7:",
          .sources = {},
          .missing_destinations = {},
          .namespaces = {}};
}

oci::Config config_with(const char* resources) {
  oci::Config config;
  config.rootfs = "/images/one";
  config.rootfs_readonly = true;
  config.json = {{"process", {{"args", {"sh"}}, {"cwd", "/"}}},
                 {"root", {{"path", "one"}}},
                 {"linux", {{"resources", Json::parse(resources)}}}};
  return config;
}

Result<runtime::ContainerPlan> plan(const oci::Config& config, bool debug = false,
                                    const runtime::HostFacts& facts = invented_host()) {
  return runtime::make_plan(config, facts, {.id = "one", .directory = "/run/nacre/one", .debug = debug});
}

Result<vmm::Config> vm_of(const oci::Config& config, bool debug = false) {
  return TRY(plan(config, debug)).vm.config;
}

std::string error_of(const oci::Config& config, const runtime::HostFacts& facts) {
  auto planned = plan(config, false, facts);
  return planned ? "" : planned.error().message();
}

oci::Mount mount_on(const char* destination, const char* type, const char* source) {
  return {.name = "mounts[0]",
          .type = type,
          .destination = destination,
          .source = source,
          .bind = std::string(type) == "bind",
          .share_path = "mount-0",
          .json = {{"destination", destination}, {"type", type}, {"source", source}, {"options", {"ro", "rbind"}}}};
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_confines_the_container_needs_a_host_that_has_it) {
  oci::Config config = config_with("{}");
  runtime::HostFacts with = invented_host();
  with.has_apparmor = with.has_selinux = true;
  config.confinement.apparmor_profile = "one";
  BOOST_TEST(error_of(config, invented_host()) ==
             "config.json: apparmor failed to apply profile one: this host has no AppArmor");
  config.confinement = {.apparmor_profile = "", .selinux_label = "two"};
  BOOST_TEST(error_of(config, invented_host()) ==
             "config.json: selinux label is specified in config, but selinux is disabled or not supported");
  config.confinement = {};
  config.mount_label = "three";
  BOOST_TEST(error_of(config, invented_host()) == "config.json: linux.mountLabel: this host has no SELinux");

  config.confinement = {.apparmor_profile = "one", .selinux_label = "two"};
  config.mounts = {mount_on("/disk", "ext4", "/dev/sda"), mount_on("/tmp", "tmpfs", "tmpfs")};
  auto planned = plan(config, false, with);
  BOOST_REQUIRE_MESSAGE(planned, planned.error().message());
  BOOST_TEST((planned->host.confinement == config.confinement));
  BOOST_TEST(planned->vm.config.jail.apparmor_profile == "one");
  BOOST_TEST(planned->vm.config.jail.selinux_label == "two");
  BOOST_TEST(planned->vm.config.jail.mount_label == "three");
  // The guest's kernel knows no labels: only what the host mounts gets one.
  BOOST_REQUIRE(planned->host.filesystems.size() == 1u);
  BOOST_TEST(planned->host.filesystems[0].data.ends_with("context=\"three\""));
}

BOOST_AUTO_TEST_CASE(one_share_holds_root_and_volumes) {
  oci::Config config = config_with("{}");
  config.mounts = {mount_on("/proc", "proc", "proc"), mount_on("/a", "bind", "/x"), mount_on("/b", "bind", "/y")};
  config.mounts[2].share_path = "mount-1";
  config.mounts[2].readonly = true;
  auto planned = plan(config);
  BOOST_REQUIRE(planned);
  const vmm::Config* vm = &planned->vm.config;
  BOOST_TEST(vm->kernel == "/p/vmlinux");
  BOOST_TEST(vm->initrd == "/p/initramfs");
  BOOST_TEST(vm->jail.enabled);
  BOOST_TEST(!vm->console);
  BOOST_REQUIRE(vm->fs.size() == 1u);
  BOOST_TEST(vm->fs[0].tag == "nacre");
  BOOST_TEST(vm->fs[0].path == "");
  const auto& mounts = vm->fs[0].mounts;
  BOOST_REQUIRE(mounts.size() == 3u);
  BOOST_TEST((mounts[0].source == "/images/one" && mounts[0].target == "rootfs" && mounts[0].readonly));
  BOOST_TEST((mounts[1].source == "/x" && mounts[1].target == "mount-0" && !mounts[1].readonly));
  BOOST_TEST((mounts[2].source == "/y" && mounts[2].target == "mount-1" && mounts[2].readonly));
  BOOST_TEST(vmm::check(*vm).has_value());

  const Json& guest = planned->guest.config;
  BOOST_TEST(guest["root"]["path"] == "/run/nacre/share/rootfs");
  BOOST_TEST(guest["mounts"][0]["source"] == "proc");
  BOOST_TEST(guest["mounts"][1]["source"] == "/run/nacre/share/mount-0");
  BOOST_TEST(guest["mounts"][2]["source"] == "/run/nacre/share/mount-1");

  // In a VM of several containers the names of each are its own.
  config.namespaces = {{.type = "pid", .path = "/proc/9/ns/pid"}};
  config.json["linux"]["namespaces"] = Json::parse(R"([{"type": "pid", "path": "/proc/9/ns/pid"}])");
  runtime::HostFacts facts = invented_host();
  facts.namespaces["pid"].owner = {.id = "pod", .vmm = {.pid = 5, .start_time = 6}};
  planned = plan(config, false, facts);
  BOOST_REQUIRE(planned);
  BOOST_TEST(planned->vm.config.fs[0].mounts[2].target == "7:mount-1");
  BOOST_TEST(planned->guest.config["mounts"][2]["source"] == "/run/nacre/share/7:mount-1");
  const auto& served = planned->host.mounts;
  BOOST_REQUIRE(served.size() == 3u);
  BOOST_TEST((served[0].destination == "/proc" && served[0].share_path.empty()));
  BOOST_TEST((served[2].destination == "/b" && served[2].source == "/y" && served[2].share_path == "7:mount-1"));
}

BOOST_AUTO_TEST_CASE(an_empty_tmpfs_on_dev_shm_is_the_guests) {
  oci::Config config = config_with("{}");
  config.mounts = {mount_on("/dev/shm", "bind", "/var/shm")};
  runtime::HostFacts facts = invented_host();
  runtime::SourceFacts& source = facts.sources["/var/shm"];
  source = {.filesystem = 0x01021994,
            .filesystem_size = 65536,
            .device = 3,
            .inode = 1,
            .mode = 01777,
            .uid = 0,
            .gid = 5,
            .is_mount_point = true,
            .is_empty = true};
  auto planned = plan(config, false, facts);
  BOOST_REQUIRE(planned);
  BOOST_TEST(planned->vm.config.fs[0].mounts.size() == 1u);
  BOOST_TEST(planned->guest.config["mounts"][0] ==
             Json::parse(R"({"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                             "options": ["ro", "mode=1777", "uid=0", "gid=5", "size=65536"]})"));
  // All containers call it the same, and not by the host's numbers.
  const Json key = planned->guest.shared_mounts.at("0");
  BOOST_TEST(plan(config, false, facts)->guest.shared_mounts.at("0") == key);
  BOOST_TEST(!key.get<std::string>().contains(':'));
  source.device = 4;
  BOOST_TEST(plan(config, false, facts)->guest.shared_mounts.at("0") != key);
  source.device = 3;
  facts.secret = "another boot";
  BOOST_TEST(plan(config, false, facts)->guest.shared_mounts.at("0") != key);
  source.is_empty = false;  // in use
  planned = plan(config, false, facts);
  BOOST_REQUIRE(planned);
  BOOST_TEST(planned->vm.config.fs[0].mounts.size() == 2u);
  BOOST_TEST(planned->guest.shared_mounts.empty());
}

BOOST_AUTO_TEST_CASE(the_hosts_proc_is_the_guests_wherever_it_is_mounted) {
  oci::Config config = config_with("{}");
  for (const char* place : {"/proc", "/host/proc"}) {
    config.mounts = {mount_on(place, "bind", "/proc")};
    runtime::HostFacts facts = invented_host();
    facts.sources["/proc"] = {.filesystem = 0x9fa0, .inode = 1};
    auto planned = plan(config, false, facts);
    BOOST_REQUIRE(planned);
    BOOST_TEST(planned->guest.config["mounts"][0]["type"] == "proc");
    BOOST_TEST(planned->guest.config["mounts"][0]["options"] == Json::parse(R"(["ro"])"));
    facts.sources["/proc"].inode = 4026531845;  // a directory below
    planned = plan(config, false, facts);
    BOOST_REQUIRE(!planned);
    BOOST_TEST(planned.error().message() == "bind mount of /proc: the host's /proc is not shared with a VM");
  }
}

BOOST_AUTO_TEST_CASE(the_host_mounts_what_only_it_can) {
  oci::Config config = config_with("{}");
  config.mounts = {mount_on("/v", "overlay", "overlay")};
  config.mounts[0].readonly = true;
  config.mounts[0].json["options"] = {"ro", "lowerdir=/l", "userxattr", "nosuid"};
  auto planned = plan(config);
  BOOST_REQUIRE(planned);
  BOOST_REQUIRE(planned->host.filesystems.size() == 1u);
  const auto& filesystem = planned->host.filesystems[0];
  BOOST_TEST((filesystem.name == "mounts[0]" && filesystem.place == "/run/nacre/one/mount-0"));
  BOOST_TEST(filesystem.data == "lowerdir=/l,userxattr");
  BOOST_TEST(planned->vm.config.fs[0].mounts[1].source == "/run/nacre/one/mount-0");
  BOOST_TEST(planned->guest.config["mounts"][0]["options"] == Json::parse(R"(["bind", "ro", "nosuid"])"));
}

BOOST_AUTO_TEST_CASE(a_tmpfs_on_a_place_that_the_host_makes_has_its_default_mode) {
  oci::Config config = config_with("{}");
  config.mounts = {mount_on("/a", "tmpfs", "tmpfs"), mount_on("/a/b", "tmpfs", "tmpfs"),
                   mount_on("/c", "tmpfs", "tmpfs")};
  runtime::HostFacts facts = invented_host();
  facts.missing_destinations = {"/a", "/a/b"};
  auto planned = plan(config, false, facts);
  BOOST_REQUIRE(planned);
  const Json& mounts = planned->guest.config["mounts"];
  BOOST_TEST(mounts[0]["options"][0] == "mode=1777");
  BOOST_TEST(mounts[1]["options"][0] == "ro");  // the directory is made in the tmpfs above
  BOOST_TEST(mounts[2]["options"][0] == "ro");
}

BOOST_AUTO_TEST_CASE(a_process_inherits_what_the_configuration_leaves_open) {
  oci::Config config = config_with("{}");
  config.json["process"]["rlimits"] = Json::parse(R"([{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}])");
  runtime::HostFacts facts = invented_host();
  facts.rlimits = {{.name = "RLIMIT_CORE", .soft = 8, .hard = 9}, {.name = "RLIMIT_NPROC", .soft = 3, .hard = 4}};
  facts.has_notify_socket = true;
  auto planned = runtime::make_plan(config, facts, {.id = "one", .directory = "/d", .debug = false, .listen_fds = 2});
  BOOST_REQUIRE(planned);
  const Json& guest = planned->guest.config;
  BOOST_TEST(guest["process"]["rlimits"] == Json::parse(R"([{"type": "RLIMIT_CORE", "soft": 1, "hard": 2},
                                                            {"type": "RLIMIT_NPROC", "soft": 3, "hard": 4}])"));
  BOOST_TEST(guest["process"]["env"] ==
             Json::parse(R"(["NOTIFY_SOCKET=/run/notify/notify.sock", "LISTEN_FDS=2", "LISTEN_PID=1"])"));
  BOOST_TEST(guest["mounts"][0]["source"] == "/run/nacre/notify/one");
  BOOST_TEST(planned->guest.notify);
  BOOST_TEST(guest["hostname"] == "invented");
  BOOST_TEST(guest["linux"]["namespaces"] == Json::parse(R"([{"type": "uts"}])"));
}

BOOST_AUTO_TEST_CASE(the_vm_gets_a_network_that_nobody_uses) {
  runtime::HostFacts facts = invented_host();
  const runtime::NamespaceOwner other{.id = "other", .vmm = {.pid = 7, .start_time = 8}};
  auto planned_with = [&](const oci::Namespace& wanted) {
    oci::Config config = config_with("{}");
    config.namespaces = {wanted};
    config.json["linux"]["namespaces"] = Json::array({{{"type", wanted.type}, {"path", wanted.path}}});
    auto planned = plan(config, false, facts);
    BOOST_REQUIRE(planned);
    return std::move(*planned);
  };
  BOOST_TEST(planned_with({.type = "network", .path = ""}).host.serves_network);
  BOOST_TEST(!planned_with({.type = "uts", .path = ""}).host.serves_network);
  const auto given = planned_with({.type = "network", .path = "/run/netns/a"});
  BOOST_TEST(given.host.serves_network);
  BOOST_TEST(given.warnings.empty());
  const auto of_process = planned_with({.type = "network", .path = "/proc/5/ns/net"});
  BOOST_TEST(!of_process.host.serves_network);
  BOOST_TEST(of_process.warnings.size() == 1u);

  facts.namespaces = {{"network", {.owner = other}}};
  const auto shared = planned_with({.type = "network", .path = "/proc/5/ns/net"});
  BOOST_TEST(shared.vm.vm_of == "other");
  BOOST_TEST(!shared.host.serves_network);
  BOOST_TEST(shared.warnings.empty());
}

BOOST_AUTO_TEST_CASE(namespaces_by_a_path_are_joined_copied_or_refused) {
  oci::Config config = config_with("{}");
  auto set = [&](std::vector<oci::Namespace> namespaces) {
    config.namespaces = namespaces;
    Json& list = config.json["linux"]["namespaces"] = Json::array();
    for (const auto& entry : namespaces) list.push_back({{"type", entry.type}, {"path", entry.path}});
  };
  runtime::HostFacts facts = invented_host();
  const runtime::NamespaceOwner pod{.id = "pod", .vmm = {.pid = 5, .start_time = 6}};
  const runtime::NamespaceOwner other{.id = "other", .vmm = {.pid = 7, .start_time = 8}};

  set({{.type = "ipc", .path = "/i"}, {.type = "mount", .path = "/m"}, {.type = "network", .path = "/n"}});
  facts.namespaces = {{"ipc", {.owner = pod}}, {"mount", {.owner = pod}}, {"network", {.owner = other}}};
  auto planned = plan(config, false, facts);
  BOOST_REQUIRE(planned);
  BOOST_TEST(planned->vm.vm_of == "pod");
  BOOST_TEST(planned->guest.joins == Json::parse(R"({"ipc": "pod", "mount": "pod"})"));
  BOOST_TEST(planned->warnings.size() == 1u);            // the network's
  BOOST_TEST(planned->host.namespaces[0].path == "/i");  // the host's side of it
  BOOST_TEST(planned->host.namespaces[1].path == "");    // where the other's files are
  for (const Json& entry : planned->guest.config["linux"]["namespaces"]) BOOST_TEST(!entry.contains("path"));

  facts.namespaces["mount"].owner = other;
  BOOST_TEST(error_of(config, facts) ==
             "config.json: linux.namespaces: those of pod and of other are in two different VMs");

  set({{.type = "pid", .path = "/p"}});
  facts.namespaces.clear();
  BOOST_TEST(error_of(config, facts) ==
             "config.json: linux.namespaces[0].path: /p: a pid namespace that is no "
             "container's of ours cannot be joined");

  set({{.type = "user", .path = "/u"}, {.type = "uts", .path = "/t"}});
  facts.namespaces["user"].mappings = Json::parse(R"({"uidMappings": [{"containerID": 0, "hostID": 7, "size": 1}],
                                                      "gidMappings": [{"containerID": 0, "hostID": 8, "size": 1}]})");
  facts.namespaces["uts"].hostname = "theirs";
  planned = plan(config, false, facts);
  BOOST_REQUIRE(planned);
  BOOST_TEST(planned->guest.config["hostname"] == "theirs");
  BOOST_TEST(planned->guest.config["linux"]["gidMappings"][0]["hostID"] == 8);
  BOOST_TEST(planned->host.mappings == facts.namespaces["user"].mappings);
}

BOOST_AUTO_TEST_CASE(a_user_without_privilege_maps_his_own_ids) {
  oci::Config config = config_with("{}");
  runtime::HostFacts facts = invented_host();
  facts.is_unprivileged = true;
  facts.uid = facts.gid = 1000;
  BOOST_TEST(error_of(config, facts) == "config.json: rootless container requires user namespaces");
  config.namespaces = {{.type = "user", .path = ""}};
  config.json["linux"].update(Json::parse(R"({"namespaces": [{"type": "user"}],
                                              "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
                                              "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]})"));
  BOOST_TEST(error_of(config, facts) == "");
  facts.uid = 1001;
  BOOST_TEST(error_of(config, facts).starts_with("config.json: linux.uidMappings: the only id that a user"));
}

BOOST_AUTO_TEST_CASE(intel_rdt_takes_a_host_that_has_it) {
  oci::Config config = config_with("{}");
  config.json["linux"]["intelRdt"] = {{"l3CacheSchema", "L3:0=f"}};
  runtime::HostFacts facts = invented_host();
  BOOST_TEST(error_of(config, facts) == "config.json: intelRdt is specified in config, but Intel RDT is not enabled");
  facts.resctrl = {.root = "/r", .has_cache_allocation = true, .has_bandwidth_allocation = false};
  auto planned = plan(config, false, facts);
  BOOST_REQUIRE(planned);
  BOOST_TEST(planned->host.intel_rdt == config.json["linux"]["intelRdt"]);
  BOOST_TEST(!planned->guest.config["linux"].contains("intelRdt"));
}

BOOST_AUTO_TEST_CASE(a_memory_policy_is_one_of_the_kernels) {
  auto policy = [](const char* text) -> std::string {
    auto made = runtime::memory_policy({{"memoryPolicy", Json::parse(text)}});
    if (!made) return made.error().message();
    return std::to_string((*made)->mode) + " " + std::to_string((*made)->nodes[0]);
  };
  BOOST_TEST(!*runtime::memory_policy(Json::object()));
  // Modes and flags by their numbers in linux/mempolicy.h, nodes as a mask.
  BOOST_TEST(policy(R"({"mode": "MPOL_DEFAULT"})") == "0 0");
  BOOST_TEST(policy(R"({"mode": "MPOL_INTERLEAVE", "nodes": "0"})") == "3 1");
  BOOST_TEST(policy(R"({"mode": "MPOL_BIND", "nodes": "0,2-3", "flags": ["MPOL_F_STATIC_NODES"]})") == "32770 13");
  BOOST_TEST(policy(R"({"mode": "MPOL_PREFERRED", "nodes": "", "flags": ["MPOL_F_RELATIVE_NODES"]})") == "16385 0");
  BOOST_TEST(policy(R"({})") == "invalid memory policy mode \"\"");
  BOOST_TEST(policy(R"({"mode": "BIND", "nodes": "0"})") == "invalid memory policy mode \"BIND\"");
  BOOST_TEST(policy(R"({"mode": "MPOL_BIND"})") == "memory policy mode requires at least one node but got 0");
  BOOST_TEST(policy(R"({"mode": "MPOL_LOCAL", "nodes": "0-7"})") == "memory policy mode requires 0 nodes but got 8");
  BOOST_TEST(policy(R"({"mode": "MPOL_BIND", "nodes": "0", "flags": ["x"]})") == "invalid memory policy flag \"x\"");
  for (const char* nodes : {"0-9876543210", "1024", "2-1", "1,", ",1", "1-", "-1", "x", "1 2"}) {
    std::string text = std::string(R"({"mode": "MPOL_BIND", "nodes": ")") + nodes + "\"}";
    BOOST_TEST(policy(text.c_str()) == std::string("invalid memory policy nodes \"") + nodes + "\"");
  }
}

BOOST_AUTO_TEST_CASE(a_process_may_keep_the_groups_of_whoever_starts_it) {
  Json process = Json::parse(R"({"user": {"uid": 0, "gid": 0, "additionalGids": [5]}})");
  auto kept = [&](const std::vector<uint32_t>& groups, const Json& mappings) {
    runtime::keep_original_groups(process, {{"run.oci.keep_original_groups", "1"}}, groups, mappings);
    return process["user"]["additionalGids"];
  };
  BOOST_TEST(kept({0, 27, 65534}, nullptr) == Json({0, 27, 65534}));
  Json mappings = Json::parse(R"([{"containerID": 0, "hostID": 100, "size": 50},
                                  {"containerID": 1000, "hostID": 150, "size": 50}])");
  BOOST_TEST(kept({0, 99, 100, 199, 200}, mappings) == Json({0, 1049}));
  runtime::keep_original_groups(process, {{"run.oci.handler", "krun"}}, {7}, nullptr);
  BOOST_TEST(process["user"]["additionalGids"] == Json({0, 1049}));
}

BOOST_AUTO_TEST_CASE(who_may_make_device_nodes) {
  auto may = [](const char* bounding, const char* namespaces) {
    oci::Config config = config_with("{}");
    config.json["process"]["capabilities"] = Json::parse(bounding);
    config.json["linux"]["namespaces"] = Json::parse(namespaces);
    return vm_of(config)->jail.device_nodes;
  };
  BOOST_TEST(may(R"({"bounding": ["CAP_KILL", "CAP_MKNOD"]})", R"([{"type": "pid"}])"));
  BOOST_TEST(!may(R"({"bounding": ["CAP_KILL"], "effective": ["CAP_MKNOD"]})", "[]"));
  BOOST_TEST(!may("{}", "[]"));
  BOOST_TEST(!may(R"({"bounding": ["CAP_MKNOD"]})", R"([{"type": "pid"}, {"type": "user"}])"));
}

BOOST_AUTO_TEST_CASE(annotations_shape_the_vm) {
  oci::Config config = config_with("{}");
  config.annotations = {{runtime::kMemoryAnnotation, "1G"}, {runtime::kCpusAnnotation, "4"}};
  auto vm = vm_of(config, true);
  BOOST_REQUIRE(vm);
  BOOST_TEST(vm->memory == 1ull << 30);
  BOOST_TEST(vm->cpus == 4u);
  BOOST_TEST(vm->console);
  BOOST_TEST(vm->cmdline.contains("console=ttyS0"));
  config.annotations = {{runtime::kCpusAnnotation, "65"}};
  vm = vm_of(config);
  BOOST_REQUIRE(!vm);
  BOOST_TEST(vm.error().message() == "annotations.nacre.vm.cpus: must be a number from 1 to 64");
  config.annotations = {{runtime::kMemoryAnnotation, "much"}};
  BOOST_TEST(!vm_of(config));
  config.annotations = {{runtime::kMemoryAnnotation, "1"}};
  BOOST_TEST(error_of(config, invented_host()) == "the VM of this configuration: memory must be at least 16M");
}

BOOST_AUTO_TEST_CASE(the_guest_is_not_told_what_it_does_not_need) {
  oci::Config config = config_with("{}");
  config.json["annotations"] = {{"secret", "of an engine"}};
  config.json["linux"]["cgroupsPath"] = "/machine/one";
  auto planned = plan(config);
  BOOST_REQUIRE(planned);
  BOOST_TEST(!planned->guest.config.contains("annotations"));
  BOOST_TEST(!planned->guest.config["linux"].contains("cgroupsPath"));
  // Such hooks get the container's state.
  config.hooks = {{"startContainer", {{{"path", "/hook"}}}}};
  planned = plan(config);
  BOOST_REQUIRE(planned);
  BOOST_TEST(planned->guest.config["annotations"] == config.json["annotations"]);
}

BOOST_AUTO_TEST_CASE(annotations_do_not_undo_a_memory_limit) {
  oci::Config config = config_with(R"({"memory": {"limit": 67108864}})");
  runtime::HostFacts facts = invented_host();
  auto plan_with = [&](const char* memory) {
    config.annotations = {{runtime::kMemoryAnnotation, memory}};
    auto plan = runtime::make_plan(config, facts, {});
    BOOST_REQUIRE_MESSAGE(plan, plan.error().message());
    return std::pair(plan->vm.config.memory, plan->host.backstop.value());
  };
  constexpr uint64_t kMiB = 1 << 20;
  constexpr uint64_t kBackstop = 106 * kMiB * 5 / 4 + 32 * kMiB;
  BOOST_TEST((plan_with("64M") == std::pair(64 * kMiB, kBackstop)));
  BOOST_TEST((plan_with("106M") == std::pair(106 * kMiB, kBackstop)));
  config.annotations = {{runtime::kMemoryAnnotation, "64G"}};
  BOOST_TEST(error_of(config, facts) ==
             "annotations.nacre.vm.memory: 64G is more than 106M, which the memory limit gives the VM (max-vm-memory "
             "in /etc/nacre/config.toml can allow more)");
  facts.administrator.max_vm_memory = 1024 * kMiB;
  BOOST_TEST(error_of(config, facts) ==
             "annotations.nacre.vm.memory: 64G is more than 1024M, the max-vm-memory in /etc/nacre/config.toml");
  BOOST_TEST((plan_with("1G") == std::pair(1024 * kMiB, kBackstop)));
  // Without a limit nothing is undone.
  config = config_with("{}");
  config.annotations = {{runtime::kMemoryAnnotation, "64G"}};
  auto unlimited = runtime::make_plan(config, facts, {});
  BOOST_REQUIRE(unlimited);
  BOOST_TEST(unlimited->vm.config.memory == 64ull << 30);
  BOOST_TEST(!unlimited->host.backstop.has_value());
}

BOOST_AUTO_TEST_CASE(mountpoints_stay_inside_the_root) {
  namespace fs = std::filesystem;
  char path[] = "/tmp/nacre-root-XXXXXX";
  fs::path scratch = ::mkdtemp(path);
  fs::create_directories(scratch / "root/real");
  fs::create_directories(scratch / "root/outside");
  fs::create_directories(scratch / "outside");
  fs::create_directory_symlink("../outside", scratch / "root/up");
  fs::create_directory_symlink("/real", scratch / "root/absolute");
  runtime::HostPlan plan;
  plan.rootfs = scratch / "root";
  plan.rootfs_readonly = true;
  plan.cwd = "/srv/place";
  plan.mounts = {{.name = "", .destination = "/a/b", .source = "proc"},
                 {.name = "", .destination = "/a/b/c", .source = "tmpfs"},
                 {.name = "", .destination = "/absolute/file", .source = "/etc/passwd", .bind = true},
                 {.name = "", .destination = "/../../d", .source = "tmpfs"}};
  plan.devices = {"/odd/device/", "/d/covered", "/up/escaped"};
  auto made = runtime::make_mountpoints(plan);
  BOOST_TEST(made.has_value(), (made ? "" : made.error().message()));
  BOOST_TEST(fs::is_directory(scratch / "root/a/b"));
  BOOST_TEST(fs::is_directory(scratch / "root/srv/place"));
  BOOST_TEST(!fs::exists(scratch / "root/a/b/c"));  // in the file system that is mounted on b
  BOOST_TEST(fs::is_regular_file(scratch / "root/real/file"));
  BOOST_TEST(fs::is_directory(scratch / "root/d"));
  BOOST_TEST(fs::is_regular_file(scratch / "root/odd/device"));
  BOOST_TEST(!fs::exists(scratch / "root/d/covered"));
  BOOST_TEST(fs::exists(scratch / "root/outside/escaped"));
  BOOST_TEST(!fs::exists(scratch / "outside/escaped"));
  BOOST_TEST(fs::read_symlink(scratch / "root/dev/ptmx") == "pts/ptmx");
  plan.mounts = {{.name = "", .destination = "/up/x", .source = "tmpfs"}};
  BOOST_TEST(runtime::make_mountpoints(plan).has_value());
  BOOST_TEST(!fs::exists(scratch / "outside/x"));
  // A link that leads to nothing is no mount point.
  fs::create_symlink("/made", scratch / "root/dangling");
  plan.mounts = {{.name = "mounts[0]", .destination = "/dangling", .source = "/etc/passwd", .bind = true}};
  made = runtime::make_mountpoints(plan);
  BOOST_REQUIRE(!made.has_value());
  BOOST_TEST(made.error().message() == "mounts[0].destination: make /dangling: a symbolic link that leads to nothing");
  BOOST_TEST(!fs::exists(scratch / "root/made"));
  fs::remove_all(scratch);
}
