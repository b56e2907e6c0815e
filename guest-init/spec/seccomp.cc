#include <linux/seccomp.h>

#include <bit>
#include <limits>

#include "guest-init/spec/spec.h"

namespace nacre::guest {

namespace {

constexpr int64_t kKnownFlags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW;

}  // namespace

Result<std::optional<SeccompFilter>> parse_seccomp(const Field& field) {
  if (!field.present()) return std::nullopt;
  SeccompFilter filter;
  Field flags = TRY(field.member("flags"));
  filter.flags = static_cast<unsigned>(TRY(flags.integer(0, std::numeric_limits<unsigned>::max(), 0)));
  if (filter.flags & ~kKnownFlags) return flags.fails("has unknown flags");
  Field program = TRY(field.member("program"));
  std::vector<Field> instructions = TRY(program.list());
  // What the instructions say is the kernel's to check.
  if (instructions.empty() || instructions.size() > BPF_MAXINSNS) {
    return program.fails("does not have 1 to " + std::to_string(BPF_MAXINSNS) + " instructions");
  }
  for (const Field& instruction : instructions) {
    if (!instruction.present()) return instruction.fails("is missing");
    filter.program.push_back(std::bit_cast<sock_filter>(TRY(instruction.unsigned_integer(0))));
  }
  return filter;
}

}  // namespace nacre::guest
