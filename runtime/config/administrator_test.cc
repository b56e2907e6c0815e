// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/administrator.h"

#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

using namespace nacre;

namespace {

Result<oci::AdministratorLimits> read(const std::string& text) {
  char directory[] = "/tmp/nacre-administrator-XXXXXX";
  BOOST_REQUIRE(::mkdtemp(directory) != nullptr);
  std::string path = std::string(directory) + "/config.toml";
  std::ofstream(path) << text;
  auto limits = oci::read_administrator_limits(path);
  std::filesystem::remove_all(directory);
  return limits;
}

}  // namespace

BOOST_AUTO_TEST_CASE(limits_of_the_administrator) {
  BOOST_TEST(!oci::read_administrator_limits("/nonexistent/config.toml").value().max_vm_memory.has_value());
  BOOST_TEST(!read("# nothing").value().max_vm_memory.has_value());
  BOOST_TEST(read("max-vm-memory = \"8G\"").value().max_vm_memory.value() == 8ull << 30);
  for (const char* wrong : {"max-vm-memory = 8", "max-vm-memory = \"much\"", "max_vm_memory = \"8G\"", "x"}) {
    auto limits = read(wrong);
    BOOST_REQUIRE(!limits);
    BOOST_TEST(limits.error().message().starts_with("/tmp/nacre-administrator-"));
  }
}
