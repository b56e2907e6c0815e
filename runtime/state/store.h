// SPDX-License-Identifier: Apache-2.0
// Manages the directory <root>/<id> of each container, with these files:
//
//   lock        flock(2)ed by commands that change the container: create, start, delete
//   processes   "PID START" of the stand-in, then of vmm: enough to clean up after a create that was killed
//   state.json  the Record; its presence makes the container exist for other commands
//   started     present once the first process was released
//   vsock.sock  vmm's listening socket: connections to the guest
//   mount-N     where the stand-in mounts a file system, in a mount namespace of its own
//   control.sock  vmm's control socket
//   vmm.toml, vmm.log, console.log   configuration and output of vmm
//   vm.end      why the VM ended before the container, in one line
//   vm.cgroup   the host cgroup of a VM that containers share
// (If containers share a VM, its files are in the directory of each: runtime/vm/files.h.)
//
// Files appear and change whole (written aside and renamed), so readers take no lock. The directory goes last of all.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/state/process_id.h"

namespace nacre::runtime {

inline constexpr const char* kSocketName = "vsock.sock";
inline constexpr const char* kControlSocketName = "control.sock";
inline constexpr const char* kVmmConfigName = "vmm.toml";
inline constexpr const char* kVmmLogName = "vmm.log";
inline constexpr const char* kConsoleLogName = "console.log";
inline constexpr const char* kPauseLockName = "pause.lock";
inline constexpr const char* kUpdateLockName = "update.lock";
inline constexpr const char* kVmCgroupName = "vm.cgroup";

enum class Status { created, running, paused, stopped };
std::string_view to_string(Status status);

// The content of state.json.
struct Record {
  std::string oci_version;
  std::string id;
  std::string bundle;
  std::string config;  // the config.json that it was made from
  std::string rootfs;
  std::string created;  // RFC 3339, UTC, nanoseconds
  std::string owner;    // name of the user who made it
  std::map<std::string, std::string> annotations;
  ProcessId standin;
  ProcessId vmm;
  std::string cgroup;  // the host's, made for the container: a name as in runtime/host/cgroup/cgroup.h; empty: none
  std::string hooks;   // JSON: "hooks" of config.json, which may be gone when they are due
  // JSON: linux.uidMappings and gidMappings of its user namespace; empty: it has none.
  std::string mappings;
};

// What has to be cleaned up if there is no record, or if the record cannot be read.
struct Processes {
  ProcessId standin;
  ProcessId vmm;
  std::string cgroup;  // as in Record
};

// A container's directory.
class ContainerDir {
 public:
  // Makes the directory and takes its lock. Fails with "container with given ID already exists".
  static Result<ContainerDir> create(const std::string& root, const std::string& id);
  // Opens the directory without the lock, for commands that change nothing. Fails with "container does not exist".
  static Result<ContainerDir> open(const std::string& root, const std::string& id);
  // Opens the directory, and waits for its lock.
  static Result<ContainerDir> lock(const std::string& root, const std::string& id);

  const std::string& path() const { return path_; }
  int fd() const { return directory_.get(); }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  Result<void> write_record(const Record& record) const;
  Result<Record> read_record() const;
  Result<void> write_processes(const Processes& processes) const;
  Processes read_processes() const;  // zeros if there is nothing to read
  Result<void> mark_started(bool started = true) const;
  bool is_started() const;
  Result<void> mark_paused(bool paused) const;

  // Notes why the VM ended before the container did.
  Result<void> write_vm_end(std::string_view why) const;
  std::string read_vm_end() const;  // empty if there is no such note

  Status status(const Record& record) const;

  // Waits for a separate lock for one kind of change. The lock is held while the returned descriptor is open.
  Result<Fd> lock_named(const char* name) const;

  // Makes a detached mount of the directory. Nothing above the directory can be reached through that.
  Result<Fd> detach() const;
  // Goes on with what detach() made, under the same descriptor number. For a process that has left the host's mounts.
  Result<void> go_on_in(const Fd& detached);

  // Removes the directory and everything in it. Needs the lock.
  Result<void> remove();
  // Gives the lock up, and waits for it again. No descriptor is needed for that. relock() returns false if the
  // directory is gone.
  void release_lock();
  Result<bool> relock();
  // Closes the lock without giving it up. A forked child must call this, or it holds its parent's lock.
  void forget_lock() { lock_.reset(); }

 private:
  ContainerDir(std::string path, Fd directory) : path_(std::move(path)), directory_(std::move(directory)) {}

  Result<void> remove(int tries);
  Result<void> mark(const char* name, bool set) const;

  std::string path_;
  Fd directory_;
  Fd lock_;
};

// Returns the default root: /run/nacre, or $XDG_RUNTIME_DIR/nacre for users other than root.
std::string default_root();

// Returns the ids of all containers under `root`, sorted. Returns none if there is no such directory.
Result<std::vector<std::string>> list_ids(const std::string& root);

// A container, as `state` and `list` show it.
struct View {
  Record record;
  Status status;
};
Result<View> view_container(const std::string& root, const std::string& id);

std::string now_rfc3339();
std::string user_name();

}  // namespace nacre::runtime
