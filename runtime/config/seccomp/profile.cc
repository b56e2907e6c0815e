// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/seccomp/profile.h"

#include <nlohmann/json.hpp>

#include "runtime/config/seccomp/names.h"

namespace nacre::seccomp {

namespace {

using Json = nlohmann::json;

constexpr uint32_t kMaxErrno = 4095;  // the kernel's; it would give a higher one as this
constexpr uint32_t kMaxTrace = 0xffff;

std::unexpected<Error> wrong(const std::string& path, const std::string& what) {
  return fail(path + ": " + what, EINVAL);
}

std::string element(const std::string& path, const char* name, size_t index) {
  return path + "." + name + "[" + std::to_string(index) + "]";
}

const Json& list_of(const Json& object, const char* name) {
  static const Json kNone = Json::array();
  auto found = object.find(name);
  return found == object.end() ? kNone : *found;
}

Result<uint32_t> lookup(std::span<const Word> words, const std::string& name, const std::string& path,
                        const std::string& kind) {
  const Word* word = find_word(words, name);
  if (word == nullptr) return wrong(path, "\"" + name + "\" is not a seccomp " + kind);
  return word->value;
}

// `object` has the action under `name` and perhaps an errno under `errno_name`. Without one it is EPERM, as under runc.
Result<uint32_t> read_action(const Json& object, const char* name, const char* errno_name, const std::string& path) {
  std::string text = object.value(name, "");
  std::string action_path = path + "." + name;
  if (text == kNotifyAction)
    return fail(action_path + ": SCMP_ACT_NOTIFY is not supported by this version", EOPNOTSUPP);
  uint32_t action = TRY(lookup(kActions, text, action_path, "action"));
  if (action != SCMP_ACT_ERRNO(0) && action != SCMP_ACT_TRACE(0)) return action;
  uint32_t highest = action == SCMP_ACT_ERRNO(0) ? kMaxErrno : kMaxTrace;
  auto number = object.value(errno_name, uint32_t{EPERM});
  if (number > highest) {
    return wrong(path + "." + errno_name, "must be an integer from 0 to " + std::to_string(highest) + " for " + text);
  }
  return action | number;
}

Result<std::vector<scmp_arg_cmp>> read_conditions(const Json& call, const std::string& path) {
  std::vector<scmp_arg_cmp> conditions;
  const Json& args = list_of(call, "args");
  for (size_t i = 0; i < args.size(); i++) {
    uint32_t op = TRY(lookup(kOperators, args[i]["op"], element(path, "args", i) + ".op", "operator"));
    // SCMP_CMP_MASKED_EQ: the mask, and what is compared with; for others the second value has no meaning.
    conditions.push_back({.arg = args[i]["index"].get<unsigned>(),
                          .op = static_cast<scmp_compare>(op),
                          .datum_a = args[i]["value"].get<uint64_t>(),
                          .datum_b = args[i].value("valueTwo", uint64_t{0})});
  }
  return conditions;
}

Result<Rule> read_rule(const Json& call, const std::string& path) {
  Rule rule;
  rule.path = path;
  rule.names = call["names"].get<std::vector<std::string>>();
  rule.action = TRY(read_action(call, "action", "errnoRet", path));
  rule.conditions = TRY(read_conditions(call, path));
  for (size_t i = 0; i < rule.names.size(); i++) {
    if (rule.names[i].empty()) return wrong(element(path, "names", i), "must not be empty");
  }
  return rule;
}

Result<uint32_t> read_flags(const Json& seccomp, const std::string& path) {
  // As runc: processes under a filter need no mitigation of speculative store bypass unless the caller says so.
  if (!seccomp.contains("flags")) return uint32_t{SECCOMP_FILTER_FLAG_SPEC_ALLOW};
  uint32_t flags = 0;
  const Json& list = seccomp["flags"];
  for (size_t i = 0; i < list.size(); i++) {
    std::string flag_path = element(path, "flags", i);
    if (list[i] == kWaitKillableFlag) {
      return fail(flag_path + ": " + std::string(kWaitKillableFlag) +
                      " is for SCMP_ACT_NOTIFY, which is not supported by this version",
                  EOPNOTSUPP);
    }
    flags |= TRY(lookup(kFlags, list[i], flag_path, "flag"));
  }
  return flags;
}

}  // namespace

Result<std::optional<Profile>> read_profile(const Json& seccomp, const std::string& path) {
  const Json& calls = list_of(seccomp, "syscalls");
  if (seccomp.value("defaultAction", "").empty() && calls.empty()) return std::nullopt;
  if (!seccomp.value("listenerMetadata", "").empty() && seccomp.value("listenerPath", "").empty()) {
    return wrong(path + ".listenerMetadata", "cannot be set without listenerPath");
  }
  Profile profile;
  profile.default_action = TRY(read_action(seccomp, "defaultAction", "defaultErrnoRet", path));
  profile.flags = TRY(read_flags(seccomp, path));
  if (seccomp.contains("defaultErrnoRet")) profile.default_errno = seccomp["defaultErrnoRet"].get<uint32_t>();
  const Json& architectures = list_of(seccomp, "architectures");
  for (size_t i = 0; i < architectures.size(); i++) {
    profile.architectures.push_back(
        TRY(lookup(kArchitectures, architectures[i], element(path, "architectures", i), "architecture")));
  }
  for (size_t i = 0; i < calls.size(); i++) {
    profile.rules.push_back(TRY(read_rule(calls[i], element(path, "syscalls", i))));
  }
  return profile;
}

}  // namespace nacre::seccomp
