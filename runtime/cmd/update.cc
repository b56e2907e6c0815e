// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/log.h"
#include "runtime/cmd/command.h"
#include "runtime/config/config.h"
#include "runtime/config/schema.h"
#include "runtime/container/kept_resources.h"
#include "runtime/guest/connection.h"
#include "runtime/host/cgroup/files.h"
#include "runtime/host/resctrl/group.h"
#include "runtime/plan/plan.h"
#include "runtime/state/store.h"
#include "runtime/vm/control.h"
#include "runtime/vm/files.h"
#include "runtime/vm/part.h"
#include "runtime/vm/resize.h"
#include "runtime/vm/sizing.h"
#include "vmm/api/config.h"

namespace nacre::cmd {

namespace {

using Json = nlohmann::json;
using runtime::ContainerDir;

constexpr size_t kMaxInput = 1 << 20;
constexpr const char* kFailed = "error setting cgroup config";

Result<Json> read_input(const UpdateOptions& options) {
  if (options.resources.empty()) return oci::from_flags(options.flags);
  bool from_stdin = options.resources == "-";
  std::string text = TRY(from_stdin ? read_fd(STDIN_FILENO, kMaxInput) : read_file(options.resources, kMaxInput));
  Json resources = TRY(oci::parse_json(text, from_stdin ? "stdin" : options.resources));
  oci::normalize(resources, oci::resources_fields());
  return resources;
}

// vmm, and the machine's size in vmm's configuration, with which the machine was started.
struct Vmm {
  runtime::MachineControl control;
  runtime::VmState machine;
  bool is_annotated = false;  // an annotation decided the memory of a machine whose container has a limit
};

Result<Vmm> find_machine(const ContainerDir& dir, const runtime::Record& record, const Json& kept) {
  auto control = TRY(runtime::MachineControl::connect(dir.fd()));
  vmm::Config config = TRY(vmm::parse_toml(TRY(read_file(dir.file(runtime::kVmmConfigName)))));
  runtime::VmState machine{.size = TRY(control.ask(vmm::Resize{})), .least_memory = config.memory};
  if (runtime::vm_is_shared(dir)) machine.part = runtime::size_for(kept, runtime::host_size());
  // A limit does not undo a number of CPUs that an annotation asked for.
  if (record.annotations.contains(runtime::kCpusAnnotation)) machine.least_cpus = config.cpus;
  bool is_annotated = record.annotations.contains(runtime::kMemoryAnnotation) && runtime::limits_memory(kept);
  return Vmm{.control = std::move(control), .machine = machine, .is_annotated = is_annotated};
}

// Sets the memory limit of the host's cgroup for a machine with `memory` bytes.
Result<void> set_backstop(const std::string& cgroup, const Json& resources, uint64_t memory,
                          bool is_annotated = false) {
  auto now = runtime::current_backstop(cgroup);
  if (!now) return {};
  auto most = is_annotated ? runtime::annotated_backstop(resources, *now, runtime::host_size())
                           : runtime::host_backstop(resources, memory);
  TRY_CONTEXT(runtime::set_host_files(cgroup, runtime::backstop_files(cgroup, resources, most)), kFailed);
  return {};
}

// Sets the limits on the host and in the guest. If one part fails, the other is undone.
Result<void> set_limits(const ContainerDir& dir, const runtime::Record& record, const Json& resources,
                        std::optional<unsigned> cpus, unsigned max_cpus) {
  auto files = TRY_CONTEXT(runtime::host_files(resources, record.cgroup, max_cpus), kFailed);
  auto undo = TRY_CONTEXT(runtime::set_host_files(record.cgroup, files), kFailed);
  protocol::Update request{.container = record.id, .resources = resources, .cpus = {}};
  if (cpus) request.cpus = static_cast<int>(*cpus);
  auto done = runtime::ask_running(dir.fd(), request);
  if (done) return {};
  if (!record.cgroup.empty()) (void)runtime::set_host_files(record.cgroup, undo);
  return std::unexpected(done.error());
}

// Lowers the backstop to what the VM has now. vmm's own figure is not trusted to raise its limit.
Result<void> lower_backstop(const std::string& cgroup, const Json& resources, uint64_t memory) {
  if (cgroup.empty()) return {};
  auto now = runtime::current_backstop(cgroup);
  if (!now || runtime::host_backstop(resources, memory).value_or(UINT64_MAX) > *now) return {};
  return set_backstop(cgroup, resources, memory);
}

// Shrinks the VM, and lowers the limit by what the guest has really given back.
Result<void> shrink(const runtime::ResizeCall& resize, const std::string& cgroup, const Json& resources,
                    uint64_t memory) {
  uint64_t present = TRY(runtime::shrink_memory(resize, memory));
  if (present > memory) log_debug("the guest keeps " + std::to_string(present - memory) + " bytes of its memory");
  return lower_backstop(cgroup, resources, std::max(present, memory));
}

// Applies the changes: the VM grows before the limits do, and shrinks after them.
Result<void> apply(const ContainerDir& dir, const runtime::Record& record, const Json& kept,
                   const oci::Merged& merged) {
  auto [control, machine, is_annotated] = TRY(find_machine(dir, record, kept));
  // A VM that containers share is in a cgroup of its own.
  const std::string vm_cgroup = machine.part ? "" : record.cgroup;
  auto resize = [&control](const vmm::Resize& request) { return control.ask(request); };
  runtime::WantedSize wanted = runtime::wanted_size(merged.keep, merged.apply, machine, runtime::host_size());
  for (const auto& warning : wanted.warnings) log_warn(warning);
  uint64_t before = machine.size.memory, memory = wanted.memory.value_or(before);
  if (memory > before) TRY(set_backstop(vm_cgroup, merged.keep, memory));
  auto done = [&]() -> Result<void> {
    if (memory > before) TRY(runtime::grow_memory(resize, memory));
    if (wanted.cpus && *wanted.cpus > machine.size.cpus) TRY(control.ask(vmm::Resize{.cpus = wanted.cpus}));
    return set_limits(dir, record, merged.apply, wanted.cpus, machine.size.max_cpus);
  }();
  if (!done && memory > before) (void)shrink(resize, vm_cgroup, kept, before);
  TRY(std::move(done));
  if (memory < before) TRY(shrink(resize, vm_cgroup, merged.keep, memory));
  if (memory >= before && wanted.memory) TRY(set_backstop(vm_cgroup, merged.keep, memory, is_annotated));
  uint64_t part = runtime::kept_part(dir);
  return part == 0 ? Result<void>() : runtime::keep_part(dir, part + memory - std::min(before, part + memory));
}

// Changes the Intel RDT allocation, which exists on the host only.
Result<void> allocate_cache(const ContainerDir& dir, const UpdateOptions& options) {
  if (options.l3_cache_schema.empty() && options.mem_bw_schema.empty()) return {};
  std::string root = resctrl::mount_point();
  if (!options.l3_cache_schema.empty() && !resctrl::has_cache_allocation(root)) {
    return fail("Intel RDT/CAT: l3 cache schema is not enabled", ENOTSUP);
  }
  if (!options.mem_bw_schema.empty() && !resctrl::has_bandwidth_allocation(root)) {
    return fail("Intel RDT/MBA: memory bandwidth schema is not enabled", ENOTSUP);
  }
  auto group = resctrl::kept(dir);
  if (!group) return fail("updating a non-existent Intel RDT configuration is not supported", ENOENT);
  for (const auto& line : {options.l3_cache_schema, options.mem_bw_schema}) {
    if (!line.empty()) TRY(resctrl::allocate(root, *group, line));
  }
  return {};
}

}  // namespace

Result<int> update(const Globals& globals, const UpdateOptions& options) {
  ContainerDir dir = TRY(ContainerDir::open(globals.root, options.id));
  runtime::Record record = TRY(dir.read_record());
  std::vector<std::string> warnings;
  Json changes = TRY(oci::check_changes(TRY(read_input(options)), warnings));
  // Only other updates wait for this lock.
  Fd lock = TRY(dir.lock_named(runtime::kUpdateLockName));
  if (dir.status(record) == runtime::Status::stopped) return fail(runtime::kNotRunning, ESRCH);
  Json kept = TRY(runtime::kept_resources(dir));
  auto merged = oci::merge(kept, changes);
  for (const auto& warning : warnings) log_warn(warning);
  TRY(allocate_cache(dir, options));
  TRY(apply(dir, record, kept, merged));
  TRY(runtime::keep_resources(dir, merged.keep));
  return 0;
}

}  // namespace nacre::cmd
