// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/config.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "runtime/config/schema.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

// A bundle that is removed again.
class Bundle {
 public:
  Bundle() {
    char path[] = "/tmp/nacre-bundle-XXXXXX";
    path_ = ::mkdtemp(path);
    std::filesystem::create_directory(path_ + "/rootfs");
    std::filesystem::create_directory(path_ + "/data");
    json = Json::parse(oci::template_config(false));
    json["process"]["terminal"] = false;
  }
  ~Bundle() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  Result<oci::Config> load(const oci::HostSupport& host = oci::host_support()) const {
    std::ofstream(path_ + "/config.json") << json;
    return oci::load_config(path_, "", host);
  }
  std::string error() const {
    auto config = load();
    return config ? "" : config.error().message();
  }

  Json json;

 private:
  std::string path_;
};

struct WrongField {
  const char* pointer;  // RFC 6901
  const char* value;    // JSON
  const char* error;
};

constexpr WrongField kWrongFields[] = {
    {"/ociVersion", "1", "ociVersion: must be a string"},
    {"/ociVersion", "\"1.x\"", "ociVersion: \"1.x\" is not a version like 1.2.0"},
    {"/process", "[]", "process: must be an object"},
    {"/process", "null", "process: is required"},
    {"/process/args", "[]", "process.args: must not be empty"},
    {"/process/args/0", "5", "process.args[0]: must be a string"},
    {"/process/args/0", "\"a\\u0000b\"", "process.args[0]: contains a NUL byte"},
    {"/process/cwd", "\"here\"", "process.cwd: must be an absolute path"},
    {"/process/user/uid", "-1", "process.user.uid: must be an integer from 0 to 4294967295"},
    {"/process/user/gid", "4294967296", "process.user.gid: must be an integer from 0 to 4294967295"},
    {"/process/user/umask", "512", "process.user.umask: must be an integer from 0 to 511"},
    {"/process/oomScoreAdj", "1001", "process.oomScoreAdj: must be an integer from -1000 to 1000"},
    {"/process/noNewPrivileges", "1", "process.noNewPrivileges: must be true or false"},
    {"/process/rlimits/0/type", "\"RLIMIT_X\"", "process.rlimits[0].type: \"RLIMIT_X\" is not one of"},
    {"/process/rlimits/0/soft", "2048", "process.rlimits[0].soft: must not be above hard"},
    {"/process/rlimits/1", R"({"type":"RLIMIT_NOFILE","soft":1,"hard":1})",
     "process.rlimits[1].type: RLIMIT_NOFILE occurs twice"},
    {"/process/capabilities/bounding", "{}", "process.capabilities.bounding: must be an array"},
    {"/process/terminal", "1", "process.terminal: must be true or false"},
    {"/process/scheduler", R"({"policy":"SCHED_ISO"})", "process.scheduler.policy: \"SCHED_ISO\" is not one of"},
    {"/process/scheduler", R"({"policy":"SCHED_RR","priority":100})", "process.scheduler.priority: must be an integer"},
    {"/process/ioPriority", R"({"class":"IOPRIO_CLASS_BE","priority":8})", "process.ioPriority.priority: must be an"},
    {"/process/execCPUAffinity", R"({"final":3})", "process.execCPUAffinity.final: must be a string"},
    {"/root", "null", "root: is required"},
    {"/root/path", "\"/nonexistent\"", "root.path: invalid rootfs: /nonexistent: no such file or directory"},
    {"/mounts/0/options", "\"ro\"", "mounts[0].options: must be an array"},
    {"/mounts/0", R"({"destination":"/a","type":"bind"})", "mounts[0].source: is required for a bind mount"},
    {"/mounts/0", R"({"destination":"/a","type":"bind","source":"/nonexistent"})",
     "mounts[0].source: /nonexistent: no such file or directory"},
    {"/annotations", R"({"a":1})", "annotations.a: must be a string"},
    {"/linux/namespaces/0/type", "\"pod\"", "linux.namespaces[0].type: \"pod\" is not one of"},
    {"/linux/namespaces/0/type", "\"mount\"", "linux.namespaces[4].type: \"mount\" occurs twice"},
    {"/linux/namespaces/0/type", "\"user\"", "linux.uidMappings: User namespaces enabled, but no uid mappings found."},
    {"/linux/namespaces", "[]", "hostname: cannot be set without a uts namespace"},
    {"/linux/resources/memory", R"({"limit":"1G"})", "linux.resources.memory.limit: must be an integer"},
    {"/linux/resources/cpu", R"({"shares":-1})", "linux.resources.cpu.shares: must be an integer from 0"},
    {"/linux/devices", R"([{"path":"/dev/tty1","type":"c","major":4,"minor":1}])",
     "linux.devices[0]: the VM has no device /dev/tty1"},
    {"/linux/uidMappings", R"([{"containerID":0,"hostID":0}])", "linux.uidMappings[0].size: is required"},
    {"/linux/timeOffsets", R"({"boottime":{"secs":1.5}})", "linux.timeOffsets.boottime.secs: must be an integer"},
    {"/linux/sysctl", R"({"kernel/hostname":"x"})", "linux.sysctl: sysctl \"kernel.hostname\" is not allowed as it"},
    {"/linux/sysctl", R"({"net.x":1})", "linux.sysctl.net.x: must be a string"},
    {"/linux/seccomp", "[]", "linux.seccomp: must be an object"},
    {"/linux/seccomp", R"({"defaultAction":1})", "linux.seccomp.defaultAction: must be a string"},
    {"/linux/seccomp", R"({"defaultErrnoRet":-1})", "linux.seccomp.defaultErrnoRet: must be an integer from 0"},
    {"/linux/seccomp", R"({"architectures":"x"})", "linux.seccomp.architectures: must be an array"},
    {"/linux/seccomp", R"({"flags":[1]})", "linux.seccomp.flags[0]: must be a string"},
    {"/linux/seccomp", R"({"syscalls":[{"action":"x"}]})", "linux.seccomp.syscalls[0].names: is required"},
    {"/linux/seccomp", R"({"syscalls":[{"names":[1],"action":"x"}]})", "linux.seccomp.syscalls[0].names[0]: must be"},
    {"/linux/seccomp", R"({"syscalls":[{"names":["x"],"action":"x","errnoRet":1.5}]})",
     "linux.seccomp.syscalls[0].errnoRet: must be an integer from 0"},
    {"/linux/seccomp", R"({"syscalls":[{"names":["x"],"action":"x","args":[{"index":6,"value":0,"op":""}]}]})",
     "linux.seccomp.syscalls[0].args[0].index: must be an integer from 0 to 5"},
    {"/linux/maskedPaths", "[1]", "linux.maskedPaths[0]: must be a string"},
    {"/hooks", "[]", "hooks: must be an object"},
    {"/hooks", R"({"prestart":{}})", "hooks.prestart: must be an array"},
    {"/hooks", R"({"poststop":[{}]})", "hooks.poststop[0].path: is required"},
    {"/hooks", R"({"poststop":[{"path":"true"}]})", "hooks.poststop[0].path: must be an absolute path"},
    {"/hooks", R"({"startContainer":[{"path":""}]})", "hooks.startContainer[0].path: must be an absolute path"},
    {"/hooks", R"({"createRuntime":[{"path":"/a","args":"b"}]})", "hooks.createRuntime[0].args: must be an array"},
    {"/hooks", R"({"createContainer":[{"path":"/a","env":[1]}]})", "hooks.createContainer[0].env[0]: must be a string"},
    {"/hooks", R"({"poststart":[{"path":"/a","timeout":0}]})", "hooks.poststart[0].timeout: must be an integer from 1"},
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_template_is_accepted) {
  Bundle bundle;
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(config->rootfs == std::filesystem::canonical(bundle.path() + "/rootfs").string());
  BOOST_TEST(config->rootfs_readonly);
  BOOST_TEST(config->warnings.empty());
  BOOST_TEST(config->mounts.size() == 7u);
}

BOOST_AUTO_TEST_CASE(a_domain_name_is_given_in_one_place) {
  for (const char* name : {"kernel.domainname", "kernel/domainname"}) {
    Bundle bundle;
    bundle.json["linux"]["sysctl"][name] = "one.example";
    BOOST_TEST(bundle.load().has_value());
    bundle.json["domainname"] = "";
    BOOST_TEST(bundle.load().has_value());
    bundle.json["domainname"] = "two.example";
    BOOST_TEST(bundle.error() ==
               "config.json: linux.sysctl: sysctl \"kernel.domainname\" is not allowed as it conflicts with the OCI "
               "\"domainname\" field");
  }
}

BOOST_AUTO_TEST_CASE(errors_name_the_field) {
  for (const auto& wrong : kWrongFields) {
    Bundle bundle;
    bundle.json[Json::json_pointer(wrong.pointer)] = Json::parse(wrong.value);
    std::string error = bundle.error();
    BOOST_TEST(error.starts_with(std::string("config.json: ") + wrong.error) |
                   error.starts_with(wrong.error),  // one error stands before the path that caused it
               wrong.pointer << ": " << error);
  }
}

BOOST_AUTO_TEST_CASE(mappings_of_a_user_namespace) {
  Bundle bundle;
  Json& linux = bundle.json["linux"];
  auto range = [](uint32_t inside, uint32_t outside, uint32_t size) {
    return Json{{"containerID", inside}, {"hostID", outside}, {"size", size}};
  };
  linux["uidMappings"] = Json::array({range(0, 1000, 1)});
  BOOST_TEST(bundle.load()->warnings.size() == 1u);  // there is no user namespace
  linux["namespaces"].push_back({{"type", "user"}});
  BOOST_TEST(bundle.error() == "config.json: linux.gidMappings: User namespaces enabled, but no gid mappings found.");
  linux["gidMappings"] = Json::array({range(1, 1000, 1)});
  BOOST_TEST(bundle.error() == "config.json: linux.gidMappings: User namespaces enabled, but no group mapping found.");
  linux["gidMappings"] = Json::array({range(0, 1000, 1), range(1, UINT32_MAX - 2, 2)});
  BOOST_TEST(bundle.error() == "");
  linux["gidMappings"][1]["size"] = 3;
  BOOST_TEST(bundle.error() == "config.json: linux.gidMappings[1]: hostID and size go past the last id");
  linux["gidMappings"][1] = range(2, 1000, 1);
  BOOST_TEST(bundle.error() == "config.json: linux.gidMappings[1]: overlaps linux.gidMappings[0] in hostID");
  linux["gidMappings"][1] = range(0, 2000, 5);
  BOOST_TEST(bundle.error() == "config.json: linux.gidMappings[1]: overlaps linux.gidMappings[0] in containerID");
  linux["gidMappings"][1]["size"] = 0;
  BOOST_TEST(bundle.error() == "config.json: linux.gidMappings[1].size: must not be 0");
}

BOOST_AUTO_TEST_CASE(broken_json_is_one_line) {
  for (const std::string& text :
       {std::string("{"), std::string("[1,\n2"), std::string(100'000, '['), std::string("\"\xff\"")}) {
    auto json = oci::parse_json(text, "x");
    BOOST_REQUIRE(!json);
    BOOST_TEST(json.error().message().starts_with("x: "));
    BOOST_TEST(!json.error().message().contains('\n'));
  }
}

BOOST_AUTO_TEST_CASE(null_is_absent) {
  Bundle bundle;
  bundle.json["process"]["rlimits"] = nullptr;
  bundle.json["linux"]["seccomp"] = nullptr;
  bundle.json["hooks"] = {{"prestart", nullptr}};
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(!config->json["process"].contains("rlimits"));
  BOOST_TEST(config->warnings.empty());
}

BOOST_AUTO_TEST_CASE(privileged_gets_the_devices_that_the_guest_has) {
  Bundle bundle;
  bundle.json["linux"]["devices"] = Json::parse(R"([{"path":"/dev/tty1","type":"c","major":4,"minor":1},
                                                    {"path":"/dev/fuse","type":"c","major":10,"minor":229}])");
  bundle.json["linux"]["resources"]["devices"] = Json::parse(R"([{"allow":false,"access":"rwm"},
                                                                 {"allow":true,"access":"rwm"}])");
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_REQUIRE(config->warnings.size() == 1u);
  BOOST_TEST(config->warnings[0] == "linux.devices: the VM does not have /dev/tty1");
  BOOST_TEST(config->json["linux"]["devices"].size() == 1u);
  // A rule for one device is not a rule for all.
  bundle.json["linux"]["resources"]["devices"][1]["type"] = "c";
  bundle.json["linux"]["resources"]["devices"][1]["major"] = 4;
  BOOST_TEST(bundle.error() == "config.json: linux.devices[0]: the VM has no device /dev/tty1");
}

BOOST_AUTO_TEST_CASE(what_a_host_has_decides_what_is_left_out) {
  Bundle bundle;
  bundle.json["linux"]["resources"]["memory"] = {{"disableOOMKiller", true}};
  bundle.json["linux"]["devices"] = Json::parse(R"([{"path":"/dev/sda","type":"b","major":8,"minor":0}])");
  oci::HostSupport host{.has_cgroup_v1 = false, .has_device = [](const std::string&) { return false; }};
  auto config = bundle.load(host);
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_REQUIRE(config->warnings.size() == 1u);
  BOOST_TEST(config->warnings[0] == "linux.resources.memory.disableOOMKiller: cgroup v2 cannot switch it off");
  BOOST_TEST(!config->json["linux"]["resources"]["memory"].contains("disableOOMKiller"));
  BOOST_TEST(config->json["linux"]["devices"].size() == 1u);  // a number that no driver answers to
  host.has_cgroup_v1 = true;
  config = bundle.load(host);
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(config->warnings.empty());
  BOOST_TEST(config->json["linux"]["resources"]["memory"].contains("disableOOMKiller"));
  host.has_device = [](const std::string& device) { return device == "block/8:0"; };
  config = bundle.load(host);
  BOOST_REQUIRE(!config);
  BOOST_TEST(config.error().message() == "config.json: linux.devices[0]: the VM has no device /dev/sda");
}

BOOST_AUTO_TEST_CASE(names_in_the_share_are_given_once) {
  Bundle bundle;
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  for (size_t i = 0; i < config->mounts.size(); i++) {
    BOOST_TEST(config->mounts[i].share_path == "mount-" + std::to_string(i));
    BOOST_TEST(config->mounts[i].name == "mounts[" + std::to_string(i) + "]");
    BOOST_TEST(config->mounts[i].json == config->json["mounts"][i]);
  }
}

BOOST_AUTO_TEST_CASE(what_is_left_out_is_said) {
  Bundle bundle;
  bundle.json["mounts"][0]["destination"] = "proc";
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(config->warnings.size() == 1u);
  bundle.json["linux"]["netDevices"] = Json::object();
  BOOST_TEST(bundle.load()->warnings.size() == 1u);
  bundle.json["linux"]["netDevices"]["eth0"] = Json::object();
  BOOST_TEST(bundle.load()->warnings.size() == 2u);
  BOOST_TEST(config->json["mounts"][0]["destination"] == "/proc");
}

BOOST_AUTO_TEST_CASE(what_confines_the_process_is_the_hosts_to_apply) {
  Bundle bundle;
  bundle.json["linux"]["mountLabel"] = "files";
  bundle.json["process"]["apparmorProfile"] = "docker-default";
  bundle.json["process"]["selinuxLabel"] = "process";
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(config->mount_label == "files");
  BOOST_TEST((config->confinement == Confinement{.apparmor_profile = "docker-default", .selinux_label = "process"}));
  BOOST_TEST(!config->json["linux"].contains("mountLabel"));
  BOOST_TEST(!config->json["process"].contains("apparmorProfile"));
  BOOST_TEST(!config->json["process"].contains("selinuxLabel"));
  BOOST_TEST(config->warnings.size() == 2u);
  // A profile that confines nothing is none that the guest lacks.
  bundle.json["process"]["apparmorProfile"] = "unconfined";
  BOOST_TEST(bundle.load()->warnings.size() == 1u);
  BOOST_TEST(bundle.load()->confinement.apparmor_profile == "unconfined");
}

BOOST_AUTO_TEST_CASE(the_guest_gets_its_own_hooks_only) {
  Bundle bundle;
  bundle.json["hooks"] = {{"startContainer", {{{"path", "/a"}}}}, {"poststop", {{{"path", "/b"}, {"timeout", 1}}}}};
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(config->hooks == bundle.json["hooks"]);
  BOOST_TEST(config->json["hooks"] == (Json{{"startContainer", {{{"path", "/a"}}}}}));
  bundle.json["hooks"]["later"] = {{{"path", 5}}};  // of a specification that is to come
  BOOST_TEST(!bundle.load()->hooks.contains("later"));
  bundle.json.erase("hooks");
  BOOST_TEST(bundle.load()->hooks.is_null());
}

BOOST_AUTO_TEST_CASE(unknown_capabilities_are_warned_of_and_unknown_sets_ignored) {
  Bundle bundle;
  bundle.json["process"]["capabilities"] = {{"bounding", {"CAP_KILL", "CAP_NONESUCH"}}, {"later", {5}}, {"", 1}};
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(
      (std::ranges::find(config->warnings, "process.capabilities.bounding: ignoring unknown capability CAP_NONESUCH") !=
       config->warnings.end()));
}

BOOST_AUTO_TEST_CASE(bind_mounts_are_found) {
  Bundle bundle;
  bundle.json["mounts"] = Json::parse(R"([
    {"destination": "/a", "source": "data", "type": "bind"},
    {"destination": "/b", "source": "data", "type": "none", "options": ["rbind", "ro"]},
    {"destination": "/c", "source": "data", "options": ["bind", "ro", "rw"]},
    {"destination": "/d", "source": "tmpfs", "type": "tmpfs", "options": ["ro"]},
    {"destination": "/e", "source": "data", "options": ["bind", "rslave", "rprivate"]},
    {"destination": "/f", "source": "data", "options": ["bind", "private", "shared"]}])");
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  std::string data = std::filesystem::canonical(bundle.path() + "/data").string();
  BOOST_TEST(config->mounts[0].bind);
  BOOST_TEST(!config->mounts[0].recursive);
  BOOST_TEST(config->mounts[1].recursive);
  BOOST_TEST(!config->mounts[1].readonly_below);
  BOOST_TEST(config->mounts[0].source == data);
  BOOST_TEST(!config->mounts[0].readonly);
  BOOST_TEST(config->mounts[1].bind);
  BOOST_TEST(config->mounts[1].readonly);
  BOOST_TEST(config->mounts[2].bind);
  BOOST_TEST(!config->mounts[2].readonly);
  BOOST_TEST(!config->mounts[3].bind);
  BOOST_TEST(config->mounts[0].follows);
  BOOST_TEST(!config->mounts[3].follows);
  BOOST_TEST(!config->mounts[4].follows);
  BOOST_TEST(config->mounts[5].follows);
}
