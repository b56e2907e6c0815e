// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "runtime/cmd/command.h"
#include "runtime/guest/connection.h"
#include "runtime/guest/ps/arguments.h"
#include "runtime/guest/ps/process.h"
#include "runtime/guest/ps/table.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

namespace {

using runtime::ContainerDir, runtime::Status;

// Returns pids that exist on the host, because callers look them up there: the stand-ins of the first process and of
// the processes that exec started.
std::string host_pids(Status status, const runtime::Record& record) {
  if (status == Status::stopped) return "null\n";
  nlohmann::json pids = {record.standin.pid};
  auto all = runtime::processes_in(record.cgroup);
  auto of_vm = runtime::children_among(all, record.vmm.pid);
  of_vm.push_back(record.vmm.pid);
  for (pid_t pid : all) {
    if (pid != record.standin.pid && std::ranges::find(of_vm, pid) == of_vm.end()) pids.push_back(pid);
  }
  return pids.dump() + "\n";
}

Result<ps::Listing> guest_processes(const ContainerDir& dir, const std::string& id, Status status) {
  if (status == Status::stopped) return ps::Listing{};
  auto reply = runtime::ask_running(dir.fd(), protocol::Processes{.container = id});
  if (reply) return ps::parse_listing(*reply);
  if (reply.error().code() == ESRCH) return ps::Listing{};  // the container has just ended
  return std::unexpected(reply.error());
}

}  // namespace

Result<int> ps(const Globals& globals, const PsOptions& options) {
  ContainerDir dir = TRY(ContainerDir::open(globals.root, options.id));
  runtime::Record record = TRY(dir.read_record());
  Status status = dir.status(record);
  std::string text;
  if (options.format == "json") {
    text = host_pids(status, record);
  } else if (options.format == "table") {
    auto columns = TRY(ps::parse_arguments(options.args));
    ps::Listing listing = TRY(guest_processes(dir, options.id, status));
    listing.now = std::time(nullptr);
    text = ps::to_table(columns, listing);
  } else {
    return fail("invalid format option");
  }
  TRY(write_all(STDOUT_FILENO, text));
  return 0;
}

}  // namespace nacre::cmd
