// SPDX-License-Identifier: Apache-2.0
// Fuzzes the translation of seccomp profiles: from linux.seccomp to the program that the guest's kernel gets.
//
// Profiles are built from the input, with fields of the right types, since others do not get so far. A program is one
// that the kernel takes: forward jumps inside of it, loads inside of the data, and an end on every way. Whatever a
// process calls, the program's verdict is one that the profile names. The guest reads the program as it was sent.
#include <linux/audit.h>
#include <seccomp.h>

#include <bit>
#include <set>

#include "guest-init/spec/spec.h"
#include "runtime/config/seccomp/compile.h"
#include "runtime/config/seccomp/names.h"
#include "tests/fuzz/json_changes.h"

namespace {

using namespace nacre;
using fuzz::Json;

constexpr size_t kMaxRules = 12, kMaxNames = 40;
constexpr const char* kCalls[] = {"read",   "write",       "openat",       "clone",      "clone3", "ioctl",
                                  "socket", "personality", "mmap",         "socketcall", "ipc",    "_llseek",
                                  "futex",  "statx",       "no_such_call", "exit"};

std::string word_of(std::span<const seccomp::Word> words, fuzz::Input& input) {
  return std::string(words[input.take<uint8_t>() % words.size()].name);
}

Json take_condition(fuzz::Input& input) {
  bool is_small = input.take<uint8_t>() & 1;
  auto value = [&] { return is_small ? uint64_t{input.take<uint8_t>()} : input.take<uint64_t>(); };
  Json condition = {{"index", input.take<uint8_t>() % 6}, {"value", value()}};
  condition["op"] = word_of(seccomp::kOperators, input);
  if (input.take<uint8_t>() & 1) condition["valueTwo"] = value();
  return condition;
}

Json take_profile(fuzz::Input& input) {
  Json profile = {{"defaultAction", word_of(seccomp::kActions, input)}};
  if (input.take<uint8_t>() & 1) profile["defaultErrnoRet"] = input.take<uint16_t>() % 5000;
  constexpr const char* kNear[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"};
  for (auto count = input.take<uint8_t>() % 4; count > 0; count--) {
    bool near = input.take<uint8_t>() % 8 != 0;
    profile["architectures"].push_back(near ? input.one_of(kNear) : word_of(seccomp::kArchitectures, input));
  }
  for (auto count = input.take<uint8_t>() % 3; count > 0; count--) {
    profile["flags"].push_back(word_of(seccomp::kFlags, input));
  }
  for (size_t rules = 0; rules < kMaxRules && !input.empty(); rules++) {
    Json rule = {{"action", word_of(seccomp::kActions, input)}, {"names", Json::array()}};
    for (size_t count = 1 + input.take<uint8_t>() % kMaxNames; count > 0; count--) {
      auto which = input.take<uint8_t>();
      // Any call of the native architecture, by its number.
      char* name = which < 128 ? nullptr : ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (which - 128) * 3);
      rule["names"].push_back(name != nullptr ? name : kCalls[which % std::size(kCalls)]);
      std::free(name);
    }
    for (auto count = input.take<uint8_t>() % 4; count > 0; count--) rule["args"].push_back(take_condition(input));
    if (input.take<uint8_t>() & 1) rule["errnoRet"] = input.take<uint16_t>() % 5000;
    profile["syscalls"].push_back(std::move(rule));
  }
  return profile;
}

// Checks a program as the kernel does (kernel/seccomp.c, seccomp_check_filter(); net/core/filter.c), for the
// instructions that libseccomp and Nacre write.
void check_program(const std::vector<sock_filter>& program) {
  fuzz::check(!program.empty() && program.size() <= BPF_MAXINSNS, "a program has a size that the kernel refuses");
  for (size_t at = 0; at < program.size(); at++) {
    const sock_filter& i = program[at];
    size_t left = program.size() - at - 1;
    switch (BPF_CLASS(i.code)) {
      case BPF_LD:
        fuzz::check(i.code == (BPF_LD | BPF_W | BPF_ABS) && i.k % 4 == 0 && i.k < sizeof(seccomp_data),
                    "a program loads what is no data");
        break;
      case BPF_JMP:
        if (BPF_OP(i.code) == BPF_JA) {
          fuzz::check(i.k < left, "a program jumps out of itself");
        } else {
          fuzz::check(i.jt < left && i.jf < left, "a program jumps out of itself");
        }
        break;
      case BPF_ALU:
        fuzz::check(i.code == (BPF_ALU | BPF_AND | BPF_K), "a program calculates");
        break;
      default:
        fuzz::check(i.code == (BPF_RET | BPF_K), "a program has an instruction that is none");
    }
  }
  fuzz::check(BPF_CLASS(program.back().code) == BPF_RET, "a program has no end");
}

// Runs a program that check_program() has accepted.
uint32_t run(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t a = 0;
  for (size_t at = 0;; at++) {
    const sock_filter& i = program[at];
    bool holds = false;
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
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
        fuzz::check(false, "a program has an instruction that is none");
    }
    at += holds ? i.jt : i.jf;
  }
}

// Returns a verdict without what the kernel does not look at.
uint32_t plain(uint32_t verdict) {
  uint32_t action = verdict & SECCOMP_RET_ACTION_FULL;
  return action == SECCOMP_RET_ERRNO || action == SECCOMP_RET_TRACE ? verdict : action;
}

void check_verdicts(const seccomp::Profile& profile, const std::vector<sock_filter>& program, fuzz::Input& input) {
  // An architecture that the profile does not have is killed; a call that is too new gives ENOSYS.
  std::set<uint32_t> named = {plain(profile.default_action), SECCOMP_RET_KILL_THREAD, SECCOMP_RET_KILL_PROCESS,
                              SECCOMP_RET_ERRNO | ENOSYS};
  for (const seccomp::Rule& rule : profile.rules) named.insert(plain(rule.action));
  constexpr uint32_t kArchitectures[] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64, 0};
  for (int calls = 0; calls < 64; calls++) {
    seccomp_data data{};
    data.nr = input.take<uint8_t>() & 1 ? input.take<int32_t>() : calls * 7;
    data.arch = kArchitectures[static_cast<size_t>(calls) % std::size(kArchitectures)];
    for (auto& argument : data.args) argument = input.take<uint8_t>();
    fuzz::check(named.contains(plain(run(program, data))), "a verdict that the profile does not name");
  }
}

}  // namespace

// For some profiles libseccomp 2.5 leaves memory behind that seccomp_release() does not free. The process that compiles
// a profile ends with its command.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libseccomp.so";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::silence_log();
  fuzz::Input input(data, size);
  fuzz::Input calls = input;
  Json profile = take_profile(input);
  auto filter = seccomp::compile(profile, "linux.seccomp");
  if (!filter) {
    fuzz::check(!filter.error().message().empty(), "a profile is refused without a word");
    return 0;
  }
  if (!*filter) return 0;
  const std::vector<sock_filter>& program = (*filter)->program;
  check_program(program);
  auto read = seccomp::read_profile(profile, "linux.seccomp");
  fuzz::check(read && *read, "a profile is compiled and cannot be read");
  check_verdicts(**read, program, calls);

  Json message = seccomp::to_message(**filter);
  auto parsed = guest::parse_seccomp(
      {.program = message["program"].get<std::vector<uint64_t>>(), .flags = message["flags"].get<uint32_t>()});
  fuzz::check(parsed && parsed->program.size() == program.size() && parsed->flags == (*filter)->flags,
              "the guest refuses a program of the host");
  bool same = std::ranges::equal(parsed->program, program, {}, std::bit_cast<uint64_t, sock_filter>,
                                 std::bit_cast<uint64_t, sock_filter>);
  fuzz::check(same, "the guest reads another program");
  return 0;
}
