// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/cgroup/files.h"

#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/host/cgroup/unit_properties.h"
#include "runtime/host/cgroup/v1_files.h"
#include "runtime/host/cgroup/v2.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

// A temporary directory with the files of a cgroup.
class Directory {
 public:
  Directory() : path_("/tmp/nacre-cgroup-XXXXXX") { BOOST_REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Directory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path_ + "/" + name) << text; }
  std::string read(const std::string& name) const {
    std::stringstream text;
    text << std::ifstream(path_ + "/" + name).rdbuf();
    return text.str();
  }

 private:
  std::string path_;
};

std::string text_of(const char* resources, const std::string& directory = "/nonexistent") {
  auto files = runtime::host_files(Json::parse(resources), directory, 2);
  if (!files) return files.error().message();
  std::string text;
  for (const auto& file : *files) text += file.name + "=" + file.value + ";";
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(limits_of_the_host_become_files) {
  BOOST_TEST(text_of("{}") == "");
  BOOST_TEST(text_of(R"({"memory": {"reservation": 0}, "cpu": {"shares": 0, "cpus": "", "mems": ""},
                         "blockIO": {"weight": 0, "weightDevice": []}})") == "");
  BOOST_TEST(text_of(R"({"memory": {"reservation": -1}, "cpu": {"shares": 1024, "cpus": "0-1", "idle": 0}})") ==
             "memory.low=max;cpu.weight=100;cpu.idle=0;cpuset.cpus=0-1;");
  BOOST_TEST(text_of(R"({"cpu": {"shares": 1}})") == "cpu.weight=1;");
  BOOST_TEST(text_of(R"({"cpu": {"shares": 2000}})") == "cpu.weight=170;");
  // The VM's size limits its memory, and the VM needs threads of its own.
  BOOST_TEST(text_of(R"({"memory": {"limit": 10, "swap": 30}, "pids": {"limit": 50},
                         "cpu": {"quota": 500, "period": 900, "burst": 7}})") ==
             "memory.swap.max=20;cpu.max=500 900;cpu.max.burst=7;pids.max=50;");
  BOOST_TEST(text_of(R"({"pids": {"limit": 1}})") == "pids.max=12;");
  BOOST_TEST(text_of(R"({"pids": {"limit": -1}, "unified": {"pids.max": "3"}})") == "pids.max=max;pids.max=12;");
  BOOST_TEST(text_of(R"({"cpu": {"quota": 1000, "period": 100000}})") == "cpu.max=5000 100000;");
  BOOST_TEST(text_of(R"({"cpu": {"quota": -1}, "unified": {"cpu.max": "x 5"}})") == "cpu.max=max 100000;cpu.max=x 5;");
  BOOST_TEST(text_of(R"({"unified": {"cpu.max": "10000"}})") == "cpu.max=10000;");
  BOOST_TEST(text_of(R"({"memory": {"swap": 5}})").contains("unable to set swap limit without memory limit"));
  BOOST_TEST(text_of(R"({"hugepageLimits": [{"pageSize": "2MB", "limit": 8}]})") ==
             "hugetlb.2MB.max=8;hugetlb.2MB.rsvd.max=8;");
  BOOST_TEST(text_of(R"({"unified": {"memory.high": "1", "memory.low": "2", "cpuset.cpus": "6", "foo.bar": "9"}})") ==
             "cpuset.cpus=6;foo.bar=9;memory.low=2;");
  BOOST_TEST(text_of(R"({"cpu": {"shares": 999999999}})") == "cpu.weight=10000;");
  constexpr const char* kBlock =
      R"({"blockIO": {"weight": 500, "weightDevice": [{"major": 8, "minor": 1, "weight": 300}],
      "throttleReadBpsDevice": [{"major": 8, "rate": 5}], "throttleWriteIOPSDevice": [{"minor": 1, "rate": 6}]}})";
  BOOST_TEST(text_of(kBlock) == "io.weight=4950;io.max=8:0 rbps=5;io.max=0:1 wiops=6;");
  Directory bfq;
  bfq.write("io.bfq.weight", "100");
  BOOST_TEST(text_of(kBlock, bfq.path()) ==
             "io.bfq.weight=500;io.bfq.weight=8:1 300;io.max=8:0 rbps=5;io.max=0:1 wiops=6;");
  BOOST_TEST(text_of(R"({"rdma": {"a": {"hcaHandles": 3, "hcaObjects": 4}, "b": {}}})") ==
             "rdma.max=a hca_handle=3 hca_object=4;");
}

BOOST_AUTO_TEST_CASE(limits_of_the_host_become_files_of_version_1) {
  auto text_of_v1 = [](const char* resources) {
    auto files = runtime::v1_files(Json::parse(resources), {}, 2);
    if (!files) return files.error().message();
    std::string text;
    for (const auto& file : *files) text += file.name + "=" + file.value + ";";
    return text;
  };
  BOOST_TEST(text_of_v1("{}") == "");
  BOOST_TEST(text_of_v1(R"({"memory": {"limit": 10, "reservation": 0, "swappiness": null, "disableOOMKiller": false},
                            "cpu": {"shares": 0, "cpus": "", "realtimePeriod": 0}, "network": {"priorities": []},
                            "blockIO": {"weight": 0, "leafWeight": 0, "weightDevice": []}})") == "");
  BOOST_TEST(text_of_v1(R"({"memory": {"limit": 9, "swap": -1, "reservation": 5, "swappiness": 0,
                                       "disableOOMKiller": true}})") ==
             "memory.soft_limit_in_bytes=5;memory.memsw.limit_in_bytes=-1;memory.oom_control=1;memory.swappiness=0;");
  BOOST_TEST(text_of_v1(R"({"cpu": {"shares": 2, "quota": 500, "period": 9000, "burst": 7, "idle": 1, "mems": "0-1",
                                    "realtimeRuntime": 8, "realtimePeriod": 9}})") ==
             "cpu.shares=2;cpu.idle=1;cpu.cfs_period_us=9000;cpu.cfs_quota_us=500;cpu.cfs_burst_us=7;"
             "cpu.rt_period_us=9;cpu.rt_runtime_us=8;cpuset.mems=0-1;");
  BOOST_TEST(text_of_v1(R"({"cpu": {"quota": 1000}})") == "cpu.cfs_quota_us=5000;");
  BOOST_TEST(text_of_v1(R"({"cpu": {"quota": -1}})") == "cpu.cfs_quota_us=-1;");
  BOOST_TEST(text_of_v1(R"({"pids": {"limit": 1}})") == "pids.max=12;");
  BOOST_TEST(text_of_v1(R"({"pids": {"limit": -1}})") == "pids.max=max;");
  BOOST_TEST(text_of_v1(R"({"blockIO": {"weight": 500, "leafWeight": 6,
                "weightDevice": [{"major": 8, "minor": 1, "weight": 300, "leafWeight": 2}],
                "throttleWriteIOPSDevice": [{"minor": 1, "rate": 6}]}})") ==
             "blkio.bfq.weight=500;blkio.leaf_weight=6;blkio.bfq.weight_device=8:1 300;"
             "blkio.leaf_weight_device=8:1 2;blkio.throttle.write_iops_device=0:1 6;");
  BOOST_TEST(text_of_v1(R"({"network": {"classID": 16, "priorities": [{"name": "lo", "priority": 3}]},
                            "rdma": {"a": {"hcaHandles": 3}}})") ==
             "rdma.max=a hca_handle=3;net_cls.classid=16;net_prio.ifpriomap=lo 3;");
  BOOST_TEST(text_of_v1(R"({"cpu": {"shares": 1}})") == "the minimum allowed cpu-shares is 2");
  BOOST_TEST(text_of_v1(R"({"memory": {"swappiness": 101}})").contains("valid range is 0-100"));
}

BOOST_AUTO_TEST_CASE(files_of_version_1_have_a_directory_each) {
  const runtime::Directories directories = runtime::directories_of(R"({"cpu": "/a/x", "memory": "/b y/x"})");
  auto files = runtime::in_directories(
      directories, runtime::v1_backstop(Json::parse(R"({"memory": {"limit": 4, "swap": 7}})"), 100));
  BOOST_REQUIRE(files);
  BOOST_TEST(files->at(0).name == "b y/x/memory.limit_in_bytes");
  BOOST_TEST(files->at(1).value == "103");
  BOOST_TEST(runtime::in_directories(directories, *files)->at(0).name == files->at(0).name);
  BOOST_TEST(runtime::in_directories(directories, {{.name = "pids.max", .value = "1"}}).error().message() ==
             "cannot set pids limit: container could not join or create cgroup");
  BOOST_TEST(runtime::directories_of("/sys/fs/cgroup/x").empty());
}

BOOST_AUTO_TEST_CASE(all_files_are_written_or_none) {
  Directory cgroup;
  cgroup.write("a.b", "old");
  cgroup.write("cgroup.controllers", "cpu a\n");
  auto undo = oci::set_cgroup_files(cgroup.path(), {{.name = "a.b", .value = "new"}});
  BOOST_REQUIRE(undo);
  BOOST_TEST(cgroup.read("a.b") == "new");
  BOOST_TEST(oci::set_cgroup_files(cgroup.path(), *undo).has_value());
  BOOST_TEST(cgroup.read("a.b") == "old");
  auto failed = oci::set_cgroup_files(
      cgroup.path(), {{.name = "a.b", .value = "new"}, {.name = "x.y", .value = "1", .unified = true}});
  BOOST_REQUIRE(!failed);
  BOOST_TEST(failed.error().message() == "unified resource \"x.y\" can't be set: controller \"x\" not available");
  BOOST_TEST(cgroup.read("a.b") == "old");
  failed = oci::set_cgroup_files(cgroup.path(), {{.name = "a.y", .value = "1", .unified = true}});
  BOOST_REQUIRE(!failed);
  BOOST_TEST(failed.error().message().starts_with("unable to set unified resource \"a.y\": "));
}

BOOST_AUTO_TEST_CASE(a_cgroups_path_does_not_lead_out) {
  auto directory = [](const char* path) { return runtime::cgroup_directory(path, "id").value_or("none"); };
  BOOST_TEST(directory("/a/b") == "/sys/fs/cgroup/a/b");
  BOOST_TEST(directory("/../a/./../b//c/") == "/sys/fs/cgroup/b/c");
  BOOST_TEST(directory("/") == "/sys/fs/cgroup");
}

BOOST_AUTO_TEST_CASE(systemd_is_told_what_the_files_say) {
  auto properties = runtime::properties_of({{.name = "memory.max", .value = "100"},
                                            {.name = "pids.max", .value = "max"},
                                            {.name = "cpu.max", .value = "33333 100000"},
                                            {.name = "cpuset.cpus", .value = "0-1,9"},
                                            {.name = "io.max", .value = "7:0 rbps=1"}});
  BOOST_REQUIRE(properties.size() == 5);
  BOOST_TEST(properties[0].name == "MemoryMax");
  BOOST_TEST(std::get<uint64_t>(properties[0].value) == 100);
  BOOST_TEST(std::get<uint64_t>(properties[1].value) == UINT64_MAX);
  BOOST_TEST(std::get<uint64_t>(properties[2].value) == 100'000);
  BOOST_TEST(std::get<uint64_t>(properties[3].value) == 340'000);
  BOOST_TEST((std::get<std::vector<uint8_t>>(properties[4].value) == std::vector<uint8_t>{3, 2}));
  auto unlimited = runtime::properties_of({{.name = "cpu.max", .value = "max 50000"}});
  BOOST_REQUIRE(unlimited.size() == 1);
  BOOST_TEST(std::get<uint64_t>(unlimited[0].value) == UINT64_MAX);
  // A list must not be passed on if systemd would read it in another way than the kernel.
  for (const char* list : {"9999999", "1-", "3-1", "0, 1", "x"}) {
    BOOST_TEST(runtime::properties_of({{.name = "cpuset.cpus", .value = list}}).empty(), list);
  }
  std::string endless;
  while (endless.size() < 1 << 20) endless += "0-8191,";
  BOOST_TEST(runtime::properties_of({{.name = "cpuset.cpus", .value = endless}}).empty());
  BOOST_TEST(runtime::properties_of({{.name = "memory.min", .value = "10M"}}).empty());
}

BOOST_AUTO_TEST_CASE(quotas_are_whole_percents_with_systemd) {
  BOOST_TEST(runtime::in_percents("66666 100000") == "67000 100000");
  BOOST_TEST(runtime::in_percents("50000 100000") == "50000 100000");
  BOOST_TEST(runtime::in_percents("max 100000") == "max 100000");
  BOOST_TEST(runtime::in_percents("7 0") == "7 0");
  BOOST_TEST(runtime::in_percents("18446744073709551615 100000") == "1844674407370955161 100000");
}
