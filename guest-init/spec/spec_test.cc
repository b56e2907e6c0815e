// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE guest_spec
#include "guest-init/spec/spec.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>

#include "oci/mount_options.h"

using namespace nacre;
using namespace nacre::guest;

namespace {

Json minimal() {
  return {{"root", {{"path", "/rootfs"}}},
          {"process", {{"args", {"true"}}, {"cwd", "/"}}},
          {"linux", {{"namespaces", {{{"type", "mount"}}, {{"type", "uts"}}}}}}};
}

std::string error_of(const Json& config) {
  auto spec = parse_container(config);
  return spec ? "no error" : spec.error().message();
}

std::string error_with(const char* pointer, const Json& value) {
  Json config = minimal();
  config[Json::json_pointer(pointer)] = value;
  return error_of(config);
}

std::string files_of(const Json& resources) {
  auto limits = parse_resources(JsonField(&resources, "linux.resources"));
  if (!limits) return limits.error().message();
  std::string text;
  for (const auto& file : limits->files) text += file.name + "=" + file.value + ";";
  if (limits->cpus > 0) text += std::to_string(limits->cpus) + " CPUs;";
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_least_configuration_is_accepted) {
  auto spec = parse_container(minimal());
  BOOST_REQUIRE(spec);
  BOOST_TEST(spec->process.umask == 022);
  BOOST_TEST(spec->process.capabilities.bounding == 0u);
  // Go's encoders write null for what is not there.
  BOOST_TEST(error_with("/process/env", nullptr) == "no error");
  BOOST_TEST(error_with("/mounts", nullptr) == "no error");
}

BOOST_AUTO_TEST_CASE(errors_name_the_field) {
  BOOST_TEST(error_of(5) == "config is not an object");
  BOOST_TEST(error_of(Json::object()) == "root.path is missing");
  BOOST_TEST(error_with("/root", "x") == "root is not an object");
  BOOST_TEST(error_with("/process/args", Json::array()) == "process.args names no program");
  BOOST_TEST(error_with("/process/args", {"a", 1}) == "process.args[1] is not a string");
  BOOST_TEST(error_with("/process/args", {std::string("a\0b", 3)}) == "process.args[0] contains a NUL character");
  BOOST_TEST(error_with("/process/user", {{"uid", -1}}) == "process.user.uid is not between 0 and 4294967294");
  BOOST_TEST(error_with("/process/user", {{"uid", 1.5}}) == "process.user.uid is not an integer");
  BOOST_TEST(error_with("/process/env", {"novalue"}) == "invalid environment variable \"novalue\" in process.env");
  BOOST_TEST(error_with("/process/cwd", "tmp") == "process cwd is not an absolute path");
  BOOST_TEST(error_with("/process/rlimits", {{{"type", "RLIMIT_X"}}}) ==
             "process.rlimits[0] has the unknown type \"RLIMIT_X\"");
  BOOST_TEST(error_with("/mounts", {{{"destination", "/a"}, {"type", 4}}}) == "mounts[0].type is not a string");
  BOOST_TEST(error_with("/linux/namespaces", {{{"type", "mount"}}, {{"type", "user"}}}) ==
             "User namespaces enabled, but no uid mappings found");
  BOOST_TEST(error_with("/linux/timeOffsets", {{"boottime", {{"secs", 1}}}}) ==
             "linux.timeOffsets needs a time namespace");
  BOOST_TEST(error_with("/linux/namespaces", {{{"type", "pid"}, {"path", "/x"}}}) ==
             "joining a pid namespace by its path is not supported by this version");
  BOOST_TEST(error_with("/linux/sysctl", {{"a/../../b", "1"}}) == "linux.sysctl has the invalid name \"a/../../b\"");
  BOOST_TEST(error_with("/linux/devices", {{{"path", "/dev/x"}, {"type", "z"}}}) ==
             "linux.devices[0] has the unknown type \"z\"");
}

BOOST_AUTO_TEST_CASE(ids_of_a_user_namespace) {
  Json config = minimal();
  config["linux"]["namespaces"].push_back({{"type", "user"}});
  Json range = {{"containerID", 0}, {"hostID", 5000}, {"size", 10}};
  config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = Json::array({range});
  auto spec = parse_container(config);
  BOOST_REQUIRE(spec);
  BOOST_TEST(outside_id(spec->user.uids, 9).value() == 5009u);
  BOOST_TEST(!outside_id(spec->user.uids, 10));
  BOOST_TEST(!(spec->namespaces & CLONE_NEWNET));
  config["process"]["user"] = {{"uid", 1}, {"gid", 10}};
  BOOST_TEST(error_of(config) == "cannot set gid to unmapped user in user namespace");
  config["process"]["user"]["gid"] = 1;
  config["linux"]["namespaces"].push_back({{"type", "network"}});
  spec = parse_container(config);
  BOOST_REQUIRE(spec);
  BOOST_TEST((spec->namespaces & CLONE_NEWNET) != 0u);
}

BOOST_AUTO_TEST_CASE(hooks_of_the_start) {
  Json config = minimal();
  auto parse = [&] { return parse_start_hooks(config, "one", "/b"); };
  auto error = [&](const char* pointer, const Json& value) {
    Json before = config;
    config[Json::json_pointer(pointer)] = value;
    auto hooks = parse();
    config = before;
    return hooks ? "no error" : hooks.error().message();
  };
  BOOST_TEST(parse()->hooks.empty());
  config["ociVersion"] = "1.2.0";
  config["annotations"] = {{"a", "b"}};
  config["hooks"]["startContainer"] = {{{"path", "/x"}},
                                       {{"path", "/y"}, {"args", {"a", "b"}}, {"env", {"C=d"}}, {"timeout", 9}}};
  auto start = parse();
  BOOST_REQUIRE(start);
  BOOST_TEST(start->state == Json::parse(R"({"ociVersion": "1.2.0", "id": "one", "status": "created", "bundle": "/b",
                                             "annotations": {"a": "b"}})"));
  BOOST_REQUIRE(start->hooks.size() == 2u);
  BOOST_TEST((start->hooks[0].args == std::vector<std::string>{"/x"} && !start->hooks[0].env));
  BOOST_TEST((start->hooks[1].args.size() == 2 && start->hooks[1].timeout_s == 9 && start->hooks[1].env->size() == 1));
  BOOST_TEST(error("/hooks/startContainer/0/path", "x") == "hooks.startContainer[0].path is not an absolute path");
  BOOST_TEST(error("/hooks/startContainer/1/timeout", 0) ==
             "hooks.startContainer[1].timeout is not between 1 and 2147483647");
  BOOST_TEST(error("/hooks/startContainer/1/env/0", 0) == "hooks.startContainer[1].env[0] is not a string");
  BOOST_TEST(error("/hooks/poststop", {1}) == "hooks.poststop is not for the guest");
  BOOST_TEST(error("/hooks", "x") == "hooks is not an object");
}

BOOST_AUTO_TEST_CASE(scheduling) {
  Json process = {{"args", {"true"}},
                  {"scheduler",
                   {{"policy", "SCHED_DEADLINE"},
                    {"flags", {"SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"}},
                    {"runtime", 10},
                    {"deadline", 20},
                    {"period", 30}}},
                  {"ioPriority", {{"class", "IOPRIO_CLASS_BE"}, {"priority", 5}}},
                  {"execCPUAffinity", {{"initial", "3"}, {"final", "0-2,7"}}}};
  auto spec = parse_process(JsonField(&process, "process"));
  BOOST_REQUIRE_MESSAGE(spec, spec.error().message());
  BOOST_TEST(spec->scheduler->policy == 6u);
  BOOST_TEST(spec->scheduler->flags == 6u);
  BOOST_TEST((spec->scheduler->runtime == 10 && spec->scheduler->deadline == 20 && spec->scheduler->period == 30));
  BOOST_TEST(*spec->io_priority == (2 << 13 | 5));
  BOOST_TEST(CPU_COUNT(&*spec->initial_cpus) == 1);
  BOOST_TEST(CPU_COUNT(&*spec->final_cpus) == 4);
  BOOST_TEST(CPU_ISSET(7, &*spec->final_cpus));

  BOOST_TEST(error_with("/process/scheduler", {{"policy", "SCHED_X"}}) ==
             "process.scheduler.policy has the unknown value \"SCHED_X\"");
  BOOST_TEST(error_with("/process/scheduler", {{"nice", 1}}) == "process.scheduler.policy is missing");
  BOOST_TEST(error_with("/process/scheduler", {{"policy", "SCHED_OTHER"}, {"nice", 20}}) ==
             "process.scheduler.nice is not between -20 and 19");
  BOOST_TEST(error_with("/process/scheduler", {{"policy", "SCHED_OTHER"}, {"priority", 1}}) ==
             "process.scheduler.priority is for SCHED_FIFO and SCHED_RR");
  BOOST_TEST(error_with("/process/scheduler", {{"policy", "SCHED_RR"}, {"period", 1}}) ==
             "process.scheduler.period is for SCHED_DEADLINE");
  BOOST_TEST(error_with("/process/scheduler", {{"policy", "SCHED_RR"}, {"flags", {"x", "y"}}}) ==
             "process.scheduler.flags[0] has the unknown value \"x\"");
  BOOST_TEST(error_with("/process/ioPriority", {{"class", "IOPRIO_CLASS_NONE"}}) ==
             "process.ioPriority.class has the unknown value \"IOPRIO_CLASS_NONE\"");
  for (const char* bad : {"x", "1-", "-1", "1,", "1 2", "1024", "99999999999"}) {
    BOOST_TEST(error_with("/process/execCPUAffinity", {{"final", bad}}) ==
               "process.execCPUAffinity.final is not a list of CPUs like 0-2,7");
  }
  BOOST_TEST(error_with("/process/execCPUAffinity", {{"initial", "2-1"}}) ==
             "process.execCPUAffinity.initial has a range that ends before its start");
}

BOOST_AUTO_TEST_CASE(seccomp_filters) {
  auto parse = [](Json json) -> Result<SeccompFilter> {
    protocol::SeccompProgram program;
    std::optional<Error> error;
    protocol::FieldReader reader(json, "seccomp", error);
    if (!error) protocol::SeccompProgram::fields(reader, program);
    if (error) return std::unexpected(*error);
    return parse_seccomp(program);
  };
  auto error_of_filter = [&](const Json& json) {
    auto filter = parse(json);
    return filter ? "no error" : filter.error().message();
  };
  Json longest = Json::array();
  for (int i = 0; i < 4096; i++) longest.push_back(0x7fff000000000006u);
  BOOST_TEST(error_of_filter({{"program", longest}, {"flags", 7}}) == "no error");
  longest.push_back(0);
  BOOST_TEST(error_of_filter({{"program", longest}}) == "seccomp.program does not have 1 to 4096 instructions");
  BOOST_TEST(error_of_filter(Json::object()) == "seccomp.program does not have 1 to 4096 instructions");
  BOOST_TEST(error_of_filter({{"program", {-1}}}) == "seccomp.program[0] is not an unsigned integer");
  BOOST_TEST(error_of_filter({{"program", {nullptr}}}) == "seccomp.program[0] is missing");
  BOOST_TEST(error_of_filter({{"program", {6}}, {"flags", 8}}) == "seccomp.flags has unknown flags");
  BOOST_TEST(error_of_filter({{"program", {6}}, {"flags", -8}}) == "seccomp.flags is not between 0 and 4294967295");
  BOOST_TEST(error_of_filter(5) == "seccomp is not an object");
  Json json{{"program", {0x7fff000002010006u}}, {"flags", 2}};
  auto filter = parse(json);
  BOOST_REQUIRE(filter);
  BOOST_TEST(filter->flags == 2u);
  const sock_filter& only = filter->program.at(0);
  BOOST_TEST((only.code == 6 && only.jt == 1 && only.jf == 2 && only.k == 0x7fff0000));
  // One that did not come compiled would not be in force.
  BOOST_TEST(error_with("/linux/seccomp", {{"defaultAction", "SCMP_ACT_ERRNO"}}) ==
             "linux.seccomp is not supported by this version");
}

BOOST_AUTO_TEST_CASE(mount_options) {
  Json json = {
      {"destination", "/a"},
      {"source", "/s"},
      {"options", {"rbind", "ro", "noexec", "exec", "relatime", "noatime", "rslave", "rro", "defaults", "x=y"}}};
  auto mount = parse_mount(JsonField(&json, "mounts[0]"));
  BOOST_REQUIRE(mount);
  BOOST_TEST(mount->type == "bind");
  BOOST_TEST(mount->recursive);
  BOOST_TEST(mount->set == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME));
  BOOST_TEST(mount->clear == (MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME));
  BOOST_TEST(mount->deep_set == static_cast<unsigned>(MOUNT_ATTR_RDONLY));
  BOOST_TEST(mount->propagation == std::vector<uint64_t>{MS_SLAVE | MS_REC}, boost::test_tools::per_element());
  BOOST_TEST(mount->options == std::vector<std::string>{"x=y"}, boost::test_tools::per_element());
  json["options"] = {"remount"};
  BOOST_TEST(parse_mount(JsonField(&json, "mounts[0]")).error().message() ==
             "mount option \"remount\" of /a is not supported by this version");
}

BOOST_AUTO_TEST_CASE(known_mount_options_are_not_passed_on) {
  std::vector<std::string> known(oci::kVoidMountOptions.begin(), oci::kVoidMountOptions.end());
  auto add = [&](std::string_view name) {
    known.emplace_back(name);
    known.push_back("r" + std::string(name));
  };
  for (const auto& attribute : oci::kMountAttributes) add(attribute.name);
  for (const auto& propagation : oci::kMountPropagations) add(propagation.name);
  known.insert(known.end(), oci::kBindOptions.begin(), oci::kBindOptions.end());
  known.emplace_back(oci::kCopyUpOption);
  Json json = {{"destination", "/a"}, {"source", "/s"}, {"options", known}};
  auto mount = parse_mount(JsonField(&json, "mounts[0]"));
  BOOST_REQUIRE_MESSAGE(mount, mount.error().message());
  BOOST_TEST(mount->options.empty());
}

BOOST_AUTO_TEST_CASE(resources_become_files_of_cgroup_v2) {
  BOOST_TEST(files_of({{"memory", {{"limit", 1000}, {"swap", 1500}}}}) == "memory.swap.max=500;memory.max=1000;");
  BOOST_TEST(files_of({{"memory", {{"limit", 1000}, {"swap", 1000}}}}) == "memory.swap.max=0;memory.max=1000;");
  BOOST_TEST(files_of({{"memory", {{"limit", -1}}}}) == "memory.swap.max=max;memory.max=max;");
  BOOST_TEST(files_of({{"memory", {{"swap", 5}}}}) ==
             "linux.resources.memory.swap: unable to set swap limit without memory limit");
  BOOST_TEST(files_of({{"memory", {{"limit", 10}, {"swap", 5}}}}) ==
             "linux.resources.memory.swap: memory+swap limit should be >= memory limit");
  BOOST_TEST(files_of({{"cpu", {{"quota", 50000}, {"period", 100000}}}}) == "cpu.max=50000 100000;");
  BOOST_TEST(files_of({{"cpu", {{"quota", -1}, {"burst", 7}}}}) == "cpu.max=max 100000;cpu.max.burst=7;");
  BOOST_TEST(files_of({{"pids", {{"limit", -1}}}}) == "pids.max=max;");
  BOOST_TEST(files_of({{"pids", {{"limit", -5}}}}) == "pids.max=-5;");  // the kernel refuses it
  BOOST_TEST(files_of({{"unified", {{"memory.high", "5"}}}}) == "memory.high=5;");
  BOOST_TEST(files_of({{"unified", {{"../x.y", "5"}}}}) ==
             "unified resource \"../x.y\" must be a file name (no slashes)");
  BOOST_TEST(files_of({{"unified", {{"x", "5"}}}}) ==
             "unified resource \"x\" must be in the form CONTROLLER.PARAMETER");
  BOOST_TEST(files_of({{"hugepageLimits", {{{"pageSize", "2MB"}, {"limit", 3}}}}}) ==
             "hugetlb.2MB.max=3;hugetlb.2MB.rsvd.max=3;");
  // What has a meaning in the guest.
  BOOST_TEST(files_of({{"cpu", {{"shares", 100}, {"cpus", "0-7"}, {"mems", "1"}}}, {"blockIO", {{"weight", 750}}}}) ==
             "cpu.weight=17;io.weight=7475;cpuset.mems=0;8 CPUs;");
  BOOST_TEST(files_of({{"cpu", {{"cpus", "4-5"}}}, {"unified", {{"cpuset.cpus", "1,3-4"}, {"cpuset.foo", "1"}}}}) ==
             "3 CPUs;");
  BOOST_TEST(files_of({{"unified", {{"io.max", "8:0 rbps=1"}, {"memory.low", "2"}, {"memory.max", "3"}}}}) ==
             "memory.low=2;memory.max=3;");
  BOOST_TEST(files_of({{"hugepageLimits", {{{"pageSize", "/../2MB"}}}}}) ==
             "linux.resources.hugepageLimits[0] has no size of pages");
  // Zeros and nulls are what callers write where nothing is limited.
  BOOST_TEST(files_of(Json::parse(R"({"memory": {"limit": 0, "swap": 0, "swappiness": null}, "pids": {"limit": 0},
      "cpu": {"quota": 0, "period": 0, "burst": null}, "hugepageLimits": null, "devices": [{"allow": false}]})")) ==
             "");
}

BOOST_AUTO_TEST_CASE(sysctl_names_have_either_separator) {
  Json config = minimal();
  config["linux"]["sysctl"] = {{"net.ipv4.conf.eth0/1.forwarding", "1"}, {"net/ipv4/conf/eth0.1/forwarding", "0"}};
  auto spec = parse_container(config);
  BOOST_REQUIRE(spec);
  BOOST_TEST(spec->sysctls[0].first == "net/ipv4/conf/eth0.1/forwarding");
  BOOST_TEST(spec->sysctls[1].first == "net/ipv4/conf/eth0.1/forwarding");
}
