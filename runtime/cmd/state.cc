// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"
#include "runtime/cmd/command.h"
#include "runtime/state/record_json.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

Result<int> state(const Globals& globals, const std::string& id) {
  runtime::View view = TRY(runtime::view_container(globals.root, id));
  TRY(write_all(1, runtime::view_to_json(view)));
  return 0;
}

}  // namespace nacre::cmd
