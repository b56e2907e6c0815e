// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/resize.h"

#include <boost/test/unit_test.hpp>

using namespace nacre;
using Json = nlohmann::json;

namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr runtime::HostSize kHost = {.memory = 8192 * kMiB, .cpus = 4};

// A machine of 128 MiB and 2 CPUs that has grown to 512 MiB.
constexpr runtime::VmState kMachine = {
    .size = {.memory = 512 * kMiB, .present = 512 * kMiB, .max_memory = 4096 * kMiB, .cpus = 2, .max_cpus = 4},
    .least_memory = 128 * kMiB};

runtime::WantedSize wanted(const char* changes, const char* kept = "{}", const runtime::VmState& machine = kMachine) {
  Json all = Json::parse(kept);
  all.merge_patch(Json::parse(changes));
  return runtime::wanted_size(all, Json::parse(changes), machine, kHost);
}

// A guest that moves to the requested size in steps, not above `most` and not below `least`.
struct Guest {
  Result<vmm::MachineSize> operator()(const vmm::Resize& request) {
    if (request.memory) {
      if (*request.memory == refused) return fail("no");
      size.memory = *request.memory;
    }
    uint64_t target = std::clamp(size.memory, least, most);
    if (size.present < target) size.present += std::min(step, target - size.present);
    if (size.present > target) size.present -= std::min(step, size.present - target);
    return size;
  }

  vmm::MachineSize size = {.memory = 100, .present = 100};
  uint64_t step = 7, least = 0, most = 1000, refused = 77;
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_an_update_wants_of_the_machine) {
  BOOST_TEST(!wanted(R"({"pids": {"limit": 5}, "cpu": {"shares": 5}})", R"({"memory": {"limit": 5}})").memory);
  BOOST_TEST(*wanted(R"({"memory": {"limit": 1073741824}})").memory ==
             runtime::size_for(Json::parse(R"({"memory": {"limit": 1073741824}})"), kHost).memory);
  BOOST_TEST(*wanted(R"({"unified": {"memory.max": "1G"}})").memory > 1024 * kMiB);
  BOOST_TEST(*wanted(R"({"memory": {"limit": 4096}})").memory == 128 * kMiB);  // not below what it booted with
  BOOST_TEST(*wanted(R"({"memory": {"limit": -1}})").memory == 512 * kMiB);
  BOOST_TEST(wanted(R"({"memory": {"limit": 1073741824}})").warnings.empty());
  auto too_much = wanted(R"({"memory": {"limit": 5368709120}, "cpu": {"cpus": "0-7"}})");
  BOOST_TEST(*too_much.memory == 4096 * kMiB);
  BOOST_TEST(*too_much.cpus == 4u);
  BOOST_REQUIRE_EQUAL(too_much.warnings.size(), 2u);
  BOOST_TEST(too_much.warnings[0] ==
             "memory: the VM should have 5320 MiB for this limit, and cannot have more than 4096 MiB");
  BOOST_TEST(too_much.warnings[1] == "cpu: the VM should have 8 CPUs, and cannot have more than 4");
}

BOOST_AUTO_TEST_CASE(cpus_follow_quota_and_set) {
  BOOST_TEST(!wanted("{}").cpus);
  BOOST_TEST(*wanted(R"({"cpu": {"quota": 250000}})").cpus == 3u);
  BOOST_TEST(*wanted(R"({"cpu": {"quota": 2500000}})").cpus == 4u);
  BOOST_TEST(*wanted(R"({"cpu": {"period": 50000}})", R"({"cpu": {"quota": 200000}})").cpus == 4u);
  BOOST_TEST(*wanted(R"({"cpu": {"quota": 1000}})").cpus == 1u);
  BOOST_TEST(*wanted(R"({"cpu": {"cpus": "0"}})", R"({"cpu": {"quota": 200000}})").cpus == 1u);
  BOOST_TEST(!wanted(R"({"cpu": {"quota": -1}})").cpus);  // without a limit the CPUs stay
  auto pinned = kMachine;
  pinned.least_cpus = 2;
  BOOST_TEST(*wanted(R"({"cpu": {"quota": 1000}})", "{}", pinned).cpus == 2u);
}

BOOST_AUTO_TEST_CASE(memory_grows_or_is_as_before) {
  Guest guest;
  BOOST_TEST(runtime::grow_memory(std::ref(guest), 200).has_value());
  BOOST_TEST(guest.size.present == 200u);
  auto refused = runtime::grow_memory(std::ref(guest), 77);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().message() == "the VM does not grow: no");
  BOOST_TEST(guest.size.memory == 200u);
}

BOOST_AUTO_TEST_CASE(memory_shrinks_as_far_as_it_goes) {
  Guest guest;
  BOOST_TEST(*runtime::shrink_memory(std::ref(guest), 50) == 50u);
  guest.least = 40;
  BOOST_TEST(*runtime::shrink_memory(std::ref(guest), 10) == 40u);
}
