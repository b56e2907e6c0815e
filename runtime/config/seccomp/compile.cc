// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/seccomp/compile.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <memory>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/log.h"

namespace nacre::seccomp {

namespace {

using Context = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

// What libseccomp may use: without this it asks the host's kernel, where the guest's is meant. 4: log, kill process and
// speculation control (seccomp_api_get(3)).
constexpr unsigned kGuestApi = 4;
// As runc: a binary tree is for the longer ones.
constexpr size_t kManyNames = 32;
constexpr uint32_t kBinaryTree = 2;

std::unexpected<Error> failed(const std::string& what, int negative_errno) {
  return fail_errno(what, -negative_errno);
}

Result<void> add(scmp_filter_ctx context, const Rule& rule, int number, const std::vector<scmp_arg_cmp>& conditions) {
  int failure = ::seccomp_rule_add_array(context, rule.action, number, static_cast<unsigned>(conditions.size()),
                                         conditions.data());
  if (failure < 0) return failed(rule.path, failure);
  return {};
}

// Several conditions on one argument are alternatives, as under runc; libseccomp itself knows no such rule.
bool compares_one_argument_twice(const std::vector<scmp_arg_cmp>& conditions) {
  uint32_t seen = 0;
  for (const scmp_arg_cmp& condition : conditions) {
    if (seen >> condition.arg & 1) return true;
    seen |= 1u << condition.arg;
  }
  return false;
}

Result<void> add_rule(scmp_filter_ctx context, const Rule& rule, uint32_t default_action) {
  if (rule.action == default_action) return {};  // libseccomp refuses what says nothing
  for (const std::string& name : rule.names) {
    int number = ::seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) {
      log_debug(rule.path + ": unknown system call \"" + name + "\" ignored");
      continue;
    }
    if (compares_one_argument_twice(rule.conditions)) {
      for (const scmp_arg_cmp& condition : rule.conditions) {
        TRY_CONTEXT(add(context, rule, number, {condition}), name);
      }
    } else {
      TRY_CONTEXT(add(context, rule, number, rule.conditions), name);
    }
  }
  return {};
}

Result<std::vector<sock_filter>> export_program(scmp_filter_ctx context) {
  Fd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return fail_errno("memfd_create");
  if (int failure = ::seccomp_export_bpf(context, file.get()); failure < 0) return failed("libseccomp", failure);
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  std::string bytes = TRY(read_fd(file.get()));
  std::vector<sock_filter> program(bytes.size() / sizeof(sock_filter));
  std::memcpy(program.data(), bytes.data(), program.size() * sizeof(sock_filter));
  return program;
}

}  // namespace

Result<std::optional<Filter>> compile(const nlohmann::json& seccomp, const std::string& path) {
  auto profile = TRY(read_profile(seccomp, path));
  if (!profile) return std::nullopt;
  (void)::seccomp_api_set(kGuestApi);
  Context context(::seccomp_init(profile->default_action), ::seccomp_release);
  if (!context) return fail(path + ": libseccomp refuses defaultAction", EINVAL);
  for (size_t i = 0; i < profile->architectures.size(); i++) {
    int failure = ::seccomp_arch_add(context.get(), profile->architectures[i]);
    if (failure < 0 && failure != -EEXIST) {
      return failed(path + ".architectures[" + std::to_string(i) + "]", failure);  // e.g. one of the other byte order
    }
  }
  size_t names = 0;
  for (const Rule& rule : profile->rules) names += rule.names.size();
  // An older libseccomp without it makes the same filter, only slower.
  if (names > kManyNames) (void)::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, kBinaryTree);
  for (const Rule& rule : profile->rules) TRY(add_rule(context.get(), rule, profile->default_action));

  Filter filter{.program = enosys_prelude(*profile), .flags = profile->flags};
  std::vector<sock_filter> program = TRY_CONTEXT(export_program(context.get()), path);
  filter.program.insert(filter.program.end(), program.begin(), program.end());
  if (filter.program.size() > BPF_MAXINSNS) {
    return fail(path + ": becomes a filter of " + std::to_string(filter.program.size()) +
                    " instructions; the kernel takes " + std::to_string(BPF_MAXINSNS),
                E2BIG);
  }
  return filter;
}

nlohmann::json to_message(const Filter& filter) {
  nlohmann::json program = nlohmann::json::array();
  for (const sock_filter& instruction : filter.program) program.push_back(std::bit_cast<uint64_t>(instruction));
  return {{"program", std::move(program)}, {"flags", filter.flags}};
}

}  // namespace nacre::seccomp
