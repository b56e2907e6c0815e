// The fields of config.json: OCI runtime specification 1.2, config.md and config-linux.md.
#include "runtime/config/schema.h"

namespace nacre::oci {

namespace {

constexpr uint64_t kMaxU16 = UINT16_MAX;
constexpr uint64_t kMaxU32 = UINT32_MAX;
constexpr uint64_t kMaxU64 = UINT64_MAX;

constexpr Field string(std::string_view name, bool required = false) {
  return {.name = name, .kind = Kind::string, .required = required};
}
constexpr Field one_of(std::string_view name, std::string_view values, bool required = false) {
  return {.name = name, .kind = Kind::string, .required = required, .one_of = values};
}
constexpr Field boolean(std::string_view name, bool required = false) {
  return {.name = name, .kind = Kind::boolean, .required = required};
}
constexpr Field integer(std::string_view name, int64_t low, uint64_t high, bool required = false) {
  return {.name = name, .kind = Kind::integer, .required = required, .low = low, .high = high};
}
constexpr Field signed64(std::string_view name) {
  return {.name = name, .kind = Kind::integer};
}
constexpr Field unsigned64(std::string_view name, bool required = false) {
  return integer(name, 0, kMaxU64, required);
}
constexpr Field unsigned32(std::string_view name, bool required = false) {
  return integer(name, 0, kMaxU32, required);
}
constexpr Field strings(std::string_view name, bool required = false) {
  return {.name = name, .kind = Kind::strings, .required = required};
}
constexpr Field map(std::string_view name) {
  return {.name = name, .kind = Kind::map};
}
constexpr Field object(std::string_view name, std::span<const Field> fields, bool required = false) {
  return {.name = name, .kind = Kind::object, .required = required, .fields = fields};
}
constexpr Field objects(std::string_view name, std::span<const Field> fields, bool required = false) {
  return {.name = name, .kind = Kind::objects, .required = required, .fields = fields};
}

// What Go would decode as zero when it is absent is not required, as under runc.

// --- process

constexpr Field kConsoleSize[] = {unsigned32("height"), unsigned32("width")};
constexpr Field kUser[] = {
    unsigned32("uid"),
    unsigned32("gid"),
    integer("umask", 0, 0777),
    {.name = "additionalGids", .kind = Kind::numbers, .low = 0, .high = kMaxU32},
};
constexpr Field kCapabilities[] = {
    strings("bounding"), strings("effective"), strings("permitted"), strings("inheritable"), strings("ambient"),
};
constexpr Field kRlimit[] = {
    one_of("type",
           " RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_DATA RLIMIT_FSIZE RLIMIT_LOCKS RLIMIT_MEMLOCK RLIMIT_MSGQUEUE "
           "RLIMIT_NICE RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_RSS RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING "
           "RLIMIT_STACK ",
           true),
    unsigned64("soft"),
    unsigned64("hard"),
};
constexpr Field kScheduler[] = {
    one_of("policy", " SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_IDLE SCHED_DEADLINE ", true),
    integer("nice", -20, 19),
    integer("priority", 0, 99),
    strings("flags"),
    unsigned64("runtime"),
    unsigned64("deadline"),
    unsigned64("period"),
};
constexpr Field kIoPriority[] = {
    one_of("class", " IOPRIO_CLASS_RT IOPRIO_CLASS_BE IOPRIO_CLASS_IDLE ", true),
    integer("priority", 0, 7),
};
constexpr Field kExecCpuAffinity[] = {string("initial"), string("final")};
constexpr Field kProcess[] = {
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

constexpr Field kRoot[] = {string("path", true), boolean("readonly")};
constexpr Field kIdMapping[] = {unsigned32("containerID", true), unsigned32("hostID", true), unsigned32("size", true)};
constexpr Field kMount[] = {
    string("destination", true),
    string("source"),
    string("type"),
    strings("options"),
    objects("uidMappings", kIdMapping),
    objects("gidMappings", kIdMapping),
};
constexpr Field kHook[] = {string("path", true), strings("args"), strings("env"), integer("timeout", 1, INT32_MAX)};
constexpr Field kHooks[] = {
    objects("prestart", kHook),       objects("createRuntime", kHook), objects("createContainer", kHook),
    objects("startContainer", kHook), objects("poststart", kHook),     objects("poststop", kHook),
};

// --- linux.resources

constexpr Field kDeviceRule[] = {boolean("allow"), string("type"), signed64("major"), signed64("minor"),
                                 string("access")};
constexpr Field kMemory[] = {
    signed64("limit"),           signed64("reservation"), signed64("swap"),
    signed64("kernel"),          signed64("kernelTCP"),   integer("swappiness", 0, kMaxU64),
    boolean("disableOOMKiller"), boolean("useHierarchy"), boolean("checkBeforeUpdate"),
};
constexpr Field kCpu[] = {
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
constexpr Field kPids[] = {signed64("limit")};
constexpr Field kWeightDevice[] = {signed64("major"), signed64("minor"), integer("weight", 0, kMaxU16),
                                   integer("leafWeight", 0, kMaxU16)};
constexpr Field kThrottleDevice[] = {signed64("major"), signed64("minor"), unsigned64("rate")};
constexpr Field kBlockIo[] = {
    integer("weight", 0, kMaxU16),
    integer("leafWeight", 0, kMaxU16),
    objects("weightDevice", kWeightDevice),
    objects("throttleReadBpsDevice", kThrottleDevice),
    objects("throttleWriteBpsDevice", kThrottleDevice),
    objects("throttleReadIOPSDevice", kThrottleDevice),
    objects("throttleWriteIOPSDevice", kThrottleDevice),
};
constexpr Field kHugepageLimit[] = {string("pageSize", true), unsigned64("limit", true)};
constexpr Field kPriority[] = {string("name", true), unsigned32("priority", true)};
constexpr Field kRdmaLimit[] = {unsigned32("hcaHandles"), unsigned32("hcaObjects")};
constexpr Field kNetwork[] = {unsigned32("classID"), objects("priorities", kPriority)};
constexpr Field kResources[] = {
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

constexpr Field kNamespace[] = {one_of("type", " pid network mount ipc uts user cgroup time ", true), string("path")};
constexpr Field kDevice[] = {
    string("path", true), one_of("type", " c b u p ", true), signed64("major"),
    signed64("minor"),    integer("fileMode", 0, kMaxU32),   unsigned32("uid"),
    unsigned32("gid"),
};
constexpr Field kSeccompArg[] = {integer("index", 0, 5, true), unsigned64("value", true), unsigned64("valueTwo"),
                                 string("op", true)};
constexpr Field kSyscall[] = {strings("names", true), string("action", true), unsigned32("errnoRet"),
                              objects("args", kSeccompArg)};
constexpr Field kSeccomp[] = {
    string("defaultAction"), unsigned32("defaultErrnoRet"), strings("architectures"),      strings("flags"),
    string("listenerPath"),  string("listenerMetadata"),    objects("syscalls", kSyscall),
};
constexpr Field kPersonality[] = {one_of("domain", " LINUX LINUX32 ", true), strings("flags")};
constexpr Field kClockOffset[] = {signed64("secs"), integer("nanosecs", 0, 999'999'999)};
constexpr Field kTimeOffsets[] = {object("monotonic", kClockOffset), object("boottime", kClockOffset)};
constexpr Field kMemoryPolicy[] = {string("mode"), string("nodes"), strings("flags")};
constexpr Field kIntelRdt[] = {string("closID"),           string("l3CacheSchema"), string("memBwSchema"),
                               strings("schemata"),        boolean("enableCMT"),    boolean("enableMBM"),
                               boolean("enableMonitoring")};
constexpr Field kLinux[] = {
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

constexpr Field kConfig[] = {
    string("ociVersion", true),  object("root", kRoot, true), objects("mounts", kMount),
    object("process", kProcess), string("hostname"),          string("domainname"),
    object("hooks", kHooks),     map("annotations"),          object("linux", kLinux),
};

}  // namespace

std::span<const Field> config_fields() {
  return kConfig;
}

std::span<const Field> process_fields() {
  return kProcess;
}

std::span<const Field> resources_fields() {
  return kResources;
}

}  // namespace nacre::oci
