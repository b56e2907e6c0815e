// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/create.h"

#include "runtime/cmd/command.h"

namespace nacre::cmd {

runtime::CreateRequest to_request(const Globals& globals, const CreateOptions& options) {
  runtime::CreateRequest request = options.container;
  request.root = globals.root;
  request.debug = globals.debug;
  request.systemd_cgroup = globals.systemd_cgroup;
  return request;
}

Result<int> create(const Globals& globals, const CreateOptions& options) {
  TRY(runtime::create_container(to_request(globals, options)));
  return 0;
}

}  // namespace nacre::cmd
