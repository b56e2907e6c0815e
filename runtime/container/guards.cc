// SPDX-License-Identifier: Apache-2.0
#include "runtime/container/guards.h"

#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <utility>

#include "base/log.h"
#include "base/subprocess.h"
#include "runtime/config/config.h"
#include "runtime/container/hooks.h"
#include "runtime/container/remove.h"
#include "runtime/host/cgroup/cgroup.h"
#include "runtime/host/cgroup/files.h"
#include "runtime/host/cgroup/unit_cgroup.h"

namespace nacre::runtime {

namespace {

constexpr const char* kSettingLimits = "error setting cgroup config for procHooks process";  // runc's words

void warn_of_rest(const Result<void>& removed) {
  if (!removed) log_warn("clean-up: " + removed.error().message());
}

}  // namespace

Result<NewDirectory> NewDirectory::make(const std::string& root, const std::string& id) {
  return NewDirectory(TRY(ContainerDir::create(root, id)));
}

NewDirectory::~NewDirectory() {
  if (dir_ && !is_kept_) warn_of_rest(dir_->remove());
}

ContainerDir NewDirectory::release() {
  ContainerDir dir = std::move(*dir_);
  dir_.reset();
  return dir;
}

HostCgroup::~HostCgroup() {
  if (name_.empty() || dir_->is_kept()) return;
  holder_ = {};
  remove_cgroup(name_);
}

Result<void> HostCgroup::make(const ContainerPlan& plan, const std::string& id, bool systemd) {
  const HostPlan& host = plan.host;
  auto notice = [this](const std::string& name) {
    return dir_->get().write_processes({.standin = {}, .vmm = {}, .cgroup = name});
  };
  if (systemd) {
    auto unit = TRY(make_unit_cgroup(host.cgroups_path, id, host.resources, host.annotations, notice));
    name_ = std::move(unit.name);
    holder_ = std::move(unit.holder);
  } else {
    name_ = TRY(make_cgroup(host.cgroups_path, id, host.resources, notice));
  }
  TRY_CONTEXT(set_early_limits(plan), kSettingLimits);
  return {};
}

Result<void> HostCgroup::set_early_limits(const ContainerPlan& plan) {
  const HostPlan& host = plan.host;
  const nlohmann::json& resources = host.resources;
  auto files = TRY(host_files(resources, name_, plan.vm.config.max_cpus));
  if (!name_.empty()) {
    late_ = files;
    std::erase_if(late_, std::not_fn(waits_for_boot));
    std::erase_if(files, waits_for_boot);
  }
  if (host.backstop && plan.vm.vm_of.empty()) {  // a VM that the container joins is in another cgroup
    for (auto& file : backstop_files(name_, resources, host.backstop)) files.push_back(std::move(file));
  }
  TRY(set_host_files(name_, files));
  return {};
}

Result<void> HostCgroup::set_late_limits() const {
  TRY_CONTEXT(set_host_files(name_, late_), kSettingLimits);
  return {};
}

ResctrlGroup::~ResctrlGroup() {
  if (group_ && !dir_->is_kept()) resctrl::remove(*group_);
}

Result<void> ResctrlGroup::make(const nlohmann::json& intel_rdt, const std::string& id) {
  if (intel_rdt.is_null()) return {};
  group_ = TRY_CONTEXT(resctrl::make(resctrl::mount_point(), intel_rdt, id), "unable to apply Intel RDT configuration");
  return resctrl::keep(dir_->get(), *group_);
}

PoststopHooks::~PoststopHooks() {
  if (!record_) return;
  auto hooks = oci::parse_json(record_->hooks, "hooks");
  if (hooks) run_late_hooks(*hooks, "poststop", hook_state(*record_, "stopped", 0));
}

StandinProcess::~StandinProcess() {
  if (pid_ <= 0) return;
  report_.reset();
  auto ended = end_processes(dir_->get(), dir_->get().read_processes());
  warn_of_rest(ended);
  if (!ended) dir_->keep();
  (void)wait_for(pid_);
}

Result<void> StandinProcess::fork(StandinTask& task) {
  auto [ours, theirs] = TRY(make_socketpair(SOCK_SEQPACKET));
  pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork");
  if (pid == 0) {
    ours.reset();
    run_standin(std::move(task), dir_->get(), std::move(theirs));
  }
  pid_ = pid;
  report_ = std::move(ours);
  return {};
}

Result<Report> StandinProcess::receive() const {
  Report report = TRY(receive_report(report_.get()));
  if (!report.ok) return fail(report.error, report.code);
  return report;
}

Result<void> StandinProcess::go_on() const {
  return write_all(report_.get(), "h");
}

Fd StandinProcess::release() {
  pid_ = -1;
  return std::move(report_);
}

}  // namespace nacre::runtime
