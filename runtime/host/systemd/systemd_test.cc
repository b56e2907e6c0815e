// SPDX-License-Identifier: Apache-2.0
#include <boost/test/unit_test.hpp>
#include <optional>

#include "runtime/host/systemd/annotations.h"
#include "runtime/host/systemd/unit_name.h"

using namespace nacre;

BOOST_AUTO_TEST_CASE(annotations_are_properties_of_the_unit) {
  auto value_of = [](const char* name, const char* text) {
    auto properties =
        runtime::annotated_properties({{"other", "x"}, {std::string("org.systemd.property.") + name, text}});
    return properties ? std::optional(properties->at(0)) : std::nullopt;
  };
  BOOST_TEST(std::get<bool>(value_of("Abc", "true")->value));
  BOOST_TEST(std::get<int32_t>(value_of("Abc", "-7")->value) == -7);
  BOOST_TEST(std::get<uint64_t>(value_of("Abc", "uint64 7")->value) == 7);
  BOOST_TEST(std::get<std::string>(value_of("Abc", "'a b'")->value) == "a b");
  BOOST_TEST((std::get<std::vector<std::string>>(value_of("Abc", "['a', \"b\"]")->value) ==
              std::vector<std::string>{"a", "b"}));
  BOOST_TEST(value_of("TimeoutStopSec", "uint64 2")->name == "TimeoutStopUSec");
  BOOST_TEST(std::get<uint64_t>(value_of("TimeoutStopSec", "uint64 2")->value) == 2'000'000);
  for (const char* bad : {"", "x", "'a", "['a'", "['a',]", "uint64 -1", "uint64 2 3", "7x", "'a' b", "@as x"}) {
    BOOST_TEST(!value_of("Abc", bad).has_value(), bad);
  }
  BOOST_TEST(!value_of("Ab", "true").has_value());
  BOOST_TEST(!value_of("Ab1c", "true").has_value());
  for (const char* bad : {"'x'", "true", "-1", "double nan", "double 1e300", "uint64 18446744073709551615"}) {
    BOOST_TEST(!value_of("AbcSec", bad).has_value(), bad);
  }
  BOOST_TEST(std::get<uint64_t>(value_of("AbcSec", "double 0.5")->value) == 500'000);
  BOOST_TEST(!value_of("Abc", "'a\\n'").has_value());
  for (const char* beyond : {"SuccessAction", "Conflicts", "Slice", "OnFailure"}) {
    BOOST_TEST(!value_of(beyond, "'x.service'").has_value(), beyond);
  }
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

BOOST_AUTO_TEST_CASE(cgroups_paths_are_units) {
  auto parsed = [](const std::string& path, bool of_user = false) {
    auto unit = runtime::parse_unit(path, "id", of_user);
    return unit ? unit->slice + " " + unit->unit : unit.error().message();
  };
  BOOST_TEST(parsed("") == "system.slice nacre-id.scope");
  BOOST_TEST(parsed("", true) == "user.slice nacre-id.scope");
  BOOST_TEST(parsed("a-b.slice:pre:x") == "a-b.slice pre-x.scope");
  BOOST_TEST(parsed("::x") == "system.slice -x.scope");
  for (const char* bad : {"/a/b", "a:b", "a:b:c:d", "a.slice:b/c:d"})
    BOOST_TEST(parsed(bad).contains("slice:prefix:name"));
  BOOST_TEST(parsed("::system-foo.slice").contains("cannot be a container's unit"));
  BOOST_TEST(parsed("a:b:c").contains("invalid slice name"));
  std::string deep = "a.slice";
  while (deep.size() < 1 << 16) deep = "a-" + deep;
  BOOST_TEST(parsed(deep + ":b:c").contains("at most 255"));
  BOOST_TEST(parsed(":b:" + std::string(300, 'c')).contains("at most 255"));
}
