# SPDX-License-Identifier: Apache-2.0
"""Tests linux.resources, the host's cgroup and the size of the VM: which limit acts where, compared with runc."""

import json
import os
import subprocess
import time

from support import NACRE, PATIENCE, ContainerTest, alive, children, main, nacre, read, run, state, wait_until

ROOT = "/sys/fs/cgroup"
MIB = 1 << 20
# Takes memory until it is killed, because tail keeps what it reads.
EAT = ["tail", "/dev/zero"]


def cgroup_of(pid):
    return read(f"/proc/{pid}/cgroup").strip().removeprefix("0::")


def move_here(cgroup, pid=0):
    with open(f"{ROOT}{cgroup}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(pid))


def counter(cgroup, name):
    """Returns a figure of memory.events."""
    return int(dict(line.split() for line in read(f"{ROOT}{cgroup}/memory.events").splitlines())[name])


class Limits(ContainerTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.remove_cgroups)

    def remove_cgroups(self):
        for folder, _, _ in os.walk(f"{ROOT}/nt", topdown=False):
            os.rmdir(folder)

    def started(self, *args, path=None, resources=None, annotations=None):
        def change(config):
            config["annotations"] = annotations or {}
            config["linux"]["resources"] = resources or {}
            for mount in config["mounts"]:
                if mount["type"] == "cgroup":
                    mount["options"].remove("ro")
                if mount["destination"] == "/dev/shm":
                    mount["options"] = ["size=1g"]  # so that the container's limit acts first
            if path:
                config["linux"]["cgroupsPath"] = path
        container, bundle = self.container(), self.bundle(*args, change=change)
        with open("/dev/null", "r+b") as null, open(f"{bundle.path}/log", "w+b") as log:
            done = subprocess.run([NACRE, "run", "-d", "--bundle", bundle.path, container], stdin=null, stdout=null,
                                  stderr=log, timeout=PATIENCE, check=False)
            log.seek(0)
            self.log = log.read().decode()
        self.assertEqual(done.returncode, 0, self.log)
        return container

    def ok(self, *args, **options):
        done = nacre(*args, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def assert_files(self, text_of, **files):
        for name, value in files.items():
            name = name.replace("_", ".", 1)
            self.assertEqual(text_of(name).strip(), str(value), name)

    def in_guest(self, container):
        return lambda name: self.ok("exec", container, "cat", f"{ROOT}/{name}")

    def in_host(self, path):
        return lambda name: read(f"{ROOT}{path}/{name}")


class HostCgroup(Limits):
    def test_paths_are_runcs(self):
        # Runs in a cgroup of its own, so that a relative path differs from an absolute one.
        os.makedirs(f"{ROOT}/nt/own")
        move_here("/nt/own")
        self.addCleanup(move_here, "")
        for path in (None, "../x/../rel/one", "/nt/a/../b"):
            container = self.started("sleep", "1000", path=path, resources={"pids": {"limit": 50}})
            ours = cgroup_of(state(container)["pid"])
            for child in children(state(container)["pid"]):
                self.assertEqual(cgroup_of(child), ours)
            enabled = read(f"{ROOT}{os.path.dirname(ours)}/cgroup.subtree_control")
            os.mkdir(f"{ROOT}{ours}/below")
            self.ok("delete", "--force", container)
            self.assertFalse(os.path.exists(ROOT + ours))
            with self.bundle("sleep", "1000") as bundle:
                bundle.config["linux"]["resources"] = {"pids": {"limit": 50}}
                if path:
                    bundle.config["linux"]["cgroupsPath"] = path
                bundle.write()
                done = subprocess.run(["runc", "run", "-d", "--bundle", bundle.path, container],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, check=False, timeout=PATIENCE)
                self.assertEqual(done.returncode, 0)
                theirs = cgroup_of(json.loads(run("runc", "state", container).stdout)["pid"])
                self.assertEqual(enabled, read(f"{ROOT}{os.path.dirname(theirs)}/cgroup.subtree_control"))
                run("runc", "delete", "--force", container)
            self.assertEqual(ours, theirs)

    def test_systemds_form(self):
        with self.bundle("sleep", "1000") as bundle:
            bundle.config["linux"]["cgroupsPath"] = "nt-a.slice:pre:name"
            bundle.write()
            create = ("--systemd-cgroup", "run", "-d", "--bundle", bundle.path, self.container())
            words = "systemd not running on this host, cannot use systemd cgroups manager"
            self.assertIn(words, run("runc", *create).stderr.decode())
            self.assert_one_line_error(nacre(*create), words)

    def test_one_that_others_use(self):
        os.makedirs(f"{ROOT}/nt/busy")
        other = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        move_here("/nt/busy", other.pid)
        done = self.run_container("true", change=lambda config: config["linux"].update(cgroupsPath="/nt/busy"))
        self.assert_one_line_error(done, "container's cgroup is not empty: 1 process(es) found")
        self.assertTrue(alive(other.pid))
        # A cgroup below one with processes cannot limit memory.
        done = self.run_container("true", change=lambda config: config["linux"].update(
            cgroupsPath="/nt/busy/x", resources={"memory": {"limit": 64 * MIB}}))
        self.assert_one_line_error(done, "cannot enter cgroupv2", "with domain controllers -- it is in an invalid state")


class Places(Limits):
    def test_each_limit_at_its_place(self):
        # Among the values are those that docker writes if nothing is limited. They cause no warning.
        container = self.started("sleep", "1000", path="/nt/one", resources={
            "memory": {"limit": 64 * MIB, "swap": 128 * MIB, "reservation": 32 * MIB, "swappiness": None,
                       "disableOOMKiller": False, "kernel": 0},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0", "realtimePeriod": 0},
            "pids": {"limit": 33}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}],
            "blockIO": {"weight": 500, "weightDevice": [], "throttleReadBpsDevice": [
                {"major": 7, "minor": 0, "rate": MIB}], "throttleWriteBpsDevice": None},
            "network": {"priorities": []}, "devices": None,
            "unified": {"memory.high": str(60 * MIB), "cpu.idle": "0"}})
        self.assertEqual([line for line in self.log.splitlines() if "linux.namespaces" not in line], [])
        guest, host = self.in_guest(container), self.in_host("/nt/one")
        both = {"memory_low": 32 * MIB, "memory_swap.max": 64 * MIB, "cpu_max": "50000 100000", "cpu_weight": 59,
                "pids_max": 33, "io_weight": "default 4950", "hugetlb_2MB.max": 4 * MIB}
        self.assert_files(guest, memory_max=64 * MIB, memory_high=60 * MIB, cpuset_cpus=0, cpuset_mems=0, **both)
        self.assert_files(host, memory_high="max", cpuset_cpus=0, cpuset_mems=0,
                          io_max="7:0 rbps=1048576 wbps=max riops=max wiops=max", **both)
        self.updates(container, guest, host)
        self.execs(container)

    def updates(self, container, guest, host):
        self.ok("update", "--memory", "32m", "--memory-swap", "48m", "--memory-reservation", "8m", "--cpu-quota", "30000",
                "--cpu-share", "1024", "--pids-limit", "20", "--cpuset-cpus", "0", "--blkio-weight", "100", container)
        both = {"memory_low": 8 * MIB, "memory_swap.max": 16 * MIB, "cpu_max": "30000 100000", "cpu_weight": 100,
                "pids_max": 20, "io_weight": "default 910"}
        self.assert_files(guest, memory_max=32 * MIB, **both)
        self.assert_files(host, cpuset_cpus=0, **both)
        # The limit changes in both places or in none.
        for changes, words in (({"pids": {"limit": 5}, "cpu": {"cpus": "77"}}, ("cpuset.cpus", "77")),
                               ({"memory": {"limit": 1024, "checkBeforeUpdate": True}}, ("rejecting memory limit 1024",)),
                               ({"memory": {"limit": 1024, "swap": 2048, "checkBeforeUpdate": True}},
                                ("rejecting memory+swap limit 2048",)),
                               ({"cpu": {"shares": 4}, "unified": {"memory.max": "x"}}, ("memory.max", "x"))):
            done = nacre("update", "--resources", "-", container, input=json.dumps(changes).encode())
            self.assert_one_line_error(done, *words)
        for side in (guest, host):
            self.assert_files(side, pids_max=20, cpu_weight=100)
        # The host's limits leave room for the threads of the VM, which must still be able to answer.
        self.ok("update", "--pids-limit", "2", "--cpu-quota", "1000", container)
        self.assert_files(host, cpu_max="5000 100000")
        self.assertGreater(int(host("pids.max")), 8)
        self.ok("update", "--cpu-quota", "30000", container)
        self.assert_files(guest, pids_max=2)
        self.ok("update", "--pids-limit", "20", container)

    def execs(self, container):
        self.ok("exec", container, "mkdir", f"{ROOT}/sub")
        for argument, path in (("/sub", "/sub"), ("sub/../sub/", "/sub"), ("", "/"), ("/", "/"), (":sub", "/sub")):
            self.assertEqual(self.ok("exec", "--cgroup", argument, container, "cat", "/proc/self/cgroup"), f"0::{path}\n")
        for argument, words in (("nope", "nope"), ("../..", "../.. is not a sub cgroup path"),
                                ("memory:sub", "unknown controller memory in SubCgroupPaths"),
                                ("a:b:c", "invalid --cgroup argument: a:b:c")):
            self.assert_one_line_error(nacre("exec", "--cgroup", argument, container, "true"), words, status=255)

    def test_errors_are_runcs(self):
        """Checks that `words` are in runc's error and in nacre's."""
        for resources, words in (
                ({"cpu": {"cpus": "77"}}, ('failed to write "77": write ', "/cpuset.cpus: ")),
                ({"cpu": {"mems": "x"}}, ('failed to write "x": write ', "/cpuset.mems: ")),
                ({"blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 99, "rate": 1}]}},
                 ('failed to write "250:99 rbps=1": write ', "/io.max: ")),
                ({"rdma": {"mlx5_1": {"hcaHandles": 3}}}, ('failed to write "mlx5_1 hca_handle=3": write ', "/rdma.max: ")),
                ({"unified": {"cpu.weight": "x"}}, ('unable to set unified resource "cpu.weight": failed to write "x"',)),
                ({"cpu": {"quota": 1}}, ('failed to write "1 100000": write ', "cpu.max: ")),
                ({"memory": {"limit": MIB, "swap": 5}}, ("memory+swap limit should be >= memory limit",)),
                ({"hugepageLimits": [{"pageSize": "3MB", "limit": MIB}]}, ("hugetlb.3MB.max: ",)),
                ({"memory": {"limit": 4096}}, ("container init was OOM-killed (memory limit too low?)",))):
            with self.bundle("true") as bundle:
                bundle.config["linux"].update(resources=resources, cgroupsPath="/nt/bad")
                bundle.write()
                done = nacre("run", "--bundle", bundle.path, self.container())
                reference = run("runc", "run", "--bundle", bundle.path, self.container())
            self.assertEqual((done.returncode, reference.returncode), (1, 1), resources)
            for word in words:
                self.assertIn(word, reference.stderr.decode().replace('\\"', '"'))
                self.assertIn(word, done.stderr.decode().replace('\\"', '"'))

    def test_the_lab_has_no_intel_rdt(self):
        for change in ({"l3CacheSchema": "L3:0=f"}, {"memBwSchema": "MB:0=10"}):
            with self.bundle("true") as bundle:
                bundle.config["linux"]["intelRdt"] = change
                bundle.write()
                done = nacre("run", "--bundle", bundle.path, self.container())
                reference = run("runc", "run", "--bundle", bundle.path, self.container())
            self.assertEqual((done.returncode, reference.returncode), (1, 1))
            for stderr in (done.stderr, reference.stderr):
                self.assertIn(b" is specified in config, but Intel RDT", stderr)


class Size(Limits):
    def test_a_small_container_has_a_small_machine(self):
        # The container can really use the memory that it is given, and `free` shows about as much.
        fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null; echo > /dev/shm/done; sleep 1000"
        container = self.started("sh", "-c", fill, path="/nt/small", resources={
            "memory": {"limit": 64 * MIB}, "cpu": {"quota": 50000}})
        wait_until(lambda: nacre("exec", container, "test", "-e", "/dev/shm/done").returncode == 0, "filled")
        total, size = int(self.ok("exec", container, "sh", "-c", "free -m | awk '/^Mem/ { print $2 }'")), 60 * MIB
        self.assertTrue(64 <= total <= 64 * 1.5, total)
        self.assertEqual(int(self.ok("exec", container, "stat", "-c", "%s", "/dev/shm/x")), size)
        # The host sees what the VM costs, in the cgroup of the pid that engines look at.
        cgroup = cgroup_of(state(container)["pid"])
        self.assertGreater(int(read(f"{ROOT}{cgroup}/memory.current")), size)
        most = int(read(f"{ROOT}{cgroup}/memory.max"))
        self.assertTrue(64 * MIB < most < 256 * MIB, most)
        self.assertGreater(int(read(f"{ROOT}{cgroup}/pids.current")), 1)
        self.assertEqual(counter(cgroup, "oom_kill"), 0)


class MemoryPolicy(Limits):
    def test_the_machines_memory_comes_from_the_nodes(self):
        def change(config):
            config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
        container, bundle = self.container(), self.bundle("sleep", "1000", change=change)
        subprocess.run([NACRE, "run", "-d", "--bundle", bundle.path, container], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE)
        (vmm,) = children(state(container)["pid"])
        guest = max((line for line in read(f"/proc/{vmm}/numa_maps").splitlines() if "anon=" in line),
                    key=lambda line: int(line.split("anon=")[1].split()[0]))
        self.assertIn(" bind=static:0 ", guest)
        bundle.config["linux"]["memoryPolicy"]["nodes"] = "63"
        bundle.write()
        self.assert_one_line_error(nacre("run", "--bundle", bundle.path, self.container()), "set memory policy")


class Growth(Limits):
    USE = "dd if=/dev/zero of=/dev/shm/x bs=1M count=%d 2>/dev/null; stat -c %%s /dev/shm/x; rm /dev/shm/x"

    def figures(self, container):
        """Returns the CPUs and MiB that a program in the container sees."""
        script = "nproc; grep -c ^processor /proc/cpuinfo; free -m | awk '/^Mem/ { print $2 }'"
        cpus, listed, memory = map(int, self.ok("exec", container, "sh", "-c", script).split())
        self.assertEqual(cpus, listed)
        return cpus, memory

    def resident(self, container):
        """Returns the MiB of the host's memory that the VM uses."""
        (vmm,) = children(state(container)["pid"])
        return int(read(f"/proc/{vmm}/statm").split()[1]) >> 8

    def uses(self, container, mib):
        self.assertEqual(self.ok("exec", container, "sh", "-c", self.USE % mib).strip(), str(mib * MIB))

    def test_the_machine_follows_the_limits(self):
        # The lab has one CPU. The annotation allows the VM more.
        watch = "while :; do nproc >/dev/shm/new; mv /dev/shm/new /dev/shm/cpus; sleep 1; done"
        container = self.started("sh", "-c", watch, path="/nt/grow", annotations={"nacre.vm.max-cpus": "3"}, resources={
            "memory": {"limit": 64 * MIB}, "cpu": {"quota": 100000, "period": 100000}})
        host, guest = self.in_host("/nt/grow"), self.in_guest(container)
        small, cheap, backstop = self.figures(container), self.resident(container), int(host("memory.max"))
        self.assertEqual(small[0], 1)
        self.assertLess(small[1], 128)

        grown = nacre("update", "--memory", "512m", "--cpu-quota", "200000", container)
        self.assertEqual((grown.returncode, grown.stderr), (0, b""))
        cpus, memory = self.figures(container)
        self.assertEqual(cpus, 2)
        self.assertGreater(memory, 512)
        self.assert_files(guest, memory_max=512 * MIB, cpu_max="200000 100000")
        self.assertGreater(int(host("memory.max")), 512 * MIB)
        self.uses(container, 400)
        self.assertGreater(self.resident(container), 400)

        self.ok("update", "--memory", "64m", "--cpu-quota", "100000", container)
        cpus, memory = self.figures(container)
        self.assertEqual(cpus, 1)
        self.assertLess(memory, small[1] + 64)
        self.assert_files(guest, memory_max=64 * MIB, cpu_max="100000 100000")
        self.assertLess(self.resident(container), cheap + 128)
        self.assertLess(int(host("memory.max")), backstop + 128 * MIB)

        # Raise the limits again, this time with `unified`. A program that has run all the time sees the change.
        self.ok("update", "--resources", "-", container, input=json.dumps(
            {"unified": {"memory.max": "256M", "cpu.max": "300000 100000"}}).encode())
        self.assertEqual(self.figures(container)[0], 3)
        wait_until(lambda: self.ok("exec", container, "cat", "/dev/shm/cpus") == "3\n", "a running program sees 3 CPUs")
        self.uses(container, 200)
        self.assertEqual(counter("/nt/grow", "oom_kill"), 0)

    def test_what_cannot_be_changes_nothing(self):
        container = self.started("sleep", "1000", path="/nt/stay", annotations={"nacre.vm.max-memory": "256M"}, resources={
            "memory": {"limit": 64 * MIB}})
        before = self.figures(container)
        beyond = nacre("update", "--memory", "1g", container)
        self.assertEqual(beyond.returncode, 0)
        self.assertIn(b"cannot have more than 256 MiB", beyond.stderr)
        self.uses(container, 150)
        # If the guest refuses a limit, the VM goes back to its former size.
        self.ok("update", "--memory", "64m", container)
        backstop = int(self.in_host("/nt/stay")("memory.max"))
        done = nacre("update", "--resources", "-", container,
                     input=json.dumps({"memory": {"limit": 200 * MIB}, "unified": {"pids.max": "x"}}).encode())
        self.assert_one_line_error(done, "pids.max", "x")
        self.assert_files(self.in_guest(container), memory_max=64 * MIB)
        self.assertLess(int(self.in_host("/nt/stay")("memory.max")), backstop + 64 * MIB)
        wait_until(lambda: self.figures(container)[1] < before[1] + 64, "the machine is small again")


class OutOfMemory(Limits):
    def test_a_kill_in_the_guest_is_counted_on_the_host(self):
        container = self.started("sleep", "1000", path="/nt/oom", resources={"memory": {"limit": 32 * MIB}})
        pid = state(container)["pid"]
        for kills in (1, 2):
            greedy = nacre("exec", container, *EAT)
            self.assertEqual(greedy.returncode, 137, greedy.stderr)
            wait_until(lambda kills=kills: counter("/nt/oom", "oom_kill") >= kills, "the kill is counted")
            time.sleep(0.2)
        self.assertEqual(counter("/nt/oom", "oom_kill"), 2)
        self.assertEqual(state(container), {**state(container), "pid": pid, "status": "running"})
        self.assertFalse([name for name in os.listdir(f"{ROOT}/nt") if name.startswith("nacre-oom")])


if __name__ == "__main__":
    main()
