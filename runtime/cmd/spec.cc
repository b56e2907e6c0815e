// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include "base/fd.h"
#include "runtime/cmd/command.h"
#include "runtime/config/config.h"

namespace nacre::cmd {

Result<int> spec(const Globals&, const SpecOptions& options) {
  std::string path = (options.bundle.empty() ? "" : options.bundle + "/") + oci::kConfigName;
  auto file = open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
  if (!file) {
    if (file.error().code() == EEXIST) return fail("File config.json exists. Remove it first");
    return std::unexpected(file.error());
  }
  TRY_CONTEXT(write_all(file->get(), oci::template_config(options.rootless)), path);
  return 0;
}

}  // namespace nacre::cmd
