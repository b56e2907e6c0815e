// SPDX-License-Identifier: Apache-2.0
// The commands, one in each file. cli.cc fills the options from the command line.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/config/resource_changes.h"
#include "runtime/container/create.h"

namespace nacre::cmd {

// Options before the command's name.
struct Globals {
  bool debug = false;
  std::string log;  // empty: stderr
  std::string log_format = "text";
  std::string root;
  bool root_given = false;  // --root was given
  bool systemd_cgroup = false;
  std::string rootless = "auto";
};

struct CreateOptions {
  runtime::CreateRequest container;
  bool no_pivot = false;
  bool no_new_keyring = false;
  // run
  bool detach = false;
  bool keep = false;
  bool no_subreaper = false;
};

struct ExecOptions {
  std::string id;
  std::vector<std::string> args;
  std::string console_socket;
  std::string pidfd_socket;
  std::string cwd;
  std::vector<std::string> env;
  bool tty = false;
  std::string user;  // "UID[:GID]"
  std::vector<uint32_t> additional_gids;
  std::string process;  // a file; empty: the container's process, changed by the other options
  bool detach = false;
  std::string pid_file;
  std::string process_label;
  std::string apparmor;
  bool no_new_privs = false;
  std::vector<std::string> capabilities;
  int preserve_fds = 0;
  std::vector<std::string> cgroups;
  bool ignore_paused = false;
};

struct KillOptions {
  std::string id;
  std::string signal = "SIGTERM";
  bool all = false;
};

struct DeleteOptions {
  std::string id;
  bool force = false;
};

struct ListOptions {
  std::string format = "table";
  bool quiet = false;
};

struct PsOptions {
  std::string id;
  std::string format = "table";
  std::vector<std::string> args;
};

struct EventsOptions {
  std::string id;
  std::string interval = "5s";
  bool stats = false;
};

struct UpdateOptions {
  std::string id;
  std::string resources;  // a file; "-": stdin; empty: the flags apply
  oci::ResourceFlags flags;
  std::string l3_cache_schema;
  std::string mem_bw_schema;
};

struct SpecOptions {
  std::string bundle;
  bool rootless = false;
};

// Returns the container that the options and the globals ask for.
runtime::CreateRequest to_request(const Globals& globals, const CreateOptions& options);

// Run a command and return the exit status.
Result<int> create(const Globals& globals, const CreateOptions& options);
Result<int> run(const Globals& globals, const CreateOptions& options);
Result<int> start(const Globals& globals, const std::string& id);
Result<int> state(const Globals& globals, const std::string& id);
Result<int> kill(const Globals& globals, const KillOptions& options);
Result<int> remove(const Globals& globals, const DeleteOptions& options);
Result<int> list(const Globals& globals, const ListOptions& options);
Result<int> exec(const Globals& globals, const ExecOptions& options);
Result<int> pause(const Globals& globals, const std::string& id);
Result<int> resume(const Globals& globals, const std::string& id);
Result<int> ps(const Globals& globals, const PsOptions& options);
Result<int> events(const Globals& globals, const EventsOptions& options);
Result<int> update(const Globals& globals, const UpdateOptions& options);
Result<int> spec(const Globals& globals, const SpecOptions& options);
Result<int> features(const Globals& globals);

// Runs the program, and returns the exit status of the process.
int main(int argc, char** argv);

}  // namespace nacre::cmd
