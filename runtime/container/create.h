// From a bundle to a container that waits for its start.
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
  std::string bundle;
  std::string config;           // empty: config.json in the bundle
  std::string pid_file;         // empty: none
  std::string console_socket;   // empty: none
  std::string pidfd_socket;     // empty: none
  bool debug = false;           // the guest's console is kept
  bool systemd_cgroup = false;  // linux.cgroupsPath is in systemd's form
  bool foreground = false;      // the caller's terminal is the container's, if that has one
  int preserve_fds = 0;         // besides those of LISTEN_FDS (see passed_fds.h)
  bool held = false;            // start it over `report` (see standin.h): what `run` does
};

struct CreatedContainer {
  ContainerDir dir;  // locked
  Record record;
  Fd report;
  std::optional<RawMode> raw;  // of the caller's own terminal, in the foreground
};

// On an error nothing is left: no process, directory or cgroup. The stand-in is our child, and will be our parent's.
Result<CreatedContainer> create_container(const CreateRequest& request);

// Releases the first process of a container made with `held`.
Result<void> start_held(CreatedContainer& container);

// Ends what is left of a container and removes it. Needs the lock.
Result<void> destroy(ContainerDir& dir, const Processes& processes, const std::string& cgroup);

// The same for a whole container, with its poststop hooks.
Result<void> remove_container(ContainerDir& dir, const Record& record);

// When the program runs. Without the lock: a hook may do what it likes with the container. One that fails stops the
// container (runtime-spec 1.3, runtime.md, "Lifecycle"; so does runc, whatever the version).
Result<void> run_poststart_hooks(const Record& record);

// A bare decimal without a newline, in place before the command ends.
Result<void> write_pid_file(const std::string& path, pid_t pid);

}  // namespace nacre::runtime
