# SPDX-License-Identifier: Apache-2.0
"""Variations of config.json for differential_test.py. Each sets one field and asks the probe about that field.

A variation is a function that takes the configuration and a random generator, and is named after its field. A bundle
gets many variations, so no variation may hide the effect of another.
"""

import copy
from random import Random

CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
                "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
                "CAP_AUDIT_WRITE", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHECKPOINT_RESTORE", "CAP_BPF"]
UNLIMITED = (1 << 64) - 1
RLIMITS = {"RLIMIT_CORE": [0, 4096, UNLIMITED], "RLIMIT_FSIZE": [1 << 30, UNLIMITED], "RLIMIT_NOFILE": [64, 1024, 4096],
           "RLIMIT_NPROC": [512, 4096], "RLIMIT_STACK": [8 << 20, 64 << 20, UNLIMITED], "RLIMIT_MEMLOCK": [0, 1 << 20],
           "RLIMIT_MSGQUEUE": [8192, 819200], "RLIMIT_NICE": [0, 20, 40], "RLIMIT_RTPRIO": [0, 99],
           "RLIMIT_RTTIME": [1 << 30, UNLIMITED], "RLIMIT_SIGPENDING": [100, 1000], "RLIMIT_CPU": [1000, UNLIMITED],
           "RLIMIT_DATA": [1 << 30, UNLIMITED], "RLIMIT_AS": [1 << 34, UNLIMITED], "RLIMIT_RSS": [1 << 30, UNLIMITED],
           "RLIMIT_LOCKS": [10, UNLIMITED]}
ATTRIBUTES = [["ro", "rw"], ["nosuid", "suid"], ["nodev", "dev"], ["noexec", "exec"], ["nodiratime", "diratime"],
              ["noatime", "relatime", "strictatime", "atime", "norelatime", "nostrictatime"]]
RECURSIVE = [["rro", "rrw"], ["rnosuid"], ["rnodev"], ["rnoexec"], ["rnoatime", "rstrictatime", "rrelatime"]]
PROPAGATIONS = ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"]

VARIATIONS = {}


def variation(name):
    def add(function):
        VARIATIONS[name] = function
        return function
    return add


def ask(config, *questions):
    config["process"]["args"] += [question for question in questions if question not in config["process"]["args"]]


def some(random, choices, chance=0.5):
    return [choice for choice in choices if random.random() < chance]


def attributes(random):
    words = [random.choice(kind) for kind in ATTRIBUTES if random.random() < 0.4]
    random.shuffle(words)
    return words


def mount(config, destination, kind, source, options, *questions):
    config["mounts"].append({"destination": destination, "type": kind, "source": source, "options": options})
    ask(config, *(questions or (f"stat:{destination}", f"write:{destination}", f"list:{destination}")))


# --- process

@variation("process.user")
def user(config, random):
    process = config["process"]
    process["user"] = {"uid": random.choice([0, 0, 1000, 65534, 100000]), "gid": random.choice([0, 1000, 77])}
    if random.random() < 0.6:
        groups = [5, 10, 77, 1000, 65534, 100001]
        random.shuffle(groups)
        process["user"]["additionalGids"] = groups[:random.randrange(5)]
    if random.random() < 0.6:
        process["user"]["umask"] = random.choice([0, 0o22, 0o27, 0o77, 0o777])
    ask(config, "read:/full/one", "write:/tmp", "write:/private", "write:/file", "exec:/private/program")


@variation("process.capabilities")
def capabilities(config, random):
    bounding = some(random, CAPABILITIES, 0.7)
    permitted = some(random, bounding, 0.8)
    sets = {"bounding": bounding, "permitted": permitted, "effective": some(random, permitted, 0.9),
            "inheritable": some(random, permitted, 0.3), "ambient": some(random, permitted, 0.3)}
    for name in some(random, list(sets), 0.1):
        del sets[name]
    if "permitted" not in sets:
        sets.pop("effective", None)
        sets.pop("inheritable", None)
        sets.pop("ambient", None)
    config["process"]["capabilities"] = sets
    ask(config, "call:chroot", "call:sethostname", "call:raw socket", "call:setuid")


@variation("process.rlimits")
def rlimits(config, random):
    limits = []
    for name in some(random, list(RLIMITS)):
        soft, hard = sorted(random.choices(RLIMITS[name], k=2))
        limits.append({"type": name, "soft": soft, "hard": hard})
    random.shuffle(limits)
    config["process"]["rlimits"] = limits


@variation("process.noNewPrivileges")
def no_new_privileges(config, random):
    config["process"]["noNewPrivileges"] = random.random() < 0.5


@variation("process.oomScoreAdj")
def oom_score(config, random):
    config["process"]["oomScoreAdj"] = random.choice([0, 1, 500, 1000, -999])


@variation("process.env")
def env(config, random):
    words = ["PATH=/bin", "PATH=/nonesuch:/bin:", "HOME=/elsewhere", "HOME=", "A=1", "A=2", "EMPTY=", "B=x=y",
             "LONG=" + "z" * 5000, "UMLAUT=\u00fc", "TERM=xterm", "SPACE= a b "]
    chosen = some(random, words)
    random.shuffle(chosen)
    config["process"]["env"] = chosen + ["LAST=1", "A=3"]


@variation("process.cwd")
def cwd(config, random):
    config["process"]["cwd"] = random.choice(["/", "/tmp", "/full/inside", "/made/here/deep", "/link", "/full/../tmp",
                                              "/tmp/", "//tmp", "/full/./inside"])
    ask(config, "stat:/made", "stat:/made/here", "stat:/made/here/deep")


@variation("process.args")
def args(config, random):
    config["process"]["args"][0] = random.choice(["/bin/probe", "/probe", "/bin/../bin/probe"])
    config["process"]["args"] += ["", "two words", "stat:/nonesuch"]


# --- names, root

@variation("hostname")
def hostname(config, random):
    config["hostname"] = random.choice(["", "a", "box.example.org", "x" * 64])
    ask(config, "read:/proc/sys/kernel/hostname")


@variation("root.readonly")
def readonly_root(config, random):
    config["root"]["readonly"] = random.random() < 0.5
    ask(config, "write:/", "write:/tmp", "write:/file")


@variation("linux.namespaces")
def namespaces(config, random):
    if random.random() < 0.5:
        config["linux"]["namespaces"].remove({"type": "cgroup"})


# --- mounts

@variation("mounts: bind of a directory")
def bind_directory(config, random):
    place = random.choice(["/data", "/new/deep/data", "/full", "/link/under", "relative/data"])
    options = [random.choice(["bind", "rbind"]), *attributes(random)]
    if random.random() < 0.4:
        options.append(random.choice(PROPAGATIONS))
    if random.random() < 0.3:
        options += [random.choice(kind) for kind in some(random, RECURSIVE, 0.4)]
    shown = "/" + place.lstrip("/")
    mount(config, place, random.choice(["bind", "none", "bind", ""]), random.choice(["data/dir", "BUNDLE/data/dir"]),
          options,
          f"tree:{shown}", f"write:{shown}", f"write:{shown}/one", f"exec:{shown}/sub/two", f"exec:{shown}/suid")


@variation("mounts: bind of a file")
def bind_file(config, random):
    place = random.choice(["/etc/bound", "/new/file", "/file", "/file-link", "/etc/group"])
    mount(config, place, "bind", "BUNDLE/data/file", ["bind", *attributes(random)], f"tree:{place}", f"write:{place}",
          f"stat:{place.rpartition('/')[0] or '/'}")


@variation("mounts: tmpfs")
def tmpfs(config, random):
    options = attributes(random)
    options += some(random, ["size=64k", "nr_inodes=10", "uid=1000", "gid=77"], 0.4)
    if random.random() < 0.3:
        options.append(random.choice(["sync", "dirsync", "async", "mand", "nomand", "lazytime", "silent", "loud"]))
    if random.random() < 0.3:
        options.append("tmpcopyup")
    if random.random() < 0.3:
        options.append(random.choice(PROPAGATIONS))
    place = random.choice(["/scratch", "/full", "/new/scratch", "/full/inside", "/link"])
    # If the directory exists, runc before 1.1.8 keeps the mode of the directory, whatever the option says.
    if "scratch" in place and random.random() < 0.7:
        options.append(random.choice(["mode=700", "mode=1777", "mode=0555"]))
    mount(config, place, "tmpfs", random.choice(["tmpfs", "scratch", "none"]), options, f"tree:{place}",
          f"write:{place}", f"exec:{place}/inside/two")


@variation("mounts: nested")
def nested(config, random):
    mount(config, "/outer", "tmpfs", "tmpfs", ["mode=755", *some(random, ["ro"])], "stat:/outer", "write:/outer")
    mount(config, "/outer/inner", "tmpfs", "tmpfs", ["mode=711", *attributes(random)])
    mount(config, "/outer/bound", "bind", "data/dir", ["bind", *some(random, ["ro"])])
    mount(config, "/outer/inner/file", "bind", "data/file", ["bind"], "tree:/outer/inner")


@variation("mounts: over symbolic links")
def over_links(config, random):
    # Leaves out links that lead nowhere: Debian's runc makes their targets. runc since 1.4 refuses them, as Nacre does.
    place = random.choice(["/link", "/link/more", "/outwards", "/outwards/more", "/link/../link/new"])
    if random.random() < 0.5:
        kind = "tmpfs", "tmpfs", []
    else:
        kind = "bind", "data/dir", ["bind"]
    mount(config, place, *kind, f"stat:{place}", f"stat:{place}/", "list:/", "list:/full", "list:/made",
          "list:/outside")


@variation("mounts: proc")
def proc(config, random):
    entry = next(entry for entry in config["mounts"] if entry["destination"] == "/proc")
    entry["options"] = [*some(random, ["nosuid", "nodev", "noexec"]),
                        *random.choice([[], ["hidepid=2"], ["hidepid=1", "gid=77"], ["relatime"]])]
    ask(config, "stat:/proc/1", "stat:/proc/uptime", "stat:/proc/self/fd")


@variation("mounts: sysfs")
def sysfs(config, random):
    entry = next(entry for entry in config["mounts"] if entry["destination"] == "/sys")
    entry["options"] = attributes(random)
    ask(config, "write:/sys/kernel/uevent_seqnum", "stat:/sys/fs/cgroup")


@variation("mounts: cgroup")
def cgroup(config, random):
    entry = next(entry for entry in config["mounts"] if entry["destination"] == "/sys/fs/cgroup")
    entry["type"] = random.choice(["cgroup", "cgroup2"])
    entry["options"] = ["nosuid", "noexec", "nodev", *some(random, ["relatime", "ro"])]
    if not any(namespace["type"] == "cgroup" for namespace in config["linux"]["namespaces"]):
        config["linux"]["namespaces"].append({"type": "cgroup"})
    ask(config, "stat:/sys/fs/cgroup", "read:/sys/fs/cgroup/cgroup.type", "read:/sys/fs/cgroup/cgroup.subtree_control",
        "write:/sys/fs/cgroup/cgroup.procs")


@variation("mounts: devpts and mqueue")
def devpts(config, random):
    for entry in config["mounts"]:
        if entry["destination"] == "/dev/pts":
            entry["options"] = ["nosuid", "noexec", *some(random, ["newinstance"]), "ptmxmode=0666",
                                random.choice(["mode=0620", "mode=0600"]), *some(random, ["gid=5", "max=10"])]
        if entry["destination"] == "/dev/mqueue":
            entry["options"] = attributes(random)
    ask(config, "stat:/dev/mqueue", "write:/dev/mqueue", "write:/dev/ptmx")


@variation("mounts: /dev")
def dev(config, random):
    entry = next(entry for entry in config["mounts"] if entry["destination"] == "/dev")
    entry["options"] = ["nosuid", random.choice(["strictatime", "noexec"]), random.choice(["mode=755", "mode=0711"]),
                        "size=65536k", *some(random, ["ro"], 0.3)]
    ask(config, "write:/dev", "write:/dev/null", "write:/dev/full")


# --- linux

@variation("linux.maskedPaths")
def masked(config, random):
    config["linux"]["maskedPaths"] = some(random, ["/hidden", "/file", "/nonesuch", "/proc/kcore", "/proc/keys",
                                                   "/sys/firmware", "/file-link", "/proc/timer_list", "/proc/acpi",
                                                   "/hidden/file"])
    ask(config, "tree:/hidden", "read:/file", "write:/hidden", "write:/file", "stat:/file", "stat:/proc/keys",
        "stat:/sys/firmware", "stat:/file-link")


@variation("linux.readonlyPaths")
def readonly_paths(config, random):
    config["linux"]["readonlyPaths"] = some(random, ["/kept", "/kept/file", "/nonesuch", "/proc/sys", "/link",
                                                     "/proc/bus", "/proc/sysrq-trigger"])
    ask(config, "write:/kept", "write:/kept/file", "write:/kept/below", "write:/proc/sys/kernel/domainname",
        "write:/full", "write:/proc/sysrq-trigger")


@variation("linux.devices")
def devices(config, random):
    def node(path, kind, number, **more):
        entry = {"path": path, "type": kind, **more}
        if number:
            entry["major"], entry["minor"] = number
        config["linux"].setdefault("devices", []).append(entry)
    if random.random() < 0.5:
        node("/dev/own-null", random.choice("cu"), (1, 3), uid=7, gid=8,
             fileMode=random.choice([0o600, 0o666, 0o4640, 0o20644]))
    if random.random() < 0.5:
        node("/dev/deep/er/fifo", "p", None, fileMode=0o622)
    if random.random() < 0.5:
        node("/dev/none-behind", "c", (10, 666), fileMode=0o660)
        node("/dev/block", "b", (8, 666))
    if random.random() < 0.3:
        node("/dev/tty", "c", (5, 0))
    if random.random() < 0.3:
        node("/dev/zero", "c", (1, 5), fileMode=0o600, uid=1000)
    config["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]


@variation("linux.resources.devices")
def device_rules(config, random):
    """Uses device numbers that no driver has: an access that the rules allow finds no device."""
    for minor in (1, 2):
        config["linux"].setdefault("devices", []).append(
            {"path": f"/dev/ruled{minor}", "type": "c", "major": 240, "minor": minor})
        ask(config, f"read:/dev/ruled{minor}", f"write:/dev/ruled{minor}")
    config["linux"]["resources"]["devices"] = [
        {"allow": random.random() < 0.2, "access": "rwm"},
        *some(random, [{"allow": True, "type": "c", "major": 240, "minor": 1, "access": random.choice(["r", "w", "rwm"])},
                       {"allow": True, "type": "c", "major": 240, "minor": 2, "access": "rw"},
                       {"allow": False, "type": "c", "major": 240, "minor": 2, "access": "w"},
                       {"allow": True, "type": "b", "major": -1, "minor": -1, "access": "rw"}])]
    ask(config, "read:/dev/zero", "write:/dev/null", "read:/dev/tty")


@variation("linux.sysctl")
def sysctl(config, random):
    names = {"kernel.msgmax": "9000", "kernel.shm_rmid_forced": "1", "net.ipv4.ip_forward": "1",
             "net.ipv4.ip_unprivileged_port_start": "80", "fs.mqueue.msg_max": "20", "kernel.domainname": "example.org",
             "net/ipv4/conf/lo/forwarding": "1", "kernel.sem": "251 32001 101 129"}
    chosen = some(random, list(names))
    config["linux"]["sysctl"] = {name: names[name] for name in chosen}
    ask(config, *("read:/proc/sys/" + name.replace(".", "/") for name in chosen))


@variation("linux.seccomp")
def seccomp(config, random):
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["syncfs", "getcpu"], "action": "SCMP_ACT_ERRNO",
                      **random.choice([{}, {"errnoRet": 38}])},
                     {"names": ["chroot"], "action": random.choice(["SCMP_ACT_ERRNO", "SCMP_ACT_LOG"])}]}
    ask(config, "call:sync", "call:getcpu", "call:chroot", "call:new call")


@variation("annotations")
def annotations(config, random):
    config["annotations"] = {"org.example.key": "value", "empty": "", "run.oci.keep": str(random.random())}


@variation("unknown fields")
def unknown(config, _):
    config["futureField"] = {"a": [1, None]}
    config["process"]["future"] = True
    config["linux"]["future"] = [{}]
    config["mounts"][0]["future"] = "x"


def choose(seed):
    """Returns about half of the variations, in the order in which vary() applies them. The order of mounts matters."""
    random = Random(f"{seed}")
    chosen = [name for name in VARIATIONS if random.random() < 0.55]
    random.shuffle(chosen)
    return chosen


def vary(template, seed, names):
    """Returns a configuration with these variations. The effect of each depends on the seed, not on the others."""
    config = copy.deepcopy(template)
    config["process"]["args"] = ["/bin/probe"]
    for name in names:
        VARIATIONS[name](config, Random(f"{seed} {name}"))
    return config
