// SPDX-License-Identifier: Apache-2.0
// Runs another process in a running container.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/confinement.h"
#include "base/result.h"
#include "base/subprocess.h"
#include "runtime/container/standin/passed_fds.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

struct ExecRequest {
  std::string root;
  std::string id;
  nlohmann::json process;      // OCI process, checked
  Confinement confinement;     // of the stand-in
  std::string pid_file;        // empty: none
  std::string console_socket;  // empty: none
  std::string pidfd_socket;    // empty: none
  bool ignore_paused = false;  // a paused container runs it once it is resumed
  // The path of a cgroup below the container's own; "" is the container's own. nullopt: the container's own, or the
  // cgroup of its first process.
  std::optional<std::string> sub_cgroup;
  std::vector<PassedFd> passed_fds;
};

// Runs the process in the foreground: this process is the stand-in, and returns when the process has ended. An
// error means that the process was not set up.
Result<ProcessExit> exec_foreground(const ExecRequest& request);

// Starts the process, and leaves a stand-in behind that waits for its end.
Result<void> exec_detached(const ExecRequest& request);

}  // namespace nacre::runtime
