// SPDX-License-Identifier: Apache-2.0
// Compiles a table of system calls (base/syscall_rules.h) when Nacre is built.
//
//   compile-filters HEADER NAMESPACE   writes the programs as constants
//   compile-filters                    prints how many system calls each kind of thread has
#include <fmt/core.h>
#include <seccomp.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string_view>

#include "base/fd.h"
#include "base/syscall_rules.h"

namespace nacre {

namespace {

using Context = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

// A search in a tree of numbers rather than one comparison after the other.
constexpr uint32_t kBinaryTree = 2;

// System calls that are newer than Debian's libseccomp. Their numbers are the same on all architectures.
const std::map<std::string_view, int> kNewer = {{"statmount", 457}};

Result<int> number_of(const char* name) {
  if (auto newer = kNewer.find(name); newer != kNewer.end()) return newer->second;
  int number = ::seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR) return fail(fmt::format("there is no system call {}", name));
  return number;
}

Result<void> add(scmp_filter_ctx context, const SyscallRule& rule) {
  int number = TRY(number_of(rule.name));
  std::vector<scmp_arg_cmp> conditions;
  for (const Condition& condition : rule.conditions) {
    conditions.push_back({condition.argument, SCMP_CMP_MASKED_EQ, condition.mask, condition.value});
  }
  uint32_t action = rule.error == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(static_cast<unsigned>(rule.error));
  int failure = ::seccomp_rule_add_exact_array(context, action, number, static_cast<unsigned>(conditions.size()),
                                               conditions.data());
  if (failure < 0) return fail_errno(rule.name, -failure);
  return {};
}

Result<std::vector<sock_filter>> compile(const ThreadRules& kind) {
  Context context(::seccomp_init(SCMP_ACT_KILL_PROCESS), ::seccomp_release);
  if (!context) return fail("libseccomp does not know SCMP_ACT_KILL_PROCESS");
  // System calls of another architecture, such as those of 32-bit programs.
  (void)::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  (void)::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, kBinaryTree);
  for (std::span<const SyscallRule> rules : kind.rules) {
    for (const SyscallRule& rule : rules) TRY_CONTEXT(add(context.get(), rule), kind.name);
  }
  Fd file(::memfd_create("filter", MFD_CLOEXEC));
  if (!file) return fail_errno("memfd_create");
  if (int failure = ::seccomp_export_bpf(context.get(), file.get()); failure < 0) return fail_errno("export", -failure);
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  std::string bytes = TRY(read_fd(file.get()));
  std::vector<sock_filter> program(bytes.size() / sizeof(sock_filter));
  std::memcpy(program.data(), bytes.data(), program.size() * sizeof(sock_filter));
  return program;
}

Result<void> write_header(const char* path, const char* name) {
  std::string text = fmt::format("#pragma once\n#include <linux/filter.h>\nnamespace {} {{\n", name);
  for (const ThreadRules& kind : thread_rules()) {
    text += fmt::format("inline constexpr sock_filter {}[] = {{\n", kind.variable);
    for (const sock_filter& instruction : TRY(compile(kind))) {
      text +=
          fmt::format("  {{{:#x}, {}, {}, {:#x}}},\n", instruction.code, instruction.jt, instruction.jf, instruction.k);
    }
    text += "};\n";
  }
  text += "}\n";
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) return fail(fmt::format("{} cannot be written", path));
  return {};
}

void print_counts() {
  for (const ThreadRules& kind : thread_rules()) {
    std::set<std::string_view> allowed, checked;
    for (std::span<const SyscallRule> rules : kind.rules) {
      for (const SyscallRule& rule : rules) {
        if (rule.error == 0) allowed.insert(rule.name);
        if (rule.error == 0 && !rule.conditions.empty()) checked.insert(rule.name);
      }
    }
    fmt::print("{:<12} {:>2} system calls, {:>2} of them with checked arguments\n", kind.name, allowed.size(),
               checked.size());
  }
}

}  // namespace

}  // namespace nacre

int main(int argc, char** argv) {
  if (argc != 1 && argc != 3) {
    fmt::print(stderr, "usage: {} [HEADER NAMESPACE]\n", argv[0]);
    return EXIT_FAILURE;
  }
  if (argc == 1) {
    nacre::print_counts();
    return EXIT_SUCCESS;
  }
  auto written = nacre::write_header(argv[1], argv[2]);
  if (written) return EXIT_SUCCESS;
  fmt::print(stderr, "{}: {}\n", argv[0], written.error().message());
  return EXIT_FAILURE;
}
