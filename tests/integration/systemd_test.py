# SPDX-License-Identifier: Apache-2.0
"""Tests --systemd-cgroup: a container is a transient unit of systemd. The units are compared with those of runc.

systemd runs in the lab as PID 1 of a pid namespace, and in its own cgroup namespace. This script runs itself again in
these namespaces.
"""

import json
import os
import shutil
import subprocess
import sys
import unittest
from unittest import mock

from support import (BUSYBOX, NACRE, PATIENCE, Client, ContainerTest, Surroundings, User, alive, children, install,
                     machines, main, nacre, read, run, state, wait_until)

ROOT = "/sys/fs/cgroup"
MIB = 1 << 20
INSIDE = "NACRE_TEST_UNDER_SYSTEMD"
INIT = """set -e
mount -t proc proc /proc
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
: >/run/console
mount --bind /run/console /dev/console
exec /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
"""
# Properties that differ because of the VM, or between any two containers.
OURS_ALONE = {"MemoryMax", "MemoryCurrent", "MemoryAvailable", "TasksCurrent", "TasksMax", "CPUUsageNSec", "CPUWeight",
              "Id", "Names", "Description", "ControlGroup", "ControlGroupId", "InvocationID", "IOReadBytes",
              "DropInPaths", "FragmentPath", "IOReadOperations", "IOWriteBytes", "IOWriteOperations",
              "EffectiveMemoryMax"}


def show(unit):
    """Returns the properties of a unit as systemctl prints them."""
    lines = run("systemctl", "show", "--no-pager", unit).stdout.decode().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def comparable(unit):
    return {name: value for name, value in show(unit).items()
            if name not in OURS_ALONE and "Timestamp" not in name and not name.startswith(("Device", "BPF"))}


class Units(ContainerTest):
    RESOURCES = {"memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
                 "cpu": {"shares": 1024, "quota": 60000, "period": 100000, "cpus": "0", "mems": "0"},
                 "pids": {"limit": 33}}

    def setUp(self):
        # systemd creates and removes files and slices of its own, which do not count as left behind.
        watched = "/run/nacre", "/run/runc", "/tmp", "/dev/shm"
        self.enterContext(mock.patch.object(Surroundings, "WATCHED", watched))
        super().setUp()
        look = self.surroundings.look

        def scopes():
            found = look()
            return {**found, "cgroups": {path for path in found["cgroups"] if path.endswith(".scope")}}
        self.surroundings.look = scopes

    def start(self, runtime, container, *args, path="nt-a.slice:pre:name", resources=None, annotations=None, mounts=(),
              namespaces=None):
        def change(config):
            config["annotations"] = annotations or {}
            config["mounts"].extend(mounts)
            config["linux"].update(resources=resources or {}, cgroupsPath=path)
            for namespace in config["linux"]["namespaces"]:
                if namespace["type"] in (namespaces or {}):
                    namespace["path"] = namespaces[namespace["type"]]
        bundle = self.bundle(*(args or ("sleep", "1000")), change=change)
        with open("/dev/null", "r+b") as null, open(f"{bundle.path}/log", "w+b") as log:
            done = subprocess.run([runtime, "--systemd-cgroup", "run", "-d", "--bundle", bundle.path, container],
                                  stdin=null, stdout=null, stderr=log, timeout=PATIENCE, check=False)
            log.seek(0)
            self.log = log.read().decode()
        return done.returncode

    def started(self, *args, **options):
        container = self.container()
        self.assertEqual(self.start(NACRE, container, *args, **options), 0, self.log)
        return container

    def started_by_runc(self, **options):
        self.addCleanup(run, "runc", "--systemd-cgroup", "delete", "--force", "reference")
        self.assertEqual(self.start("runc", "reference", **options), 0, self.log)
        return json.loads(run("runc", "state", "reference").stdout)["pid"]

    def gone(self, unit):
        return show(unit)["LoadState"] == "not-found"

    def test_the_unit_is_runcs(self):
        annotations = {"org.systemd.property.TimeoutStopUSec": "uint64 7000000",
                       "org.systemd.property.CollectMode": "'inactive-or-failed'"}
        container = self.started(path="nt-a.slice:pre:ours", resources=self.RESOURCES, annotations=annotations)
        self.started_by_runc(path="nt-a.slice:pre:theirs", resources=self.RESOURCES, annotations=annotations)
        self.assertEqual(comparable("pre-ours.scope"), comparable("pre-theirs.scope"))
        ours = show("pre-ours.scope")
        expected = {"Slice": "nt-a.slice", "ControlGroup": "/nt.slice/nt-a.slice/pre-ours.scope", "Delegate": "yes",
                    "MemoryLow": str(32 * MIB), "CPUQuotaPerSecUSec": "600ms", "AllowedCPUs": "0", "TasksMax": "33",
                    "TimeoutStopUSec": "7s", "ActiveState": "active"}
        self.assertEqual({name: ours[name] for name in expected}, expected)
        pid = state(container)["pid"]
        self.assertEqual(read(f"/proc/{pid}/cgroup").strip(), f"0::{ours['ControlGroup']}")
        # systemd's properties agree with the files. A reload, in which systemd writes the files again, changes nothing.
        directory = ROOT + ours["ControlGroup"]
        before = {name: read(f"{directory}/{name}") for name in ("memory.max", "cpu.max", "pids.max", "cpu.weight")}
        self.assertEqual(before["memory.max"].strip(), ours["MemoryMax"])
        run("systemctl", "daemon-reload")
        self.assertEqual({name: read(f"{directory}/{name}") for name in before}, before)
        self.updates(container, directory)
        done = nacre("--systemd-cgroup", "delete", "--force", container)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(self.gone("pre-ours.scope"))
        self.assertFalse(os.path.exists(directory))

    def updates(self, container, directory):
        changes = ["--cpu-quota", "70000", "--memory-reservation", "16m", "--pids-limit", "40"]
        self.assertEqual(nacre("update", *changes, container).returncode, 0)
        self.assertEqual(run("runc", "--systemd-cgroup", "update", *changes, "reference").returncode, 0)
        self.assertEqual(comparable("pre-ours.scope"), comparable("pre-theirs.scope"))
        self.assertEqual(show("pre-ours.scope")["TasksMax"], "40")
        self.assertEqual(read(f"{directory}/pids.max"), "40\n")

    def test_a_limit_is_what_the_file_says(self):
        container = self.started(path=":pre:exact", resources={
            "memory": {"limit": 64 * MIB}, "cpu": {"quota": 66666, "period": 100000},
            "unified": {"cpu.idle": "1", "memory.min": "8M"}})
        directory = ROOT + show("pre-exact.scope")["ControlGroup"]

        def files():
            return {name: read(f"{directory}/{name}").strip() for name in (
                "cpu.max", "cpu.idle", "memory.min", "memory.max", "pids.max")}
        before = files()
        self.assertEqual(show("pre-exact.scope")["CPUQuotaPerSecUSec"], "670ms")
        self.assertEqual({**before, "cpu.max": "67000 100000", "cpu.idle": "1", "memory.min": str(8 * MIB)}, before)
        # A refused update changes nothing, not even systemd's properties.
        refused = nacre("update", "--resources", "-", container, input=json.dumps(
            {"cpu": {"quota": 80000, "period": 100000}, "pids": {"limit": 50}, "unified": {"x.y": "1"}}).encode())
        self.assert_one_line_error(refused, "x.y")
        self.assertEqual(files(), before)
        self.assertEqual(show("pre-exact.scope")["CPUQuotaPerSecUSec"], "670ms")
        self.assertEqual(nacre("update", "--pids-limit", "41", container).returncode, 0)
        self.assertEqual(files(), {**before, "pids.max": "41"})

    def test_a_unit_that_is_anothers_by_now_stays(self):
        first = self.started(path=":pre:again")
        nacre("kill", first, "KILL")
        wait_until(lambda: self.gone("pre-again.scope"), "the unit is gone")
        second = self.started(path=":pre:again")
        self.assertEqual(nacre("delete", first).stderr, b"")
        self.assertEqual(state(second)["status"], "running")
        self.assertEqual(show("pre-again.scope")["ActiveState"], "active")

    def test_the_cgroup_is_where_systemd_has_put_it(self):
        container = self.started(path=":_pre:escaped")
        pid = state(container)["pid"]
        self.assertEqual(read(f"/proc/{pid}/cgroup"), "0::/system.slice/__pre-escaped.scope\n")
        self.assertFalse(os.path.exists(f"{ROOT}/system.slice/_pre-escaped.scope"))
        self.assertEqual(nacre("delete", "--force", container).stderr, b"")
        self.assertTrue(self.gone("_pre-escaped.scope"))

    def test_without_a_bus(self):
        socket = "/run/dbus/system_bus_socket"
        os.rename(socket, socket + ".away")
        self.addCleanup(os.rename, socket + ".away", socket)
        container = self.started(path=":pre:direct")
        self.assertEqual(show("pre-direct.scope")["ActiveState"], "active")
        self.assertEqual(nacre("delete", "--force", container).stderr, b"")
        self.assertTrue(self.gone("pre-direct.scope"))

    def test_containers_of_one_vm(self):
        first = self.started(path="nt-pod.slice:pre:first")
        pid = state(first)["pid"]
        (vmm,) = children(pid)
        second = self.started(path="nt-pod.slice:pre:second", namespaces={"pid": f"/proc/{pid}/ns/pid"})
        self.assertEqual(read(f"/proc/{vmm}/cgroup"), "0::/nt.slice/nt-pod.slice/pre-first.vm.scope\n")
        self.assertEqual(show("pre-first.vm.scope")["ActiveState"], "active")
        for container in (second, first):
            self.assertEqual(nacre("delete", "--force", container).stderr, b"")
        for unit in ("pre-first.scope", "pre-second.scope", "pre-first.vm.scope"):
            wait_until(lambda unit=unit: self.gone(unit), f"{unit} is gone")

    def test_a_stopped_unit_gives_the_container_its_time(self):
        container = self.started("sh", "-c", "trap 'sleep 1; echo bye >/tmp/word; exit' TERM; while :; do sleep 0.1; done",
                                 path=":pre:term", mounts=[{"destination": "/tmp", "type": "bind", "source": "/tmp",
                                                            "options": ["bind"]}])
        self.addCleanup(os.unlink, "/tmp/word")
        done = run("systemctl", "stop", "pre-term.scope")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(read("/tmp/word"), "bye\n")
        self.assertEqual(state(container)["status"], "stopped")
        self.assertTrue(self.gone("pre-term.scope"))

    def test_systemctl_stop_ends_the_container(self):
        # sleep ignores SIGTERM if it is a container's first process.
        container = self.started(path=":pre:stop", annotations={"org.systemd.property.TimeoutStopSec": "uint64 2"})
        self.assertEqual(show("pre-stop.scope")["Slice"], "system.slice")
        pid = state(container)["pid"]
        vmm = children(pid)
        done = run("systemctl", "stop", "pre-stop.scope")
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_until(lambda: not alive(pid) and not any(map(alive, vmm)), "all have ended")
        self.assertEqual(state(container)["status"], "stopped")
        self.assertEqual(show("pre-stop.scope")["Result"], "timeout")
        self.assertEqual(nacre("delete", container).stderr, b"")
        self.assertTrue(self.gone("pre-stop.scope"))

    def test_a_container_that_ends_leaves_no_unit(self):
        container = self.started(path="")
        unit = f"nacre-{container}.scope"
        self.assertEqual(show(unit)["ActiveState"], "active")
        nacre("kill", container, "KILL")
        wait_until(lambda: state(container)["status"] == "stopped", "it has ended")
        wait_until(lambda: self.gone(unit), "the unit is gone")
        self.assertEqual(nacre("delete", container).stderr, b"")

    def test_what_cannot_be(self):
        for options, words in (({"annotations": {"org.systemd.property.Abc": "nonsense"}}, "value parse error"),
                               ({"annotations": {"org.systemd.property.NoSuch": "true"}}, "unable to start unit"),
                               ({"annotations": {"org.systemd.property.SuccessAction": "'reboot'"}}, "not the container's"),
                               ({"resources": {"unified": {"x.y": "1"}}}, "x.y"),
                               ({"path": "/a/b"}, "slice:prefix:name"), ({"path": "::nt-a.slice"}, "a slice cannot be")):
            self.assertEqual(self.start(NACRE, self.container(), **options), 1)
            self.assertIn(words, self.log)
        self.assertFalse(os.path.exists(f"{ROOT}/nt.slice/nt-a.slice/pre-name.scope"))
        self.assertTrue(self.gone("pre-name.scope"))


class Podman(unittest.TestCase):
    """Tests podman with the cgroup manager that is its default on a host with systemd."""

    @classmethod
    def setUpClass(cls):
        cls.podman = Client("podman", "--cgroup-manager", "systemd", "--runtime", install())
        subprocess.run(f"tar -C {BUSYBOX} -c . | podman import - busybox", shell=True, check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        left = cls.podman.text("ps --all --quiet").split()
        cls.podman("system reset --force")
        units = run("systemctl", "list-units", "--all", "--plain", "--no-legend", "libpod*", "*.vm.scope").stdout
        if left or units:
            raise AssertionError(f"left: {left} {units}")

    def test_a_container_is_a_unit(self):
        podman = self.podman
        podman("run --detach --name one --network none --memory 64m --pids-limit 30 busybox sleep 1000")
        container = json.loads(podman.text("inspect one"))[0]
        unit = show(f"libpod-{container['Id']}.scope")
        self.assertEqual((unit["Slice"], unit["TasksMax"], unit["ActiveState"]), ("machine.slice", "30", "active"))
        self.assertEqual(unit["ControlGroup"], container["State"]["CgroupPath"])
        self.assertEqual(podman.text("exec one echo hello"), "hello\n")
        self.assertGreater(int(json.loads(podman.text("stats --no-stream --format json one"))[0]["pids"]), 0)
        podman("rm --force --time 0 one")
        self.assertEqual(show(f"libpod-{container['Id']}.scope")["LoadState"], "not-found")

    def test_a_pod_is_one_vm(self):
        podman = self.podman
        podman("pod create --name pod --share-parent=false --network none --infra-image busybox --infra-command",
               "sleep 1000")
        self.addCleanup(podman, "pod", "rm", "--force", "--time", "0", "pod")
        podman("run --detach --pod pod --name two busybox sleep 1000")
        self.assertEqual(len(machines()), 1)
        (vm,) = run("systemctl", "list-units", "--plain", "--no-legend", "*.vm.scope").stdout.decode().splitlines()
        self.assertIn("active running nacre VM of libpod-", vm)
        self.assertEqual(podman.text("exec two hostname"), "pod\n")


class UsersOwn(unittest.TestCase):
    """Tests nacre and podman under the systemd of an unprivileged user."""

    @classmethod
    def setUpClass(cls):
        cls.program = install()
        cls.user = User()
        run("systemd-run", f"--uid={User.UID}", "--property=Delegate=yes", f"--slice=user-{User.UID}.slice",
            "--unit=users-own", "--setenv", f"XDG_RUNTIME_DIR={cls.user.runtime_dir}", "/lib/systemd/systemd", "--user")
        wait_until(lambda: cls.user.run("systemctl", "--user", "is-active", "default.target").stdout == b"active\n",
                   "the user's systemd is up")

    @classmethod
    def tearDownClass(cls):
        run("systemctl", "stop", "users-own.service")

    def nacre(self, *argv):
        done = self.user.run(self.program, "--systemd-cgroup", *argv)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def show(self, unit):
        lines = self.user.run("systemctl", "--user", "show", "--no-pager", unit).stdout.decode().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def test_a_container_is_a_unit(self):
        bundle, config = self.user.bundle(self.program)
        self.addCleanup(shutil.rmtree, bundle)
        config["process"]["args"] = ["sleep", "1000"]
        config["linux"]["resources"] = {"pids": {"limit": 30}}
        with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        self.user.detach(self.program, "--systemd-cgroup", "run", "--detach", "--bundle", bundle, "x")
        unit = self.show("nacre-x.scope")
        self.assertEqual((unit["Slice"], unit["ActiveState"], unit["TasksMax"]), ("user.slice", "active", "30"))
        self.assertEqual(read(f"/proc/{json.loads(self.nacre('state', 'x'))['pid']}/cgroup"), f"0::{unit['ControlGroup']}\n")
        self.nacre("update", "--pids-limit", "40", "x")
        self.assertEqual(self.show("nacre-x.scope")["TasksMax"], "40")
        self.nacre("delete", "--force", "x")
        self.assertEqual(self.show("nacre-x.scope")["LoadState"], "not-found")

    def test_podman(self):
        image = f"{self.user.home}/image.tar"
        subprocess.run(["tar", "-C", BUSYBOX, "-cf", image, "."], check=True)

        def podman(*argv):
            done = self.user.run("podman", "--cgroup-manager", "systemd", "--runtime", self.program, *argv)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.decode()
        podman("import", image, "busybox")
        self.addCleanup(podman, "system", "reset", "--force")
        podman("run", "--detach", "--name", "one", "--network", "none", "busybox", "sleep", "1000")
        container = json.loads(podman("inspect", "one"))[0]
        unit = self.show(f"libpod-{container['Id']}.scope")
        self.assertEqual((unit["Slice"], unit["ActiveState"]), ("user.slice", "active"))
        self.assertEqual(podman("exec", "one", "echo", "hello"), "hello\n")
        podman("rm", "--force", "--time", "0", "one")


def run_under_systemd():
    """Starts systemd, runs this script in its namespaces, and exits with the status of that run."""
    os.makedirs(f"{ROOT}/systemd")
    with open("/tmp/init.sh", "w", encoding="ascii") as file:
        file.write(INIT)

    def enter():
        with open(f"{ROOT}/systemd/cgroup.procs", "w", encoding="ascii") as procs:
            procs.write("0")
    outer = subprocess.Popen(["unshare", "--pid", "--fork", "--mount", "--cgroup", "--kill-child", "sh", "/tmp/init.sh"],
                             stdin=subprocess.DEVNULL, preexec_fn=enter)
    wait_until(lambda: children(outer.pid), "there is a PID 1")
    (pid,) = children(outer.pid)
    # Move unshare out of the root of systemd's cgroups: a root with processes cannot pass controllers on.
    with open(f"{ROOT}/cgroup.procs", "w", encoding="ascii") as procs:
        procs.write(str(outer.pid))
    within = ["nsenter", "-t", str(pid), "--pid", "--mount", "--cgroup", "--"]
    wait_until(lambda: run(*within, "systemctl", "is-active", "dbus.socket").stdout == b"active\n", "systemd is up")
    # Enter a cgroup below systemd's root, as a login session would.
    os.makedirs(f"{ROOT}/systemd/test")
    with open(f"{ROOT}/systemd/test/cgroup.procs", "w", encoding="ascii") as procs:
        procs.write(str(os.getpid()))
    done = subprocess.run([*within, sys.executable, os.path.realpath(__file__), *sys.argv[1:]],
                          env={**os.environ, INSIDE: "1"}, check=False)
    outer.kill()
    sys.exit(done.returncode)


if __name__ == "__main__":
    if INSIDE not in os.environ:
        run_under_systemd()
    main()
