// SPDX-License-Identifier: Apache-2.0
// A config.json that is accepted, and that has nearly every field that there is.
#pragma once

#include "runtime/config/config.h"
#include "tests/fuzz/json_changes.h"

namespace nacre::fuzz {

// Adds the fields that the template lacks.
inline constexpr const char* kMore = R"({
  "process": {"user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3]}, "terminal": false,
    "scheduler": {"policy": "SCHED_FIFO", "priority": 3}, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "execCPUAffinity": {"initial": "0", "final": "0-1"}, "consoleSize": {"height": 5, "width": 6}},
  "domainname": "domain",
  "hooks": {"createRuntime": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 3}],
    "startContainer": [{"path": "/bin/true"}]},
  "annotations": {"nacre.vm.memory": "256M", "nacre.vm.cpus": "2", "run.oci.keep_original_groups": "1"},
  "linux": {
    "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
      {"type": "cgroup"}, {"type": "time"}, {"type": "user"}],
    "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
    "sysctl": {"kernel.msgmax": "4096", "net.ipv4.ip_forward": "1"},
    "cgroupsPath": "/a/b",
    "timeOffsets": {"boottime": {"secs": 3, "nanosecs": 4}},
    "personality": {"domain": "LINUX"},
    "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
    "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
    "resources": {
      "memory": {"limit": 67108864, "swap": 134217728, "reservation": 1, "swappiness": 5},
      "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 5, "cpus": "0-1", "mems": "0", "idle": 0},
      "pids": {"limit": 10}, "hugepageLimits": [{"pageSize": "2MB", "limit": 5}],
      "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 5}]},
      "rdma": {"mlx": {"hcaHandles": 3}}, "unified": {"memory.high": "5M"},
      "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]},
    "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
      "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]}},
  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=755", "ro"]},
    {"destination": "/b", "type": "bind", "source": "rootfs", "options": ["rbind", "rro", "rslave"],
      "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}], "gidMappings": [{"containerID": 0, "hostID": 1, "size": 2}]}]
})";

inline Json sound_config() {
  Json config = Json::parse(oci::template_config(false));
  config.merge_patch(Json::parse(kMore));
  return config;
}

}  // namespace nacre::fuzz
