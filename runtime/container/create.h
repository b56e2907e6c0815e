// SPDX-License-Identifier: Apache-2.0
// Makes containers from bundles, up to the point where they wait for their start.
#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/container/standin/terminal.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

struct CreateRequest {
  std::string root;
  std::string id;
  std::string bundle;           // empty: the working directory
  std::string config;           // empty: config.json in the bundle
  std::string pid_file;         // empty: none
  std::string console_socket;   // empty: none
  std::string pidfd_socket;     // empty: none
  bool debug = false;           // the guest's console is kept
  bool systemd_cgroup = false;  // linux.cgroupsPath is in systemd's form
  bool foreground = false;      // a terminal of the container is the caller's terminal
  int preserve_fds = 0;         // besides those of LISTEN_FDS (see passed_fds.h)
  bool held = false;            // `run`: the stand-in waits for start_held()
};

struct CreatedContainer {
  ContainerDir dir;  // locked
  Record record;
  Fd report;                   // the stand-in reports here how the start went
  std::optional<RawMode> raw;  // of the caller's own terminal, in the foreground
};

// Makes a container whose first process waits for its start. On an error nothing is left: no process, directory or
// cgroup. The stand-in is a child of this process. When this process ends, the stand-in passes to the parent or
// subreaper.
Result<CreatedContainer> create_container(const CreateRequest& request);

// Releases the first process of a container made with `held`.
Result<void> start_held(CreatedContainer& container);

// Writes a bare decimal without a newline. The file is in place before the command ends.
Result<void> write_pid_file(const std::string& path, pid_t pid);

}  // namespace nacre::runtime
