// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/run_program.h"
#include "guest-init/child/child.h"

namespace nacre::guest {

Result<void> run_start_hooks(const StartHooks& start, const std::vector<std::string>& environment) {
  Json state = start.state;
  state["pid"] = ::getpid();  // as the container sees it
  std::string text = state.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (size_t i = 0; i < start.hooks.size(); i++) {
    const HookSpec& hook = start.hooks[i];
    RunOptions options{
        .path = hook.path, .args = hook.args, .environment = hook.env ? *hook.env : environment, .input = text};
    if (hook.timeout_s) options.timeout_ms = static_cast<int>(std::min<int64_t>(*hook.timeout_s * 1000l, INT_MAX));
    std::string context = "error running startContainer hook #" + std::to_string(i);
    RunOutcome outcome = TRY_CONTEXT(run_program(options), context);
    TRY_CONTEXT(check_outcome(outcome, options), context);
  }
  return {};
}

}  // namespace nacre::guest
