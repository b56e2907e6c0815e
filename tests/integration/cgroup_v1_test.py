# SPDX-License-Identifier: Apache-2.0
"""The container's cgroup on a host with cgroup version 1, or with both: compared with runc, file by file."""

import ctypes
import json
import os
import subprocess
import tempfile

from support import NACRE, PATIENCE, ContainerTest, alive, children, main, nacre, read, run, state, wait_until, write

ROOT = "/sys/fs/cgroup"
MIB = 1 << 20
# Takes memory until it is killed: tail keeps what it read.
EAT = ["tail", "/dev/zero"]
NO_LIMIT = 0x7FFFFFFFFFFFF000  # as the kernel shows it
EFD_NONBLOCK = 0o4000

# What the VM has for itself (ARCHITECTURE.md, "Limits"), what two containers never have in common, and what only newer
# versions of runc set.
OURS_ALONE = {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "devices.list", "cgroup.procs",
              "cgroup.threads", "tasks",
              "hugetlb.2MB.rsvd.limit_in_bytes"}


def hierarchies():
    """Mount points. Those that are mounted together are one."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        lines = [line.split() for line in file]
    return [line[4] for line in lines if line[line.index("-") + 1] in ("cgroup", "cgroup2")]


def cgroups_of(pid):
    """The paths of a process by the names of the hierarchies' controllers."""
    lines = (line.split(":", 2) for line in read(f"/proc/{pid}/cgroup").splitlines())
    return {name: path for _, name, path in lines}


def settings(path):
    """What can be set in a cgroup of all hierarchies, by file."""
    found = {}
    for hierarchy in hierarchies():
        for name in os.listdir(hierarchy + path):
            file = f"{hierarchy}{path}/{name}"
            # Figures change, settings do not.
            if os.path.isfile(file) and os.stat(file).st_mode & 0o200 and os.stat(file).st_mode & 0o400 and not any(
                    word in name for word in ("usage", "failcnt", "reset", "force_empty", "event_control", "pressure")):
                found[name] = read(file)
    return {name: text for name, text in found.items() if name not in OURS_ALONE}


class Version1(ContainerTest):
    def setUp(self):
        subprocess.run(["modprobe", "bfq"], check=True)  # with it there are weights of I/O
        super().setUp()
        self.addCleanup(self.remove_cgroups)

    def remove_cgroups(self):
        for hierarchy in hierarchies():
            for top in ("nt", "rel"):  # runc leaves what is above a container's cgroup, and so do we
                for folder, _, _ in os.walk(f"{hierarchy}/{top}", topdown=False):
                    os.rmdir(folder)

    def move_here(self, path):
        """A cgroup of our own for the rest of the test, so that "relative" shows."""
        for hierarchy in hierarchies():
            os.makedirs(f"{hierarchy}{path}", exist_ok=True)
            if hierarchy.endswith("/cpuset"):
                for folder in (os.path.dirname(path), path):
                    for name in ("cpuset.cpus", "cpuset.mems"):
                        write(f"{hierarchy}{folder}/{name}", read(f"{hierarchy}/{name}"))
            write(f"{hierarchy}{path}/cgroup.procs", str(os.getpid()))

        def back():
            for hierarchy in hierarchies():
                write(f"{hierarchy}/cgroup.procs", str(os.getpid()))
        self.addCleanup(back)

    def bundle_of(self, *args, path=None, resources=None):
        def change(config):
            config["linux"]["resources"] = resources or {}
            if path:
                config["linux"]["cgroupsPath"] = path
        return self.bundle(*args, change=change)

    def start(self, runtime, container, bundle):
        with open("/dev/null", "r+b") as null, open(f"{bundle.path}/log", "w+b") as log:
            done = subprocess.run([runtime, "run", "-d", "--bundle", bundle.path, container], stdin=null, stdout=null,
                                  stderr=log, timeout=PATIENCE, check=False)
            log.seek(0)
            self.log = log.read().decode()
        self.assertEqual(done.returncode, 0, self.log)

    def started(self, *args, **options):
        container = self.container()
        self.start(NACRE, container, self.bundle_of(*args, **options))
        return container

    def started_by_runc(self, *args, **options):
        """Runs the container "reference" and returns its pid."""
        self.addCleanup(run, "runc", "delete", "--force", "reference")
        self.start("runc", "reference", self.bundle_of(*args, **options))
        return json.loads(run("runc", "state", "reference").stdout)["pid"]

    def ok(self, *args, **options):
        done = nacre(*args, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def assert_values(self, path, values):
        for name, value in values.items():
            self.assertEqual(self.value(path, name), str(value), name)

    def value(self, path, name):
        return read(f"{ROOT}/{name.split('.')[0]}{path}/{name}").strip()


class Places(Version1):
    def test_directories_are_runcs(self):
        self.move_here("/nt/own")
        for path in (None, "../x/../rel/one", "/nt/a/../b"):
            container = self.container()
            theirs = cgroups_of(self.started_by_runc("sleep", "1000", path=path))
            if path is None:
                theirs = {name: text.replace("/reference", f"/{container}") for name, text in theirs.items()}
            run("runc", "delete", "--force", "reference")
            self.start(NACRE, container, self.bundle_of("sleep", "1000", path=path))
            pid = state(container)["pid"]
            self.assertEqual(cgroups_of(pid), theirs)
            for child in children(pid):
                self.assertEqual(cgroups_of(child), theirs)
            self.assertEqual(json.loads(self.ok("ps", "--format", "json", container)), [pid])
            self.execs(container, theirs)
            for hierarchy in hierarchies():
                below = max((f"{hierarchy}{theirs[name]}/below" for name in theirs
                             if os.path.isdir(f"{hierarchy}{theirs[name]}")), key=len)
                os.mkdir(below)
            self.ok("delete", "--force", container)
            for hierarchy in hierarchies():
                for name in theirs:
                    self.assertFalse(theirs[name] != "/nt/own" and os.path.exists(f"{hierarchy}{theirs[name]}"), hierarchy)

    def execs(self, container, cgroups):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([NACRE, "exec", "-d", "--pid-file", f"{folder}/pid", container, "sleep", "1000"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
                           timeout=PATIENCE)
            self.assertEqual(cgroups_of(read(f"{folder}/pid")), cgroups)

    def test_one_that_others_use(self):
        os.makedirs(f"{ROOT}/devices/nt/busy")
        with subprocess.Popen(["sleep", "1000"]) as other:
            self.addCleanup(other.kill)
            write(f"{ROOT}/devices/nt/busy/cgroup.procs", str(other.pid))
            done = self.run_container("true", change=lambda config: config["linux"].update(cgroupsPath="/nt/busy"))
            self.assert_one_line_error(done, "container's cgroup is not empty: 1 process(es) found")
            self.assertTrue(alive(other.pid))
            other.kill()
        os.makedirs(f"{ROOT}/freezer/nt/cold")
        write(f"{ROOT}/freezer/nt/cold/freezer.state", "FROZEN")
        done = nacre("run", "--bundle", self.bundle_of("true", path="/nt/cold").path, self.container())
        self.assert_one_line_error(done, "container's cgroup unexpectedly frozen")


class Limits(Version1):
    RESOURCES = {
        "memory": {"limit": 64 * MIB, "swap": 128 * MIB, "reservation": 32 * MIB, "swappiness": 7, "kernel": 0,
                   "disableOOMKiller": False},
        "cpu": {"shares": 512, "quota": 50000, "period": 80000, "cpus": "0", "mems": "0", "realtimePeriod": 0},
        "pids": {"limit": 33}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}],
        "blockIO": {"weight": 500, "leafWeight": 0, "weightDevice": [],
                    "throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": MIB}],
                    "throttleWriteIOPSDevice": [{"major": 7, "minor": 1, "rate": 70}]},
        "network": {"classID": 0x100001, "priorities": [{"name": "lo", "priority": 3}]}}

    def both(self, resources=None):
        """A container under either runtime."""
        resources = resources or self.RESOURCES
        container = self.started("sleep", "1000", path="/nt/ours", resources=resources)
        self.assertNotIn("linux.resources", self.log)
        self.started_by_runc("sleep", "1000", path="/nt/theirs", resources=resources)
        return container

    def test_each_limit_is_runcs(self):
        container = self.both()
        self.assertEqual(settings("/nt/ours"), settings("/nt/theirs"))
        # The two must not agree because both are wrong.
        self.assert_values("/nt/ours", {
            "cpu.shares": 512, "cpu.cfs_quota_us": 50000, "cpu.cfs_period_us": 80000, "pids.max": 33,
            "cpuset.cpus": 0, "memory.soft_limit_in_bytes": 32 * MIB, "memory.swappiness": 7,
            "blkio.bfq.weight": 500, "blkio.throttle.read_bps_device": f"7:0 {MIB}",
            "hugetlb.2MB.limit_in_bytes": 4 * MIB, "hugetlb.2MB.rsvd.limit_in_bytes": 4 * MIB,
            "net_cls.classid": 0x100001})
        # The VM is larger than the container, by the same with and without swap.
        backstop = int(self.value("/nt/ours", "memory.limit_in_bytes"))
        self.assertTrue(64 * MIB < backstop < 256 * MIB, backstop)
        self.assertEqual(int(self.value("/nt/ours", "memory.memsw.limit_in_bytes")), backstop + 64 * MIB)
        # In the guest there is version 2, and the container's own limit.
        script = f"cd {ROOT}$(cut -d: -f3 /proc/self/cgroup); cat memory.max pids.max cpu.max memory.swap.max"
        inside = self.ok("exec", container, "sh", "-c", script)
        self.assertEqual(inside.split("\n")[:4], [str(64 * MIB), "33", "50000 80000", str(64 * MIB)])
        self.updates(container)
        self.grows(container, backstop)

    def updates(self, container):
        changes = ["--memory-reservation", "8m", "--cpu-quota", "90000", "--cpu-share", "1024", "--pids-limit", "40",
                   "--cpuset-cpus", "0", "--blkio-weight", "100"]
        self.ok("update", *changes, container)
        self.assertEqual(run("runc", "update", *changes, "reference").returncode, 0)
        self.assertEqual(settings("/nt/ours"), settings("/nt/theirs"))
        self.assert_values("/nt/ours", {"cpu.shares": 1024, "cpu.cfs_quota_us": 90000, "pids.max": 40,
                                        "blkio.bfq.weight": 100, "memory.soft_limit_in_bytes": 8 * MIB})
        # The limit changes in both places or in none.
        for changes, words in (({"pids": {"limit": 5}, "cpu": {"cpus": "77"}}, ("cpuset.cpus", "77")),
                               ({"cpu": {"shares": 4}, "blockIO": {"throttleReadBpsDevice": [
                                   {"major": 250, "minor": 99, "rate": 1}]}}, ("250:99 1",))):
            done = nacre("update", "--resources", "-", container, input=json.dumps(changes).encode())
            self.assert_one_line_error(done, *words)
        self.assert_values("/nt/ours", {"cpu.shares": 1024, "pids.max": 40})
        # The VM's own tasks and time.
        self.ok("update", "--pids-limit", "2", "--cpu-quota", "2000", container)
        self.assertGreater(int(self.value("/nt/ours", "pids.max")), 8)
        self.assert_values("/nt/ours", {"cpu.cfs_quota_us": 4000})
        self.ok("update", "--pids-limit", "40", "--cpu-quota", "90000", container)

    def grows(self, container, backstop):
        self.ok("update", "--memory", "128m", "--memory-swap", "128m", container)
        grown = int(self.value("/nt/ours", "memory.limit_in_bytes"))
        self.assertGreater(grown, backstop)
        self.assert_values("/nt/ours", {"memory.memsw.limit_in_bytes": grown})
        self.ok("update", "--memory", "-1", "--memory-swap", "-1", container)
        self.assert_values("/nt/ours", {"memory.limit_in_bytes": NO_LIMIT, "memory.memsw.limit_in_bytes": NO_LIMIT})

    def test_nothing_asked_for(self):
        self.both({"memory": {"swappiness": None}, "cpu": {}, "blockIO": None, "network": {"priorities": []}})
        self.assertEqual(settings("/nt/ours"), settings("/nt/theirs"))
        self.assert_values("/nt/ours", {"memory.limit_in_bytes": NO_LIMIT, "memory.memsw.limit_in_bytes": NO_LIMIT})

    def test_the_oom_killer_can_be_switched_off(self):
        self.both({"memory": {"disableOOMKiller": True}})
        for path in ("/nt/ours", "/nt/theirs"):
            self.assertIn("oom_kill_disable 1\n", self.value(path, "memory.oom_control") + "\n")

    def test_errors_are_runcs(self):
        """Checks that `words` are in runc's error and in nacre's."""
        for resources, words in (
                ({"cpu": {"cpus": "77"}}, ('failed to write "77": write ', "/cpuset.cpus: ")),
                ({"cpu": {"mems": "x"}}, ('failed to write "x": write ', "/cpuset.mems: ")),
                ({"cpu": {"shares": 1}}, ("the minimum allowed cpu-shares is 2",)),
                ({"cpu": {"shares": 300000}}, ("the maximum allowed cpu-shares is 262144",)),
                ({"cpu": {"realtimeRuntime": 1000}}, ("/cpu.rt_runtime_us: no such file or directory",)),
                ({"blockIO": {"leafWeight": 300}}, ("/blkio.leaf_weight: no such file or directory",)),
                ({"blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 99, "rate": 1}]}},
                 ('failed to write "250:99 1": write ', "/blkio.throttle.read_bps_device: ")),
                ({"hugepageLimits": [{"pageSize": "3MB", "limit": MIB}]}, ("hugetlb.3MB.limit_in_bytes: ",)),
                ({"memory": {"swappiness": 101}}, ("invalid memory swappiness value: 101 (valid range is 0-100)",)),
                ({"network": {"priorities": [{"name": "nope0", "priority": 3}]}},
                 ('failed to write "nope0 3": write ', "/net_prio.ifpriomap: no such device")),
                ({"unified": {"memory.high": "1"}}, ("cannot use unified on cgroup v1",))):
            bundle = self.bundle_of("true", path="/nt/bad", resources=resources)
            done = nacre("run", "--bundle", bundle.path, self.container())
            reference = run("runc", "run", "--bundle", bundle.path, self.container())
            run("runc", "delete", "--force", bundle.path)
            self.assertEqual((done.returncode, reference.returncode), (1, 1), resources)
            for word in words:
                self.assertIn(word, reference.stderr.decode().replace('\\"', '"'))
                self.assertIn(word, done.stderr.decode().replace('\\"', '"'))


class OutOfMemory(Version1):
    def watched(self, path):
        """Makes an eventfd as containerd's shim and conmon do."""
        libc = ctypes.CDLL(None, use_errno=True)
        event = libc.eventfd(0, EFD_NONBLOCK)
        self.addCleanup(os.close, event)
        with open(f"{ROOT}/memory{path}/memory.oom_control", encoding="ascii") as control:
            write(f"{ROOT}/memory{path}/cgroup.event_control", f"{event} {control.fileno()}")
        return event

    def kills(self, path):
        return int(dict(line.split() for line in self.value(path, "memory.oom_control").splitlines())["oom_kill"])

    def events(self, event):
        try:
            return int.from_bytes(os.read(event, 8), "little")
        except BlockingIOError:
            return 0

    def test_a_kill_in_the_guest_is_seen_on_the_host(self):
        container = self.started("sleep", "1000", path="/nt/oom", resources={
            "memory": {"limit": 32 * MIB, "swappiness": 9}})
        before = settings("/nt/oom"), self.value("/nt/oom", "memory.limit_in_bytes")
        pid, event = state(container)["pid"], self.watched("/nt/oom")
        self.assertEqual((self.kills("/nt/oom"), self.events(event)), (0, 0))
        for kills in (1, 2):
            greedy = nacre("exec", container, *EAT)
            self.assertEqual(greedy.returncode, 137, greedy.stderr)
            wait_until(lambda kills=kills: self.kills("/nt/oom") >= kills, "the kill is counted")
            self.assertEqual(self.events(event), 1)
        # The VM goes on as before.
        self.assertEqual(self.ok("exec", container, "echo", "well"), "well\n")
        self.assertEqual(self.kills("/nt/oom"), 2)
        self.assertEqual(state(container), {**state(container), "pid": pid, "status": "running"})
        after = settings("/nt/oom"), self.value("/nt/oom", "memory.limit_in_bytes")
        after[0]["memory.oom_control"] = before[0]["memory.oom_control"]  # the count
        self.assertEqual(after, before)

    def test_figures_are_the_machines(self):
        container = self.started("sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; sleep 1000",
                                 path="/nt/used", resources={"memory": {"limit": 96 * MIB}})
        wait_until(lambda: int(self.value("/nt/used", "memory.usage_in_bytes")) > 40 * MIB, "the memory is charged")
        self.assertGreater(int(self.value("/nt/used", "cpuacct.usage")), 0)
        self.assertGreater(int(self.value("/nt/used", "pids.current")), 1)
        self.assertEqual(state(container)["status"], "running")


if __name__ == "__main__":
    main()
