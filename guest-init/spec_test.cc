#define BOOST_TEST_MODULE guest_spec
#include "guest-init/spec.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>

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
  auto files = parse_resources(Field(&resources, "linux.resources"));
  if (!files) return files.error().message();
  std::string text;
  for (const auto& [name, value] : *files) text += name + "=" + value + ";";
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
  BOOST_TEST(error_with("/linux/namespaces", {{{"type", "user"}}}) ==
             "user namespaces are not supported by this version");
  BOOST_TEST(error_with("/linux/namespaces", {{{"type", "pid"}, {"path", "/x"}}}) ==
             "joining a pid namespace by its path is not supported by this version");
  BOOST_TEST(error_with("/linux/sysctl", {{"a/../../b", "1"}}) == "linux.sysctl has the invalid name \"a/../../b\"");
  BOOST_TEST(error_with("/linux/devices", {{{"path", "/dev/x"}, {"type", "z"}}}) ==
             "linux.devices[0] has the unknown type \"z\"");
}

BOOST_AUTO_TEST_CASE(mount_options) {
  Json json = {
      {"destination", "/a"},
      {"source", "/s"},
      {"options", {"rbind", "ro", "noexec", "exec", "relatime", "noatime", "rslave", "rro", "defaults", "x=y"}}};
  auto mount = parse_mount(Field(&json, "mounts[0]"));
  BOOST_REQUIRE(mount);
  BOOST_TEST(mount->type == "bind");
  BOOST_TEST(mount->recursive);
  BOOST_TEST(mount->set == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME));
  BOOST_TEST(mount->clear == (MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME));
  BOOST_TEST(mount->deep_set == static_cast<unsigned>(MOUNT_ATTR_RDONLY));
  BOOST_TEST(mount->propagation == std::vector<uint64_t>{MS_SLAVE | MS_REC}, boost::test_tools::per_element());
  BOOST_TEST(mount->options == std::vector<std::string>{"x=y"}, boost::test_tools::per_element());
  json["options"] = {"idmap"};
  BOOST_TEST(parse_mount(Field(&json, "mounts[0]")).error().message() ==
             "mount option \"idmap\" of /a is not supported by this version");
}

BOOST_AUTO_TEST_CASE(resources_become_files_of_cgroup_v2) {
  BOOST_TEST(files_of({{"memory", {{"limit", 1000}, {"swap", 1500}, {"reservation", 10}}}}) ==
             "memory.swap.max=500;memory.max=1000;memory.low=10;");
  BOOST_TEST(files_of({{"memory", {{"limit", -1}}}}) == "memory.max=max;");
  BOOST_TEST(files_of({{"cpu", {{"shares", 1024}, {"quota", 50000}, {"period", 100000}, {"cpus", "0-1"}}}}) ==
             "cpu.weight=39;cpu.max=50000 100000;cpuset.cpus=0-1;");
  BOOST_TEST(files_of({{"cpu", {{"quota", -1}}}}) == "cpu.max=max;");
  BOOST_TEST(files_of({{"pids", {{"limit", -1}}}}) == "pids.max=max;");
  BOOST_TEST(files_of({{"unified", {{"memory.high", "5"}}}}) == "memory.high=5;");
  BOOST_TEST(files_of({{"unified", {{"../x.y", "5"}}}}) ==
             "linux.resources.unified.../x.y is not the name of a cgroup file");
  BOOST_TEST(files_of({{"hugepageLimits", {{{"pageSize", "2MB"}}}}}) ==
             "linux.resources.hugepageLimits is not supported by this version");
  BOOST_TEST(files_of({{"devices", {{{"allow", false}, {"access", "rwm"}}}}, {"blockIO", Json::object()}}) == "");
}

BOOST_AUTO_TEST_CASE(sysctl_names_have_either_separator) {
  Json config = minimal();
  config["linux"]["sysctl"] = {{"net.ipv4.conf.eth0/1.forwarding", "1"}, {"net/ipv4/conf/eth0.1/forwarding", "0"}};
  auto spec = parse_container(config);
  BOOST_REQUIRE(spec);
  BOOST_TEST(spec->sysctls[0].first == "net/ipv4/conf/eth0.1/forwarding");
  BOOST_TEST(spec->sysctls[1].first == "net/ipv4/conf/eth0.1/forwarding");
}
