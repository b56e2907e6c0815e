// SPDX-License-Identifier: Apache-2.0
// The fields of config.json: OCI runtime specification 1.2, config.md and config-linux.md.
#include "runtime/config/schema.h"

namespace nacre::oci {

namespace {

constexpr uint64_t kMaxU16 = UINT16_MAX;
constexpr uint64_t kMaxU32 = UINT32_MAX;
constexpr uint64_t kMaxU64 = UINT64_MAX;

constexpr FieldRule string(std::string_view name, bool required = false) {
  return {.name = name, .kind = Kind::string, .required = required};
}
constexpr FieldRule one_of(std::string_view name, std::string_view values, bool required = false) {
  return {.name = name, .kind = Kind::string, .required = required, .one_of = values};
}
constexpr FieldRule boolean(std::string_view name, bool required = false) {
  return {.name = name, .kind = Kind::boolean, .required = required};
}
constexpr FieldRule integer(std::string_view name, int64_t low, uint64_t high, bool required = false) {
  return {.name = name, .kind = Kind::integer, .required = required, .low = low, .high = high};
}
constexpr FieldRule signed64(std::string_view name) {
  return {.name = name, .kind = Kind::integer};
}
constexpr FieldRule unsigned64(std::string_view name, bool required = false) {
  return integer(name, 0, kMaxU64, required);
}
constexpr FieldRule unsigned32(std::string_view name, bool required = false) {
  return integer(name, 0, kMaxU32, required);
}
constexpr FieldRule strings(std::string_view name, bool required = false) {
  return {.name = name, .kind = Kind::strings, .required = required};
}
constexpr FieldRule map(std::string_view name) {
  return {.name = name, .kind = Kind::map};
}
constexpr FieldRule object(std::string_view name, std::span<const FieldRule> fields, bool required = false) {
  return {.name = name, .kind = Kind::object, .required = required, .fields = fields};
}
constexpr FieldRule objects(std::string_view name, std::span<const FieldRule> fields, bool required = false) {
  return {.name = name, .kind = Kind::objects, .required = required, .fields = fields};
}

// What Go would decode as zero when it is absent is not required, as under runc.

// --- process

constexpr FieldRule kConsoleSize[] = {unsigned32("height"), unsigned32("width")};
constexpr FieldRule kUser[] = {
    unsigned32("uid"),
    unsigned32("gid"),
    integer("umask", 0, 0777),
    {.name = "additionalGids", .kind = Kind::numbers, .low = 0, .high = kMaxU32},
};
constexpr FieldRule kCapabilities[] = {
    strings("bounding"), strings("effective"), strings("permitted"), strings("inheritable"), strings("ambient"),
};
constexpr FieldRule kRlimit[] = {
    one_of("type",
           " RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_DATA RLIMIT_FSIZE RLIMIT_LOCKS RLIMIT_MEMLOCK RLIMIT_MSGQUEUE "
           "RLIMIT_NICE RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_RSS RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING "
           "RLIMIT_STACK ",
           true),
    unsigned64("soft"),
    unsigned64("hard"),
};
constexpr FieldRule kScheduler[] = {
    one_of("policy", " SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_IDLE SCHED_DEADLINE ", true),
    integer("nice", -20, 19),
    integer("priority", 0, 99),
    strings("flags"),
    unsigned64("runtime"),
    unsigned64("deadline"),
    unsigned64("period"),
};
constexpr FieldRule kIoPriority[] = {
    one_of("class", " IOPRIO_CLASS_RT IOPRIO_CLASS_BE IOPRIO_CLASS_IDLE ", true),
    integer("priority", 0, 7),
};
constexpr FieldRule kExecCpuAffinity[] = {string("initial"), string("final")};
constexpr FieldRule kProcess[] = {
    boolean("terminal"),
    object("consoleSize", kConsoleSize),
    string("cwd", true),
    strings("env"),
    strings("args", true),
    object("user", kUser),
    object("capabilities", kCapabilities),
    objects("rlimits", kRlimit),
    boolean("noNewPrivileges"),
    string("apparmorProfile"),
    integer("oomScoreAdj", -1000, 1000),
    object("scheduler", kScheduler),
    string("selinuxLabel"),
    object("ioPriority", kIoPriority),
    object("execCPUAffinity", kExecCpuAffinity),
};

// --- root, mounts, hooks

constexpr FieldRule kRoot[] = {string("path", true), boolean("readonly")};
constexpr FieldRule kIdMapping[] = {unsigned32("containerID", true), unsigned32("hostID", true),
                                    unsigned32("size", true)};
constexpr FieldRule kMount[] = {
    string("destination", true),
    string("source"),
    string("type"),
    strings("options"),
    objects("uidMappings", kIdMapping),
    objects("gidMappings", kIdMapping),
};
constexpr FieldRule kHook[] = {string("path", true), strings("args"), strings("env"), integer("timeout", 1, INT32_MAX)};
constexpr FieldRule kHooks[] = {
    objects("prestart", kHook),       objects("createRuntime", kHook), objects("createContainer", kHook),
    objects("startContainer", kHook), objects("poststart", kHook),     objects("poststop", kHook),
};

// --- linux.resources

constexpr FieldRule kDeviceRule[] = {boolean("allow"), string("type"), signed64("major"), signed64("minor"),
                                     string("access")};
constexpr FieldRule kMemory[] = {
    signed64("limit"),           signed64("reservation"), signed64("swap"),
    signed64("kernel"),          signed64("kernelTCP"),   integer("swappiness", 0, kMaxU64),
    boolean("disableOOMKiller"), boolean("useHierarchy"), boolean("checkBeforeUpdate"),
};
constexpr FieldRule kCpu[] = {
    unsigned64("shares"),
    signed64("quota"),
    unsigned64("burst"),
    unsigned64("period"),
    signed64("realtimeRuntime"),
    unsigned64("realtimePeriod"),
    string("cpus"),
    string("mems"),
    signed64("idle"),
};
constexpr FieldRule kPids[] = {signed64("limit")};
constexpr FieldRule kWeightDevice[] = {signed64("major"), signed64("minor"), integer("weight", 0, kMaxU16),
                                       integer("leafWeight", 0, kMaxU16)};
constexpr FieldRule kThrottleDevice[] = {signed64("major"), signed64("minor"), unsigned64("rate")};
constexpr FieldRule kBlockIo[] = {
    integer("weight", 0, kMaxU16),
    integer("leafWeight", 0, kMaxU16),
    objects("weightDevice", kWeightDevice),
    objects("throttleReadBpsDevice", kThrottleDevice),
    objects("throttleWriteBpsDevice", kThrottleDevice),
    objects("throttleReadIOPSDevice", kThrottleDevice),
    objects("throttleWriteIOPSDevice", kThrottleDevice),
};
constexpr FieldRule kHugepageLimit[] = {string("pageSize", true), unsigned64("limit", true)};
constexpr FieldRule kPriority[] = {string("name", true), unsigned32("priority", true)};
constexpr FieldRule kRdmaLimit[] = {unsigned32("hcaHandles"), unsigned32("hcaObjects")};
constexpr FieldRule kNetwork[] = {unsigned32("classID"), objects("priorities", kPriority)};
constexpr FieldRule kResources[] = {
    objects("devices", kDeviceRule),
    object("memory", kMemory),
    object("cpu", kCpu),
    object("pids", kPids),
    object("blockIO", kBlockIo),
    objects("hugepageLimits", kHugepageLimit),
    object("network", kNetwork),
    {.name = "rdma", .kind = Kind::named_objects, .fields = kRdmaLimit},
    map("unified"),
};

// --- linux

constexpr FieldRule kNamespace[] = {one_of("type", " pid network mount ipc uts user cgroup time ", true),
                                    string("path")};
constexpr FieldRule kDevice[] = {
    string("path", true), one_of("type", " c b u p ", true), signed64("major"),
    signed64("minor"),    integer("fileMode", 0, kMaxU32),   unsigned32("uid"),
    unsigned32("gid"),
};
constexpr FieldRule kSeccompArg[] = {integer("index", 0, 5, true), unsigned64("value", true), unsigned64("valueTwo"),
                                     string("op", true)};
constexpr FieldRule kSyscall[] = {strings("names", true), string("action", true), unsigned32("errnoRet"),
                                  objects("args", kSeccompArg)};
constexpr FieldRule kSeccomp[] = {
    string("defaultAction"), unsigned32("defaultErrnoRet"), strings("architectures"),      strings("flags"),
    string("listenerPath"),  string("listenerMetadata"),    objects("syscalls", kSyscall),
};
constexpr FieldRule kPersonality[] = {one_of("domain", " LINUX LINUX32 ", true), strings("flags")};
constexpr FieldRule kClockOffset[] = {signed64("secs"), integer("nanosecs", 0, 999'999'999)};
constexpr FieldRule kTimeOffsets[] = {object("monotonic", kClockOffset), object("boottime", kClockOffset)};
constexpr FieldRule kMemoryPolicy[] = {string("mode"), string("nodes"), strings("flags")};
constexpr FieldRule kIntelRdt[] = {string("closID"),           string("l3CacheSchema"), string("memBwSchema"),
                                   strings("schemata"),        boolean("enableCMT"),    boolean("enableMBM"),
                                   boolean("enableMonitoring")};
constexpr FieldRule kLinux[] = {
    objects("namespaces", kNamespace),
    objects("uidMappings", kIdMapping),
    objects("gidMappings", kIdMapping),
    objects("devices", kDevice),
    string("cgroupsPath"),
    object("resources", kResources),
    map("sysctl"),
    object("seccomp", kSeccomp),
    one_of("rootfsPropagation", " shared slave private unbindable rshared rslave rprivate runbindable "),
    strings("maskedPaths"),
    strings("readonlyPaths"),
    string("mountLabel"),
    object("personality", kPersonality),
    object("intelRdt", kIntelRdt),
    object("memoryPolicy", kMemoryPolicy),
    object("timeOffsets", kTimeOffsets),
};

constexpr FieldRule kConfig[] = {
    string("ociVersion", true),  object("root", kRoot, true), objects("mounts", kMount),
    object("process", kProcess), string("hostname"),          string("domainname"),
    object("hooks", kHooks),     map("annotations"),          object("linux", kLinux),
};

}  // namespace

std::span<const FieldRule> config_fields() {
  return kConfig;
}

std::span<const FieldRule> process_fields() {
  return kProcess;
}

std::span<const FieldRule> resources_fields() {
  return kResources;
}

}  // namespace nacre::oci
