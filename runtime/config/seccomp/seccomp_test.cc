// SPDX-License-Identifier: Apache-2.0
// Compiles profiles and runs the resulting programs as the kernel would.
#include <sys/syscall.h>

#include <boost/test/unit_test.hpp>
#include <cstring>

#include <nlohmann/json.hpp>

#include "runtime/config/seccomp/compile.h"
#include "runtime/config/seccomp/names.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

constexpr uint32_t kEperm = SECCOMP_RET_ERRNO | EPERM, kEnosys = SECCOMP_RET_ERRNO | ENOSYS;
constexpr uint32_t kX32 = 1u << 30;

// The subset of BPF that libseccomp and we write.
uint32_t run(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t a = 0;
  for (size_t at = 0; at < program.size(); at++) {
    const sock_filter& i = program[at];
    bool holds = false;
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        BOOST_REQUIRE(i.k <= sizeof(data) - sizeof(a));
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, sizeof(a));
        continue;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= i.k;
        continue;
      case BPF_RET | BPF_K:
        return i.k;
      case BPF_JMP | BPF_JA:
        at += i.k;
        continue;
      case BPF_JMP | BPF_JEQ | BPF_K:
        holds = a == i.k;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        holds = a > i.k;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        holds = a >= i.k;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        holds = (a & i.k) != 0;
        break;
      default:
        BOOST_FAIL("instruction " << i.code);
    }
    at += holds ? i.jt : i.jf;
  }
  BOOST_FAIL("ran over the end");
  return 0;
}

struct Compiled {
  seccomp::Filter filter;

  uint32_t on(uint32_t architecture, long number, std::vector<uint64_t> args = {}) const {
    seccomp_data data{};
    data.arch = architecture;
    data.nr = static_cast<int>(number);
    std::copy(args.begin(), args.end(), data.args);
    return run(filter.program, data);
  }
  uint32_t operator()(long number, std::vector<uint64_t> args = {}) const {
    return on(SCMP_ARCH_X86_64, number, std::move(args));
  }
};

Compiled compiled(const Json& profile) {
  auto filter = seccomp::compile(profile, "linux.seccomp");
  BOOST_REQUIRE_MESSAGE(filter, filter.error().message());
  BOOST_REQUIRE(*filter);
  return {**filter};
}

std::string profile_error(const Json& profile) {
  auto filter = seccomp::compile(profile, "linux.seccomp");
  return filter ? "no error" : filter.error().message();
}

Json deny(const std::vector<Json>& syscalls) {
  return {{"defaultAction", "SCMP_ACT_ERRNO"}, {"syscalls", syscalls}};
}

Json allow(const char* name, const std::vector<Json>& args = {}) {
  return {{"names", Json::array({name})}, {"action", "SCMP_ACT_ALLOW"}, {"args", args}};
}

Json compare(unsigned index, const char* op, uint64_t value, uint64_t two = 0) {
  return {{"index", index}, {"op", op}, {"value", value}, {"valueTwo", two}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(seccomp_profiles)

BOOST_AUTO_TEST_CASE(a_profile_that_asks_for_nothing_is_none) {
  for (const Json& nothing : {Json::object(), Json{{"defaultAction", ""}, {"syscalls", Json::array()}}}) {
    auto filter = seccomp::compile(nothing, "linux.seccomp");
    BOOST_REQUIRE(filter);
    BOOST_TEST(!filter->has_value());
  }
  BOOST_TEST(profile_error({{"syscalls", Json::array({allow("read")})}}) ==
             "linux.seccomp.defaultAction: \"\" is not a seccomp action");
}

BOOST_AUTO_TEST_CASE(all_actions) {
  struct {
    const char* name;
    uint32_t result;
  } constexpr kCases[] = {
      {"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD},
      {"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD},
      {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS},
      {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP},
      {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO | 7},
      {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE | 7},
      {"SCMP_ACT_LOG", SECCOMP_RET_LOG},
  };
  static_assert(std::size(kCases) + 1 == seccomp::kActions.size());
  for (const auto& [name, result] : kCases) {
    Json call{{"names", Json::array({"sync"})}, {"action", name}, {"errnoRet", 7}};
    auto filter = compiled({{"defaultAction", "SCMP_ACT_ALLOW"}, {"syscalls", Json::array({call})}});
    BOOST_TEST(filter(SYS_sync) == result, name);
    BOOST_TEST(filter(SYS_read) == SECCOMP_RET_ALLOW);
    BOOST_TEST(filter(100'000) == SECCOMP_RET_ALLOW);
  }
  // Without errnoRet it is EPERM.
  Json call{{"names", Json::array({"sync"})}, {"action", "SCMP_ACT_ERRNO"}};
  BOOST_TEST(compiled({{"defaultAction", "SCMP_ACT_ALLOW"}, {"syscalls", Json::array({call})}})(SYS_sync) == kEperm);
}

BOOST_AUTO_TEST_CASE(all_operators) {
  struct {
    const char* op;
    bool below, equal, above;
  } constexpr kCases[] = {
      {"SCMP_CMP_NE", true, false, true},  {"SCMP_CMP_LT", true, false, false}, {"SCMP_CMP_LE", true, true, false},
      {"SCMP_CMP_EQ", false, true, false}, {"SCMP_CMP_GE", false, true, true},  {"SCMP_CMP_GT", false, false, true},
  };
  static_assert(std::size(kCases) + 1 == seccomp::kOperators.size());
  constexpr uint64_t kValue = 0x1'0000'0005;  // both halves count
  for (const auto& [op, below, equal, above] : kCases) {
    auto filter = compiled(deny({allow("dup2", {compare(1, op, kValue)})}));
    auto expected = [](bool holds) { return holds ? SECCOMP_RET_ALLOW : kEperm; };
    BOOST_TEST(filter(SYS_dup2, {9, kValue - 1}) == expected(below), op);
    BOOST_TEST(filter(SYS_dup2, {9, kValue}) == expected(equal), op);
    BOOST_TEST(filter(SYS_dup2, {9, kValue + 1}) == expected(above), op);
  }
  auto masked = compiled(deny({allow("dup2", {compare(0, "SCMP_CMP_MASKED_EQ", 0xf0, 0x20)})}));
  BOOST_TEST(masked(SYS_dup2, {0x123}) == SECCOMP_RET_ALLOW);
  BOOST_TEST(masked(SYS_dup2, {0x130}) == kEperm);
}

BOOST_AUTO_TEST_CASE(several_conditions) {
  // On different arguments all must hold, on one of them any.
  auto all = compiled(deny({allow("dup2", {compare(0, "SCMP_CMP_EQ", 1), compare(1, "SCMP_CMP_EQ", 2)})}));
  BOOST_TEST(all(SYS_dup2, {1, 2}) == SECCOMP_RET_ALLOW);
  BOOST_TEST(all(SYS_dup2, {1, 3}) == kEperm);
  auto any = compiled(deny({allow("dup2", {compare(0, "SCMP_CMP_EQ", 1), compare(0, "SCMP_CMP_EQ", 2)})}));
  BOOST_TEST(any(SYS_dup2, {1}) == SECCOMP_RET_ALLOW);
  BOOST_TEST(any(SYS_dup2, {2}) == SECCOMP_RET_ALLOW);
  BOOST_TEST(any(SYS_dup2, {3}) == kEperm);
}

BOOST_AUTO_TEST_CASE(names_that_nobody_knows_are_skipped) {
  auto filter = compiled(deny({allow("no_such_call"), allow("dup2")}));
  BOOST_TEST(filter(SYS_dup2) == SECCOMP_RET_ALLOW);
}

BOOST_AUTO_TEST_CASE(rules_that_say_what_the_default_says_are_skipped) {
  Json same{{"names", Json::array({"sync"})}, {"action", "SCMP_ACT_ERRNO"}, {"errnoRet", EPERM}};
  auto filter = compiled(deny({same, allow("dup2")}));
  BOOST_TEST(filter(SYS_sync) == kEperm);
}

BOOST_AUTO_TEST_CASE(newer_system_calls_than_the_profiles_do_not_exist) {
  auto filter = compiled(deny({allow("dup2"), allow("openat2")}));
  BOOST_TEST(filter(SYS_read) == kEperm);
  BOOST_TEST(filter(SYS_openat2) == SECCOMP_RET_ALLOW);
  BOOST_TEST(filter(SYS_openat2 + 1) == kEnosys);
  BOOST_TEST(filter(-1) == kEperm);  // what a tracer leaves of a call that it skipped
  BOOST_TEST(filter(SYS_read | kX32) == SECCOMP_RET_KILL_THREAD);
  BOOST_TEST(filter.on(SCMP_ARCH_X86, 3) == SECCOMP_RET_KILL_THREAD);

  Json profile = deny({allow("dup2"), allow("openat2")});
  profile["architectures"] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"};
  filter = compiled(profile);
  BOOST_TEST(filter(SYS_openat2) == SECCOMP_RET_ALLOW);
  BOOST_TEST(filter(SYS_openat2 + 1) == kEnosys);
  BOOST_TEST(filter(SYS_openat2 | kX32) == SECCOMP_RET_ALLOW);
  BOOST_TEST(filter(SYS_read | kX32) == kEperm);
  BOOST_TEST(filter((SYS_openat2 + 1) | kX32) == kEnosys);
  BOOST_TEST(filter.on(SCMP_ARCH_X86, 63) == SECCOMP_RET_ALLOW);  // its dup2
  BOOST_TEST(filter.on(SCMP_ARCH_X86, 3) == kEperm);
  BOOST_TEST(filter.on(SCMP_ARCH_X86, 438) == kEnosys);
  BOOST_TEST(filter.on(SCMP_ARCH_AARCH64, 438) == kEnosys);
  BOOST_TEST(filter.on(SCMP_ARCH_ARM, 3) == SECCOMP_RET_KILL_THREAD);

  // Only where the default refuses, and does not say ENOSYS itself.
  profile["defaultErrnoRet"] = ENOSYS;
  filter = compiled(profile);
  BOOST_TEST(filter(SYS_read) == kEnosys);
  BOOST_TEST(seccomp::enosys_prelude(*seccomp::read_profile(profile, "p").value()).empty());
  for (const char* action : {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"}) {
    Json other{{"defaultAction", action},
               {"syscalls", Json::array({{{"names", {"dup2"}}, {"action", "SCMP_ACT_KILL"}}})}};
    BOOST_TEST(seccomp::enosys_prelude(*seccomp::read_profile(other, "p").value()).empty(), action);
  }
  BOOST_TEST(compiled({{"defaultAction", "SCMP_ACT_KILL"}, {"syscalls", Json::array({allow("dup2")})}})(SYS_openat2) ==
             kEnosys);
}

BOOST_AUTO_TEST_CASE(long_profiles_are_a_tree) {
  Json call{{"names", Json::array()}, {"action", "SCMP_ACT_ALLOW"}};
  for (int number = 0; number < 300; number++) {
    char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
    if (name != nullptr && number % 3 != 0) call["names"].push_back(name);
    std::free(name);
  }
  auto filter = compiled(deny({call}));
  for (int number = 0; number < 300; number++) {
    if (number % 3 == 0) BOOST_TEST(filter(number) == (number < 299 ? kEperm : kEnosys), number);
  }
  BOOST_TEST(filter(SYS_write) == SECCOMP_RET_ALLOW);
  BOOST_TEST(filter(SYS_close_range) == kEnosys);
}

BOOST_AUTO_TEST_CASE(every_architecture_is_known_to_libseccomp) {
  for (const auto& [name, token] : seccomp::kArchitectures) {
    std::string theirs(name.substr(std::strlen("SCMP_ARCH_")));
    for (char& c : theirs) c = static_cast<char>(std::tolower(c));
    BOOST_TEST(::seccomp_arch_resolve_name(theirs.c_str()) == token, name);
  }
}

BOOST_AUTO_TEST_CASE(flags) {
  Json profile = deny({allow("dup2")});
  BOOST_TEST(compiled(profile).filter.flags == SECCOMP_FILTER_FLAG_SPEC_ALLOW);  // runc's default
  profile["flags"] = Json::array();
  BOOST_TEST(compiled(profile).filter.flags == 0u);
  profile["flags"] = {"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"};
  BOOST_TEST(compiled(profile).filter.flags == (SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_TSYNC));
  profile["flags"] = {"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_X"};
  BOOST_TEST(profile_error(profile) == "linux.seccomp.flags[1]: \"SECCOMP_FILTER_FLAG_X\" is not a seccomp flag");
  profile["flags"] = Json::array({"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"});
  BOOST_TEST(
      profile_error(profile).starts_with("linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is for "));
}

BOOST_AUTO_TEST_CASE(errors_name_the_field_of_the_profile) {
  auto with = [](const char* pointer, const Json& value) {
    Json profile = deny({allow("dup2", {compare(0, "SCMP_CMP_EQ", 1)})});
    profile[Json::json_pointer(pointer)] = value;
    return profile_error(profile);
  };
  BOOST_TEST(with("/defaultAction", "SCMP_ACT_X") ==
             "linux.seccomp.defaultAction: \"SCMP_ACT_X\" is not a seccomp action");
  BOOST_TEST(with("/defaultAction", "SCMP_ACT_NOTIFY") ==
             "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is not supported by this version");
  BOOST_TEST(with("/defaultErrnoRet", 4096) ==
             "linux.seccomp.defaultErrnoRet: must be an integer from 0 to 4095 for SCMP_ACT_ERRNO");
  BOOST_TEST(with("/architectures", {"SCMP_ARCH_X86", "x86"}) ==
             "linux.seccomp.architectures[1]: \"x86\" is not a seccomp architecture");
  BOOST_TEST(with("/architectures", Json::array({"SCMP_ARCH_S390X"})).starts_with("linux.seccomp.architectures[0]: "));
  BOOST_TEST(with("/syscalls/0/action", "SCMP_ACT_NOTIFY") ==
             "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY is not supported by this version");
  BOOST_TEST(with("/syscalls/0/action", "allow") ==
             "linux.seccomp.syscalls[0].action: \"allow\" is not a seccomp action");
  BOOST_TEST(with("/syscalls/0/names", Json::array({""})) == "linux.seccomp.syscalls[0].names[0]: must not be empty");
  BOOST_TEST(with("/syscalls/0/args/0/op", "==") ==
             "linux.seccomp.syscalls[0].args[0].op: \"==\" is not a seccomp operator");
  BOOST_TEST(with("/listenerMetadata", "x") == "linux.seccomp.listenerMetadata: cannot be set without listenerPath");
}

BOOST_AUTO_TEST_CASE(too_long_for_the_kernel) {
  std::vector<Json> calls;
  for (unsigned i = 0; i < 3000; i++)
    calls.push_back(allow("dup2", {compare(0, "SCMP_CMP_EQ", uint64_t{i} << 32 | i)}));
  std::string error = profile_error(deny(calls));
  BOOST_TEST(error.starts_with("linux.seccomp: becomes a filter of "), error);
}

BOOST_AUTO_TEST_CASE(message) {
  seccomp::Filter filter{.program = {{BPF_RET | BPF_K, 1, 2, SECCOMP_RET_ALLOW}}, .flags = 4};
  BOOST_TEST(seccomp::to_message(filter) == (Json{{"program", Json::array({0x7fff000002010006u})}, {"flags", 4}}));
}

BOOST_AUTO_TEST_SUITE_END()
