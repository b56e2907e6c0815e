// SPDX-License-Identifier: Apache-2.0
// The configuration that `spec` writes: runc's, so that people find what they know.
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/config/config.h"

namespace nacre::oci {

namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char* kTemplate = R"json({
  "ociVersion": "",
  "process": {
    "terminal": true,
    "user": {"uid": 0, "gid": 0},
    "args": ["sh"],
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
    "cwd": "/",
    "capabilities": {
      "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "effective": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "ambient": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    },
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "runc",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
     "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
     "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
     "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
  ],
  "linux": {
    "resources": {"devices": [{"allow": false, "access": "rwm"}]},
    "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
    "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
    "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
  }
})json";

// An unprivileged user maps itself to root, has no network of its own and cannot mount sysfs.
void make_rootless(OrderedJson& config) {
  for (OrderedJson& mount : config["mounts"]) {
    if (mount["destination"] == "/dev/pts") {
      OrderedJson options = OrderedJson::array();
      for (const OrderedJson& option : mount["options"]) {
        if (option != "gid=5") options.push_back(option);
      }
      mount["options"] = options;
    } else if (mount["destination"] == "/sys") {
      mount["type"] = "none";
      mount["source"] = "/sys";
      mount["options"] = {"rbind", "nosuid", "noexec", "nodev", "ro"};
    }
  }
  OrderedJson& linux = config["linux"];
  OrderedJson result;
  result["uidMappings"] = {{{"containerID", 0}, {"hostID", ::geteuid()}, {"size", 1}}};
  result["gidMappings"] = {{{"containerID", 0}, {"hostID", ::getegid()}, {"size", 1}}};
  result["namespaces"] =
      OrderedJson::parse(R"([{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "user"}])");
  result["maskedPaths"] = linux["maskedPaths"];
  result["readonlyPaths"] = linux["readonlyPaths"];
  linux = std::move(result);
}

}  // namespace

std::string template_config(bool rootless) {
  OrderedJson config = OrderedJson::parse(kTemplate);
  config["ociVersion"] = kSpecVersion;
  if (rootless) make_rootless(config);
  // As runc's. The guest has version 2 in any case, but what does not ask for it sees what it would see on the host.
  struct statfs info;
  if (::statfs("/sys/fs/cgroup", &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC) {
    config["linux"]["namespaces"].push_back({{"type", "cgroup"}});
  }
  return config.dump(1, '\t');
}

}  // namespace nacre::oci
