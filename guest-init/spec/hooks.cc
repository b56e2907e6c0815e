// SPDX-License-Identifier: Apache-2.0
#include <climits>

#include "guest-init/spec/spec.h"

namespace nacre::guest {

namespace {

Result<HookSpec> parse_hook(const JsonField& field) {
  HookSpec hook;
  JsonField path = TRY(field.member("path"));
  hook.path = TRY(path.string());
  if (hook.path.empty() || hook.path[0] != '/') return path.fails("is not an absolute path");
  hook.args = TRY(TRY(field.member("args")).strings());
  if (hook.args.empty()) hook.args = {hook.path};
  JsonField env = TRY(field.member("env"));
  if (env.present()) hook.env = TRY(env.strings());
  JsonField timeout = TRY(field.member("timeout"));
  if (timeout.present()) hook.timeout_s = static_cast<int>(TRY(timeout.integer(1, INT_MAX)));
  return hook;
}

}  // namespace

Result<StartHooks> parse_start_hooks(const Json& config, const std::string& id, const std::string& bundle) {
  StartHooks start;
  JsonField top(&config, "");
  JsonField hooks = TRY(top.member("hooks"));
  for (const auto& [kind, list] : TRY(hooks.members())) {
    if (kind != "startContainer" && list.asks()) return list.fails("is not for the guest");
  }
  for (const JsonField& hook : TRY(TRY(hooks.member("startContainer")).list())) {
    start.hooks.push_back(TRY(parse_hook(hook)));
  }
  start.state = {{"id", id}, {"status", "created"}};
  start.state["ociVersion"] = TRY(TRY(top.member("ociVersion")).string(""));
  start.state["bundle"] = bundle;
  Json annotations = Json::object();
  for (const auto& [name, value] : TRY(TRY(top.member("annotations")).members())) {
    annotations[name] = TRY(value.string());
  }
  if (!annotations.empty()) start.state["annotations"] = std::move(annotations);
  return start;
}

}  // namespace nacre::guest
