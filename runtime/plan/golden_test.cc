// SPDX-License-Identifier: Apache-2.0
// Whole plans, compared with files: golden/NAME.config.json is a config.json, golden/NAME.plan.json its plan on an
// invented host. NACRE_GOLDEN names that folder (`meson test` sets it). With NACRE_GOLDEN_WRITE set the test writes the
// plans, to be read and committed.
#include <sys/mount.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/fd.h"
#include "runtime/plan/plan.h"
#include "vmm/api/config.h"

using namespace nacre;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kPlaceholder = "BUNDLE";  // in the files, for the bundle's directory
constexpr long kTmpfs = 0x01021994, kProc = 0x9fa0;

runtime::HostFacts invented_host(const std::string& bundle) {
  return {.parts = {.vmm = "/p/vmm", .kernel = "/p/vmlinux", .initramfs = "/p/initramfs"},
          .size = {.memory = 8ull << 30, .cpus = 4},
          .administrator = {},
          .secret = "a boot of the host",
          .hostname = "invented",
          .rlimits = {{.name = "RLIMIT_CORE", .soft = 0, .hard = 5}, {.name = "RLIMIT_NOFILE", .soft = 6, .hard = 7}},
          .groups = {4, 24},
          .is_unprivileged = false,
          .uid = 0,
          .gid = 0,
          .has_notify_socket = false,
          .has_apparmor = false,
          .has_selinux = false,
          .resctrl = {},
          .unique_prefix = "7:",
          .sources = {{bundle + "/shm",
                       {.filesystem = kTmpfs,
                        .filesystem_size = 1 << 20,
                        .device = 3,
                        .inode = 1,
                        .mode = 01777,
                        .uid = 0,
                        .gid = 5,
                        .is_mount_point = true,
                        .is_empty = true}},
                      {"/proc", {.filesystem = kProc, .inode = 1}}},
          .missing_destinations = {"/cache"},
          .namespaces = {}};
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

// A directory with all that the configurations name, removed again.
class Bundle {
 public:
  Bundle() {
    char path[] = "/tmp/nacre-golden-XXXXXX";
    path_ = std::filesystem::canonical(::mkdtemp(path));
    for (const char* name : {"rootfs", "data", "shm"}) std::filesystem::create_directory(path_ + "/" + name);
    std::ofstream(path_ + "/file");
  }
  ~Bundle() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Json lines_of(const std::string& text) {
  Json lines = Json::array();
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Json describe(const runtime::VmPlan& vm) {
  return {{"program", vm.program}, {"vm_of", vm.vm_of}, {"config", lines_of(vmm::to_toml(vm.config))}};
}

Json describe(const runtime::GuestPlan& guest) {
  return {{"config", guest.config},
          {"seccomp", guest.seccomp},
          {"joins", guest.joins},
          {"shared_mounts", guest.shared_mounts},
          {"notify", guest.notify}};
}

Json describe(const oci::Mount& mount) {
  Json flags = Json::array();
  if (mount.bind) flags.push_back("bind");
  if (mount.recursive) flags.push_back("recursive");
  if (mount.readonly) flags.push_back("readonly");
  if (mount.readonly_below) flags.push_back("readonly_below");
  if (mount.follows) flags.push_back("follows");
  return {{"name", mount.name},
          {"type", mount.type},
          {"destination", mount.destination},
          {"source", mount.source},
          {"share_path", mount.share_path},
          {"flags", flags}};
}

Json describe(const runtime::HostPlan& host) {
  Json namespaces = Json::array(), mounts = Json::array(), filesystems = Json::array(), policy;
  for (const auto& entry : host.namespaces) namespaces.push_back({{"type", entry.type}, {"path", entry.path}});
  for (const auto& mount : host.mounts) mounts.push_back(describe(mount));
  for (const auto& made : host.filesystems) {
    filesystems.push_back({{"name", made.name},
                           {"type", made.type},
                           {"source", made.source},
                           {"data", made.data},
                           {"readonly", (made.flags & MS_RDONLY) != 0},
                           {"place", made.place}});
  }
  if (host.memory_policy) policy = {{"mode", host.memory_policy->mode}, {"nodes", host.memory_policy->nodes.at(0)}};
  return {{"namespaces", namespaces},
          {"servesNetwork", host.serves_network},
          {"hostname", host.hostname},
          {"domainname", host.domainname},
          {"rootfs", host.rootfs},
          {"rootfs_readonly", host.rootfs_readonly},
          {"mounts", mounts},
          {"filesystems", filesystems},
          {"cwd", host.cwd},
          {"memory_policy", policy},
          {"cgroups_path", host.cgroups_path},
          {"annotations", host.annotations},
          {"resources", host.resources},
          {"backstop", host.backstop ? Json(*host.backstop) : Json()},
          {"intel_rdt", host.intel_rdt},
          {"mappings", host.mappings},
          {"hooks", host.hooks}};
}

std::string describe(const runtime::ContainerPlan& plan, const std::string& bundle) {
  Json json = {{"vm", describe(plan.vm)},
               {"guest", describe(plan.guest)},
               {"host", describe(plan.host)},
               {"warnings", plan.warnings}};
  std::string text = json.dump(2) + "\n";
  replace_all(text, bundle, kPlaceholder);
  return text;
}

std::string golden_directory() {
  const char* directory = std::getenv("NACRE_GOLDEN");
  BOOST_REQUIRE_MESSAGE(directory != nullptr, "NACRE_GOLDEN has to name runtime/plan/golden");
  return directory;
}

// Compares the plan of golden/NAME.config.json with golden/NAME.plan.json. `change` makes the host what it has to be.
void check_plan(const std::string& name, void (*change)(runtime::HostFacts&) = [](runtime::HostFacts&) {}) {
  Bundle bundle;
  std::string file = golden_directory() + "/" + name;
  std::string text = read_file(file + ".config.json").value();
  replace_all(text, kPlaceholder, bundle.path());
  std::ofstream(bundle.path() + "/config.json") << text;
  auto config =
      oci::load_config(bundle.path(), "", {.has_cgroup_v1 = false, .has_device = [](const auto&) { return false; }});
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  auto facts = invented_host(bundle.path());
  change(facts);
  auto plan = runtime::make_plan(*config, facts, {.id = name, .directory = "/run/nacre/" + name});
  BOOST_REQUIRE_MESSAGE(plan, plan.error().message());
  std::string described = describe(*plan, bundle.path());
  if (std::getenv("NACRE_GOLDEN_WRITE") != nullptr) std::ofstream(file + ".plan.json") << described;
  auto expected = read_file(file + ".plan.json");
  BOOST_REQUIRE_MESSAGE(expected, expected.error().message());
  BOOST_TEST(described == *expected);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(golden_plans)

BOOST_AUTO_TEST_CASE(the_template) {
  check_plan("template");
}

BOOST_AUTO_TEST_CASE(a_mount_of_every_kind) {
  check_plan("mounts", [](runtime::HostFacts& host) { host.has_notify_socket = true; });
}

BOOST_AUTO_TEST_CASE(a_member_of_a_pod) {
  check_plan("pod", [](runtime::HostFacts& host) {
    const runtime::NamespaceOwner pause{.id = "pause", .vmm = {.pid = 5, .start_time = 6}};
    for (const char* type : {"ipc", "uts", "network"}) host.namespaces[type].owner = pause;
  });
}

BOOST_AUTO_TEST_CASE(a_user_namespace_without_privilege) {
  check_plan("user", [](runtime::HostFacts& host) {
    host.is_unprivileged = true;
    host.uid = host.gid = 1000;
  });
}

BOOST_AUTO_TEST_CASE(limits_and_hooks) {
  check_plan("limits", [](runtime::HostFacts& host) {
    host.resctrl = {.root = "/sys/fs/resctrl", .has_cache_allocation = true, .has_bandwidth_allocation = true};
  });
}

BOOST_AUTO_TEST_SUITE_END()
