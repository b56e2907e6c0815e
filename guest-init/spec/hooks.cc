#include <climits>

#include "guest-init/spec/spec.h"

namespace nacre::guest {

namespace {

Result<HookSpec> parse_hook(const Field& field) {
  HookSpec hook;
  Field path = TRY(field.member("path"));
  hook.path = TRY(path.string());
  if (hook.path.empty() || hook.path[0] != '/') return path.fails("is not an absolute path");
  hook.args = TRY(TRY(field.member("args")).strings());
  if (hook.args.empty()) hook.args = {hook.path};
  Field env = TRY(field.member("env"));
  if (env.present()) hook.env = TRY(env.strings());
  Field timeout = TRY(field.member("timeout"));
  if (timeout.present()) hook.timeout_s = static_cast<int>(TRY(timeout.integer(1, INT_MAX)));
  return hook;
}

}  // namespace

Result<StartHooks> parse_start_hooks(const Json& config, const std::string& id, const Field& bundle) {
  StartHooks start;
  Field top(&config, "");
  Field hooks = TRY(top.member("hooks"));
  for (const auto& [kind, list] : TRY(hooks.members())) {
    if (kind != "startContainer" && list.asks()) return list.fails("is not for the guest");
  }
  for (const Field& hook : TRY(TRY(hooks.member("startContainer")).list())) {
    start.hooks.push_back(TRY(parse_hook(hook)));
  }
  start.state = {{"id", id}, {"status", "created"}};
  start.state["ociVersion"] = TRY(TRY(top.member("ociVersion")).string(""));
  start.state["bundle"] = TRY(bundle.string(""));
  Json annotations = Json::object();
  for (const auto& [name, value] : TRY(TRY(top.member("annotations")).members())) {
    annotations[name] = TRY(value.string());
  }
  if (!annotations.empty()) start.state["annotations"] = std::move(annotations);
  return start;
}

}  // namespace nacre::guest
