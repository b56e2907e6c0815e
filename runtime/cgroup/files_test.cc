#include "runtime/cgroup/files.h"

#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/systemd.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

// A directory that stands for a cgroup.
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
  // The VM's size is what limits its memory; and it has threads of its own.
  BOOST_TEST(text_of(R"({"memory": {"limit": 10, "swap": 30}, "pids": {"limit": 50},
                         "cpu": {"quota": 500, "period": 900, "burst": 7}})") ==
             "memory.swap.max=20;cpu.max=500 900;cpu.max.burst=7;pids.max=50;");
  BOOST_TEST(text_of(R"({"pids": {"limit": 1}})") == "pids.max=10;");
  BOOST_TEST(text_of(R"({"pids": {"limit": -1}, "unified": {"pids.max": "3"}})") == "pids.max=max;pids.max=10;");
  BOOST_TEST(text_of(R"({"cpu": {"quota": 1000, "period": 100000}})") == "cpu.max=50000 100000;");
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

BOOST_AUTO_TEST_CASE(all_files_are_written_or_none) {
  Directory cgroup;
  cgroup.write("a.b", "old");
  cgroup.write("cgroup.controllers", "cpu a\n");
  auto undo = protocol::set_cgroup_files(cgroup.path(), {{.name = "a.b", .value = "new"}});
  BOOST_REQUIRE(undo);
  BOOST_TEST(cgroup.read("a.b") == "new");
  BOOST_TEST(protocol::set_cgroup_files(cgroup.path(), *undo).has_value());
  BOOST_TEST(cgroup.read("a.b") == "old");
  auto failed = protocol::set_cgroup_files(
      cgroup.path(), {{.name = "a.b", .value = "new"}, {.name = "x.y", .value = "1", .unified = true}});
  BOOST_REQUIRE(!failed);
  BOOST_TEST(failed.error().message() == "unified resource \"x.y\" can't be set: controller \"x\" not available");
  BOOST_TEST(cgroup.read("a.b") == "old");
  failed = protocol::set_cgroup_files(cgroup.path(), {{.name = "a.y", .value = "1", .unified = true}});
  BOOST_REQUIRE(!failed);
  BOOST_TEST(failed.error().message().starts_with("unable to set unified resource \"a.y\": "));
}

BOOST_AUTO_TEST_CASE(a_cgroups_path_does_not_lead_out) {
  auto directory = [](const char* path) { return runtime::cgroup_directory(path, "id").value_or("none"); };
  BOOST_TEST(directory("/a/b") == "/sys/fs/cgroup/a/b");
  BOOST_TEST(directory("/../a/./../b//c/") == "/sys/fs/cgroup/b/c");
  BOOST_TEST(directory("/") == "/sys/fs/cgroup");
}

BOOST_AUTO_TEST_CASE(slices_are_nested) {
  auto expanded = [](const char* slice) { return runtime::expand_slice(slice).value_or("none"); };
  BOOST_TEST(expanded("system.slice") == "/system.slice");
  BOOST_TEST(expanded("user-1000-x.slice") == "/user.slice/user-1000.slice/user-1000-x.slice");
  BOOST_TEST(expanded("-.slice") == "");
  for (const char* bad : {"", ".slice", "a", "a--b.slice", "-a.slice", "a-.slice", "../a.slice"}) {
    BOOST_TEST(expanded(bad) == "none");
  }
}
