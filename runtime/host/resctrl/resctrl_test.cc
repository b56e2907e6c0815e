// SPDX-License-Identifier: Apache-2.0
// Tests against a directory that looks like resctrl, because the test machines lack the hardware.
#include <stdlib.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/host/resctrl/figures.h"
#include "runtime/host/resctrl/group.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

class FileSystem {
 public:
  FileSystem() : path_("/tmp/nacre-resctrl-XXXXXX") {
    BOOST_REQUIRE(::mkdtemp(path_.data()) != nullptr);
    write("schemata", "    MB:0=100\n    L3:0=fff\n");
    write("info/last_cmd_status", "ok\n");
    write("info/L3/cbm_mask", "fff\n");
    write("info/L3/min_cbm_bits", "1\n");
    write("info/L3/num_closids", "16\n");
    group("");
  }
  ~FileSystem() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::path file = path_ + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string read(const std::string& name) const {
    std::stringstream text;
    text << std::ifstream(path_ + "/" + name).rdbuf();
    return text.str();
  }
  // Makes the files that the kernel makes on mkdir(2).
  void group(const std::string& name) const {
    write(name + "/tasks", "");
    write(name + "/schemata", "L3:0=fff\n");
    std::filesystem::create_directories(path_ + "/" + name + "/mon_groups");
  }
  bool has(const std::string& name) const { return std::filesystem::exists(path_ + "/" + name); }

 private:
  std::string path_;
};

std::string refusal(const std::string& root, const char* intel_rdt) {
  auto checked = resctrl::check(resctrl::support(root), Json::parse(intel_rdt));
  return checked ? "" : checked.error().message();
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_the_host_has_not_is_refused) {
  FileSystem host;
  BOOST_TEST(refusal("", "{}") == "intelRdt is specified in config, but Intel RDT is not enabled");
  BOOST_TEST(refusal(host.path(), R"({"closID": "a", "l3CacheSchema": "L3:0=f"})") == "");
  BOOST_TEST(refusal(host.path(), R"({"closID": "/"})") == "");
  for (const char* text :
       {R"({"closID": ".."})", R"({"closID": "."})", R"({"closID": "a/b"})", R"({"closID": "/a"})"}) {
    BOOST_TEST(refusal(host.path(), text).starts_with("invalid intelRdt.ClosID \""));
  }
  BOOST_TEST(refusal(host.path(), R"({"memBwSchema": "MB:0=10"})") ==
             "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled");
}

BOOST_AUTO_TEST_CASE(a_group_of_others_is_entered_and_stays) {
  FileSystem host;
  auto none = resctrl::make(host.path(), Json::parse(R"({"closID": "batch"})"), "c");
  BOOST_REQUIRE(!none);
  BOOST_TEST(none.error().message().contains("clos dir not accessible"));
  BOOST_TEST(!host.has("batch"));
  host.group("batch");
  auto group = resctrl::make(host.path(), Json::parse(R"({"closID": "batch", "l3CacheSchema": "L3:0=f", "schemata":
      ["L2:0=1"], "enableMonitoring": true})"),
                             "c");
  BOOST_REQUIRE(group);
  BOOST_TEST(host.read("batch/schemata") == "L3:0=f\nL2:0=1\n");
  host.write("batch/mon_groups/c/tasks", "");
  BOOST_REQUIRE(resctrl::enter(*group));
  BOOST_TEST(host.read("batch/tasks") == std::to_string(::getpid()));
  BOOST_TEST(host.read("batch/mon_groups/c/tasks") == std::to_string(::getpid()));
  std::filesystem::remove(host.path() + "/batch/mon_groups/c/tasks");  // the kernel removes these with their directory
  resctrl::remove(*group);
  BOOST_TEST((host.has("batch") && !host.has("batch/mon_groups/c")));
}

BOOST_AUTO_TEST_CASE(a_group_of_the_containers_own_goes_with_it) {
  FileSystem host;
  auto group = resctrl::make(host.path(), Json::object(), "c");
  BOOST_REQUIRE(group);
  BOOST_TEST(host.has("c"));
  resctrl::remove(*group);
  BOOST_TEST(!host.has("c"));
  // A schema that the kernel refuses. This test has no file to write the schema to.
  host.write("info/last_cmd_status", "Mask out of range\n");
  auto wrong = resctrl::make(host.path(), Json::parse(R"({"l3CacheSchema": "L3:0=fffff"})"), "c");
  BOOST_REQUIRE(!wrong);
  BOOST_TEST(wrong.error().message().ends_with(", last_cmd_status: Mask out of range"));
  BOOST_TEST(!host.has("c"));
}

BOOST_AUTO_TEST_CASE(figures_are_runcs) {
  FileSystem host;
  host.group("c");
  resctrl::Group group{.path = host.path() + "/c"};
  auto allocation = resctrl::figures(host.path(), group);
  BOOST_REQUIRE(allocation);
  BOOST_TEST(allocation->dump() == R"({"l3_cache_info":{"cbm_mask":"fff","min_cbm_bits":1,"num_closids":16},)"
                                   R"("l3_cache_schema_root":"L3:0=fff","l3_cache_schema":"L3:0=fff",)"
                                   R"("schemata":["L3:0=fff"]})");
  host.write("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n");
  for (const char* cache : {"mon_L3_00", "mon_L3_01"}) {
    std::string directory = std::string("c/mon_data/") + cache;
    host.write(directory + "/llc_occupancy", "4096\n");
    host.write(directory + "/mbm_total_bytes", "7\n");
    host.write(directory + "/mbm_local_bytes", "5\n");
  }
  auto counted = resctrl::figures(host.path(), group);
  BOOST_REQUIRE(counted);
  BOOST_TEST((*counted)["mbm_stats"].dump() ==
             R"([{"mbm_total_bytes":7,"mbm_local_bytes":5},{"mbm_total_bytes":7,"mbm_local_bytes":5}])");
  BOOST_TEST((*counted)["cmt_stats"].dump() == R"([{"llc_occupancy":4096},{"llc_occupancy":4096}])");
  host.write("c/mon_data/mon_L3_01/llc_occupancy", "Unavailable\n");
  BOOST_TEST(resctrl::figures(host.path(), group).error().message().contains("\"Unavailable\" is no number"));
}
