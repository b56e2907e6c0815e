// SPDX-License-Identifier: Apache-2.0
// For tests: guest-init's server on the host, as the first process of a pid namespace, with unix sockets where a
// machine has vsock, and real containers on a busybox root file system.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "guest-init/protocol/messages.h"

namespace nacre::guest {

// Why such a server cannot run here (no root, no namespaces); "" if it can.
std::string machine_missing();

class TestMachine {
 public:
  TestMachine();
  ~TestMachine();

  // Holds rootfs/, and whatever tests add.
  const std::string& directory() const { return directory_; }
  std::string rootfs() const { return directory_ + "/rootfs"; }
  std::string notify_directory() const { return directory_ + "/notify"; }
  // Connects to a port. A read that waits for a minute in vain is an error.
  Fd connect(uint32_t port) const;
  // Returns the configuration of a container of `args` with the mounts that every caller asks for.
  protocol::Json config(const std::vector<std::string>& args) const;
  static protocol::Json process(const std::vector<std::string>& args);
  bool has_cgroup(const std::string& container) const;
  std::string cgroup_file(const std::string& container, const std::string& name) const;
  bool is_running() const;
  // Describes the server's processes and what they wait for, for a test that has waited for them in vain.
  std::string describe_processes() const;
  // Closes the primary connection, as the stand-in for which the machine was made does at its end.
  void close_primary() { primary_.reset(); }
  // Sends a datagram to a container's notify socket, as its process would. Returns false if there is no such socket.
  bool notify(const std::string& container, const std::string& text) const;

 private:
  [[noreturn]] void serve(int primary, Fd ready) const;
  void make_rootfs() const;
  std::string cgroup_parent() const;

  std::string directory_;
  Fd primary_;
  pid_t server_ = -1;
};

// A control connection.
class Client {
 public:
  explicit Client(const TestMachine& machine) : machine_(machine), socket_(machine.connect(protocol::kControlPort)) {}

  void send(const protocol::Json& message);
  // Returns the next reply; events that come before it are kept.
  protocol::Json reply();
  protocol::Json ask(const protocol::Json& message);
  // Returns the next event.
  protocol::Json event();
  void close() { socket_.reset(); }

  protocol::Json create(const std::string& id, const protocol::Json& config, bool in = false, bool out = true);
  protocol::Json start(const std::string& id);
  protocol::Json exec(const std::string& id, const std::string& name, const protocol::Json& process);

  // Runs a container to its end and returns what it wrote; `exited` is its exit event.
  struct Outcome {
    std::string out, err;
    protocol::Json exited;
  };
  Outcome run(const std::string& id, const protocol::Json& config);

 private:
  const TestMachine& machine_;
  Fd socket_;
  std::vector<protocol::Json> events_;
};

std::string read_to_end(int fd);

}  // namespace nacre::guest
