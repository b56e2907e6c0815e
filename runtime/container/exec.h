// Another process in a running container.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "base/subprocess.h"
#include "runtime/container/standin/passed_fds.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

struct ExecRequest {
  std::string root;
  std::string id;
  nlohmann::json process;      // OCI process, checked
  std::string pid_file;        // empty: none
  std::string console_socket;  // empty: none
  std::string pidfd_socket;    // empty: none
  bool ignore_paused = false;  // a paused container runs it once it is resumed
  // The cgroup, by its path below the container's own, which is ""; none: that, or where its first process is.
  std::optional<std::string> sub_cgroup;
  std::vector<PassedFd> passed_fds;
};

// In the foreground this process is the stand-in: returns when the process has ended.
// An error is a failure to set up.
Result<ProcessExit> exec_foreground(const ExecRequest& request);

// Leaves a stand-in behind.
Result<void> exec_detached(const ExecRequest& request);

}  // namespace nacre::runtime
