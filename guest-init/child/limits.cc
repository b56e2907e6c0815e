// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "guest-init/child/child.h"

namespace nacre::guest {

namespace {

constexpr rlim_t kUsualFiles = 1024;
constexpr int kIoPriorityOfProcess = 1;  // IOPRIO_WHO_PROCESS, ioprio_set(2); see spec/scheduling.cc

Result<void> apply_scheduling(pid_t pid, const ProcessSpec& process) {
  if (process.scheduler && ::syscall(SYS_sched_setattr, pid, &*process.scheduler, 0) < 0) {
    return fail_errno("set process.scheduler");
  }
  if (process.io_priority && ::syscall(SYS_ioprio_set, kIoPriorityOfProcess, pid, *process.io_priority) < 0) {
    return fail_errno("set process.ioPriority");
  }
  return {};
}

Result<void> apply_rlimits(pid_t pid, const std::vector<Rlimit>& rlimits) {
  for (const Rlimit& limit : rlimits) {
    if (::prlimit(pid, static_cast<__rlimit_resource>(limit.resource), &limit.limit, nullptr) < 0) {
      return fail_errno("set " + limit.name);
    }
  }
  return {};
}

}  // namespace

Result<void> apply_limits(pid_t pid, const ProcessSpec& process) {
  if (process.oom_score_adj) {
    std::string directory = pid == 0 ? "self" : std::to_string(pid);
    Fd file = TRY(open_file("/proc/" + directory + "/oom_score_adj", O_WRONLY));
    TRY_CONTEXT(write_all(file.get(), std::to_string(*process.oom_score_adj)), "set oom_score_adj");
  }
  // guest-init's own limit is for its many streams; programs that close every possible descriptor want the usual one.
  rlimit files;
  if (::prlimit(pid, RLIMIT_NOFILE, nullptr, &files) == 0 && files.rlim_cur > kUsualFiles) {
    files.rlim_cur = kUsualFiles;
    ::prlimit(pid, RLIMIT_NOFILE, &files, nullptr);
  }
  TRY(apply_scheduling(pid, process));
  return apply_rlimits(pid, process.rlimits);
}

Result<void> apply_exec_affinity(const ProcessSpec& process) {
  // The process is in the container's cgroup from its first moment: what is to hold after the move there comes last.
  if (process.initial_cpus && ::sched_setaffinity(0, sizeof(cpu_set_t), &*process.initial_cpus) < 0) {
    return fail_errno("set process.execCPUAffinity.initial");
  }
  if (process.final_cpus && ::sched_setaffinity(0, sizeof(cpu_set_t), &*process.final_cpus) < 0) {
    return fail_errno("set process.execCPUAffinity.final");
  }
  return {};
}

}  // namespace nacre::guest
