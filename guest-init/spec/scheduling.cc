// SPDX-License-Identifier: Apache-2.0
// process.scheduler, ioPriority and execCPUAffinity: runtime-spec 1.2, config.md, "Linux Process".
#include <linux/sched.h>

#include <charconv>
#include <string_view>

#include "guest-init/spec/spec.h"

namespace nacre::guest {

namespace {

struct Word {
  std::string_view name;
  uint32_t value;
};

constexpr Word kPolicies[] = {{"SCHED_OTHER", SCHED_NORMAL}, {"SCHED_FIFO", SCHED_FIFO},
                              {"SCHED_RR", SCHED_RR},        {"SCHED_BATCH", SCHED_BATCH},
                              {"SCHED_IDLE", SCHED_IDLE},    {"SCHED_DEADLINE", SCHED_DEADLINE}};
constexpr Word kFlags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK},  {"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
    {"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},        {"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
    {"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS},      {"SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX}};
// The values of ioprio_set(2). Newer versions of <linux/ioprio.h> do not compile as C++.
constexpr Word kIoClasses[] = {{"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}};
constexpr int kIoClassShift = 13;

template <size_t N>
Result<uint32_t> lookup(const JsonField& field, const Word (&words)[N]) {
  std::string text = TRY(field.string());
  for (const Word& word : words) {
    if (word.name == text) return word.value;
  }
  return field.fails("has the unknown value \"" + text + "\"");
}

Result<unsigned> cpu_number(const JsonField& field, std::string_view& text) {
  unsigned number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number >= CPU_SETSIZE) return field.fails("is not a list of CPUs like 0-2,7");
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

}  // namespace

Result<std::optional<Scheduler>> parse_scheduler(const JsonField& field) {
  if (!field.present()) return std::nullopt;
  Scheduler scheduler{.size = sizeof(Scheduler)};
  scheduler.policy = TRY(lookup(TRY(field.member("policy")), kPolicies));
  scheduler.nice = static_cast<int32_t>(TRY(TRY(field.member("nice")).integer(-20, 19, 0)));
  JsonField priority = TRY(field.member("priority"));
  scheduler.priority = static_cast<uint32_t>(TRY(priority.integer(0, 99, 0)));
  if (scheduler.priority != 0 && scheduler.policy != SCHED_FIFO && scheduler.policy != SCHED_RR) {
    return priority.fails("is for SCHED_FIFO and SCHED_RR");
  }
  for (const JsonField& flag : TRY(TRY(field.member("flags")).list())) scheduler.flags |= TRY(lookup(flag, kFlags));
  for (auto [name, value] : {std::pair{"runtime", &scheduler.runtime}, std::pair{"deadline", &scheduler.deadline},
                             std::pair{"period", &scheduler.period}}) {
    JsonField time = TRY(field.member(name));
    *value = TRY(time.unsigned_integer(0));
    if (*value != 0 && scheduler.policy != SCHED_DEADLINE) return time.fails("is for SCHED_DEADLINE");
  }
  return scheduler;
}

Result<std::optional<int>> parse_io_priority(const JsonField& field) {
  if (!field.present()) return std::nullopt;
  auto io_class = static_cast<int>(TRY(lookup(TRY(field.member("class")), kIoClasses)));
  auto priority = static_cast<int>(TRY(TRY(field.member("priority")).integer(0, 7, 0)));
  return io_class << kIoClassShift | priority;
}

Result<std::optional<cpu_set_t>> parse_cpus(const JsonField& field) {
  std::string text = TRY(field.string(""));
  if (text.empty()) return std::nullopt;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  std::string_view rest = text;
  for (;;) {
    unsigned first = TRY(cpu_number(field, rest)), last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      last = TRY(cpu_number(field, rest));
    }
    if (last < first) return field.fails("has a range that ends before its start");
    for (unsigned cpu = first; cpu <= last; cpu++) CPU_SET(cpu, &cpus);
    if (rest.empty()) return cpus;
    if (!rest.starts_with(',')) return field.fails("is not a list of CPUs like 0-2,7");
    rest.remove_prefix(1);
  }
}

}  // namespace nacre::guest
