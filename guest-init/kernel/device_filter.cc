// SPDX-License-Identifier: Apache-2.0
#include "guest-init/kernel/device_filter.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <ranges>

#include "base/fd.h"

namespace nacre::guest {

namespace {

// Registers of the program. The kernel passes the context in r1, and takes the verdict from r0.
constexpr uint8_t kVerdict = BPF_REG_0, kContext = BPF_REG_1, kType = BPF_REG_2, kAccess = BPF_REG_3,
                  kMajor = BPF_REG_4, kMinor = BPF_REG_5;
constexpr uint32_t kAllAccess = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

bpf_insn instruction(int code, uint8_t target, uint8_t source, int16_t offset, uint32_t immediate) {
  bpf_insn made{};
  made.code = static_cast<uint8_t>(code);
  made.dst_reg = target & 0xf;
  made.src_reg = source & 0xf;
  made.off = offset;
  made.imm = static_cast<int32_t>(immediate);
  return made;
}

bpf_insn load(uint8_t target, size_t offset) {
  return instruction(BPF_LDX | BPF_W | BPF_MEM, target, kContext, static_cast<int16_t>(offset), 0);
}

bpf_insn operation(int op, uint8_t target, uint32_t value) {
  return instruction(BPF_ALU | op | BPF_K, target, 0, 0, value);  // of 32 bits
}

class Program {
 public:
  void add(const bpf_insn& next) { program_.push_back(next); }
  void decide(bool allow) {
    add(operation(BPF_MOV, kVerdict, allow ? 1 : 0));
    add(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  }
  // Jumps past the present rule if `reg` compares so with the value.
  void skip_rule_if(int comparison, uint8_t reg, uint32_t value) {
    skips_.push_back(program_.size());
    add(instruction(BPF_JMP32 | comparison | BPF_K, reg, 0, 0, value));
  }
  void end_rule() {
    for (size_t at : skips_) program_[at].off = static_cast<int16_t>(program_.size() - at - 1);
    skips_.clear();
  }
  std::vector<bpf_insn> take() { return std::move(program_); }

 private:
  std::vector<bpf_insn> program_;
  std::vector<size_t> skips_;
};

void add_rule(Program& program, const DeviceRule& rule) {
  program.skip_rule_if(BPF_JNE, kType, *rule.type);
  if (rule.major) program.skip_rule_if(BPF_JNE, kMajor, *rule.major);
  if (rule.minor) program.skip_rule_if(BPF_JNE, kMinor, *rule.minor);
  if (rule.allow) {
    // What is left of the access is for earlier rules to decide.
    program.add(operation(BPF_AND, kAccess, ~rule.access));
    program.skip_rule_if(BPF_JNE, kAccess, 0);
  } else {
    program.add(instruction(BPF_ALU | BPF_MOV | BPF_X, kVerdict, kAccess, 0, 0));
    program.add(operation(BPF_AND, kVerdict, rule.access));
    program.skip_rule_if(BPF_JEQ, kVerdict, 0);
  }
  program.decide(rule.allow);
  program.end_rule();
}

Result<int> bpf(bpf_cmd command, bpf_attr& attributes, const char* what) {
  long outcome = ::syscall(SYS_bpf, command, &attributes, sizeof(attributes));
  if (outcome < 0) return fail_errno(what);
  return static_cast<int>(outcome);
}

}  // namespace

std::vector<bpf_insn> compile_device_rules(std::span<const DeviceRule> rules) {
  Program program;
  program.add(load(kType, offsetof(bpf_cgroup_dev_ctx, access_type)));
  program.add(instruction(BPF_ALU | BPF_MOV | BPF_X, kAccess, kType, 0, 0));
  program.add(operation(BPF_AND, kType, 0xffff));
  program.add(operation(BPF_RSH, kAccess, 16));
  program.add(load(kMajor, offsetof(bpf_cgroup_dev_ctx, major)));
  program.add(load(kMinor, offsetof(bpf_cgroup_dev_ctx, minor)));
  // Goes from the last rule to the first: the last one about an access is final.
  bool otherwise = false;
  for (const DeviceRule& rule : std::views::reverse(rules)) {
    if (!rule.type) {
      otherwise = rule.allow;
      break;
    }
    if ((rule.access & kAllAccess) != 0) add_rule(program, rule);
  }
  program.decide(otherwise);
  return program.take();
}

Result<void> filter_devices(int cgroup, std::span<const DeviceRule> rules) {
  std::vector<bpf_insn> program = compile_device_rules(rules);
  bpf_attr load{};
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = reinterpret_cast<uint64_t>(program.data());
  load.insn_cnt = static_cast<uint32_t>(program.size());
  constexpr const char* kLicense = "Apache-2.0";
  load.license = reinterpret_cast<uint64_t>(kLicense);
  Fd loaded(TRY(bpf(BPF_PROG_LOAD, load, "load the filter of devices")));
  bpf_attr attach{};
  attach.target_fd = static_cast<uint32_t>(cgroup);
  attach.attach_bpf_fd = static_cast<uint32_t>(loaded.get());
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;  // a cgroup below may have one that narrows it
  auto attached = bpf(BPF_PROG_ATTACH, attach, "attach the filter of devices");
  if (!attached) return std::unexpected(attached.error());
  return {};
}

}  // namespace nacre::guest
