// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/file_ids.h"

#include <string>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

namespace nacre {
namespace {

using Json = nlohmann::json;
using Ranges = std::vector<vmm::IdRange>;

oci::Mount bind(const char* json) {
  return {.name = "mounts[0]", .destination = "/a", .source = "/x", .bind = true, .json = Json::parse(json)};
}

const char* const kMappings = R"({
  "uidMappings": [{"containerID": 1, "hostID": 7, "size": 2}, {"containerID": 0, "hostID": 1000, "size": 1}],
  "gidMappings": [{"containerID": 0, "hostID": 100, "size": 10}]})";

}  // namespace

BOOST_AUTO_TEST_SUITE(file_ids)

BOOST_AUTO_TEST_CASE(a_container_without_a_user_namespace_has_files_of_anybody) {
  auto ids = runtime::file_ids(nullptr, {bind("{}")});
  BOOST_TEST(ids.uids.empty());
  BOOST_TEST(ids.gids.empty());
}

BOOST_AUTO_TEST_CASE(root_of_the_container_comes_first) {
  auto ids = runtime::file_ids(Json::parse(kMappings), {bind("{}")});
  BOOST_TEST((ids.uids == Ranges{{1000, 1}, {7, 2}}));
  BOOST_TEST((ids.gids == Ranges{{100, 10}}));
}

BOOST_AUTO_TEST_CASE(mounts_with_mapped_ids_add_those_of_their_files) {
  auto own = runtime::file_ids(Json::parse(kMappings), {bind(R"({"options": ["rbind", "ridmap"]})")});
  BOOST_TEST((own.uids == Ranges{{1000, 1}, {7, 2}, {1, 2}, {0, 1}}));
  BOOST_TEST((own.gids == Ranges{{100, 10}, {0, 10}}));
  // Ranges around, between and across those that are there.
  auto given = runtime::file_ids(Json::parse(kMappings),
                                 {bind(R"({"uidMappings": [{"containerID": 5, "hostID": 0, "size": 1000}],
                "gidMappings": [{"containerID": 105, "hostID": 0, "size": 10}]})")});
  BOOST_TEST((given.uids == Ranges{{1000, 1}, {7, 2}, {5, 2}, {9, 991}, {1001, 4}}));
  BOOST_TEST((given.gids == Ranges{{100, 10}, {110, 5}}));
}

BOOST_AUTO_TEST_CASE(a_vm_serves_the_ids_that_it_has) {
  const Ranges all, some{{10, 5}, {15, 5}};
  BOOST_TEST(runtime::covers(all, all));
  BOOST_TEST(runtime::covers(all, some));
  BOOST_TEST(!runtime::covers(some, all));
  BOOST_TEST(runtime::covers(some, some));
  BOOST_TEST(runtime::covers(some, {{12, 8}, {11, 1}}));
  BOOST_TEST(!runtime::covers(some, {{12, 9}}));
  BOOST_TEST(!runtime::covers(some, {{9, 2}}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace nacre
