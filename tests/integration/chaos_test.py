# SPDX-License-Identifier: Apache-2.0
"""Faults on real machines: parts that are killed, guests that end, a host on which something is used
up. docs/faults.md lists all faults that are tried, and where."""

import os
import signal
import subprocess
import tempfile

import endurance
from hanging_volume import HangingVolume
from kvm_test import ACPI_RESET, POWER_OFF, SPIN, UNDEFINED, elf
from support import (NACRE, PATIENCE, REPO, ContainerTest, alive, detach, machines, main, nacre, node_makers, processes,
                     read, run, state, wait_until, write)

CGROUPS = "/sys/fs/cgroup"
FAKE_VMM = f"{REPO}/tests/support/fake_vmm.py"


class Chaos(ContainerTest):
    def start(self, *args, **options):
        """Starts a container in the background, and returns its id."""
        container, bundle = self.container(), self.bundle(*args, **options)
        detach("run", "--detach", "--bundle", bundle.path, container)
        return container

    def ends_clean(self, container):
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")
        self.assertEqual(nacre("delete", container).returncode, 0)


class Parts(Chaos):
    def test_what_came_before_vmm_was_killed_is_whole(self):
        bundle, container = self.bundle("sh", "-c", "i=0; while :; do echo $i; i=$((i + 1)); done"), self.container()
        with tempfile.TemporaryFile() as errors:
            with subprocess.Popen([NACRE, "run", "--bundle", bundle.path, container], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=errors) as process:
                lines = [process.stdout.readline() for _ in range(2000)]
                os.kill(machines()[0], signal.SIGKILL)
                lines += process.stdout.readlines()
            errors.seek(0)
            self.assertIn(b"vmm was killed by signal 9", errors.read())
        self.assertEqual(process.returncode, 128 + signal.SIGKILL)
        whole = b"".join(b"%d\n" % number for number in range(len(lines)))
        self.assertTrue(whole.startswith(b"".join(lines)), lines[-3:])

    def test_no_helper_outlives_the_stand_in(self):
        container = self.start("sleep", "1000", change=endurance.allow_nodes)
        self.assertEqual(len(node_makers()), 1)
        os.kill(state(container)["pid"], signal.SIGKILL)
        wait_until(lambda: not processes("vmm"), "vmm and its helper are gone")
        self.ends_clean(container)

    def test_a_guest_that_ends_while_its_container_is_made(self):
        bundle = self.bundle("true")
        for name, code, words in (("power-off", POWER_OFF, "the guest powered itself off"),
                                  ("reset", ACPI_RESET, "the guest reset itself"),
                                  ("triple-fault", UNDEFINED, "the guest ended in a triple fault")):
            kernel = f"{bundle.path}/{name}"
            with open(kernel, "wb") as file:
                file.write(elf(code + SPIN))
            done = nacre("create", "--bundle", bundle.path, self.container(), env={**os.environ, "NACRE_KERNEL": kernel})
            self.assert_one_line_error(done, words)
            self.assertEqual(processes("vmm"), [])


class Pod(Chaos):
    FLOOD = "while :; do find / -xdev > /dev/null; done"

    def test_members_come_and_go_while_one_floods_the_file_server(self):
        first = self.start("sh", "-c", f"({self.FLOOD}) & " * 4 + "wait")
        vmm = machines()[0]

        def join(config):
            for entry in config["linux"]["namespaces"]:
                if entry["type"] == "ipc":
                    entry["path"] = f"/proc/{state(first)['pid']}/ns/ipc"
        for _ in range(2):
            done = self.run_container("cat", "/etc/passwd", change=join)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
        members = [first] + [self.start("sh", "-c", self.FLOOD, change=join) for _ in range(2)]
        self.assertEqual(machines(), [vmm])
        ends = [subprocess.Popen([NACRE, "delete", "--force", member]) for member in members]
        for end in ends:
            self.assertEqual(end.wait(PATIENCE), 0)
        self.assertFalse(alive(vmm))

    def test_updates_that_race_with_each_other_and_with_the_end(self):
        container = self.start("sleep", "1000", change=lambda config: config["linux"]["resources"].update(
            {"memory": {"limit": 64 << 20}, "cpu": {"quota": 100000, "period": 100000}}))

        def update(megabytes, cpus=1):
            return subprocess.Popen([NACRE, "update", "--memory", f"{megabytes}m", "--cpu-quota", str(cpus * 100000),
                                     container], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        updates = [update(64 + number % 4 * 64, 1 + number % 2) for number in range(8)]
        for process in updates:
            _, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 0, errors)
        with update(320) as process:
            self.assertEqual(process.wait(PATIENCE), 0, process.stderr.read())
        limit = nacre("exec", container, "cat", f"{CGROUPS}/memory.max").stdout
        self.assertEqual(limit, b"%d\n" % (320 << 20))
        total = int(nacre("exec", container, "sed", "-n", "s/MemTotal: *\\([0-9]*\\).*/\\1/p", "/proc/meminfo").stdout)
        self.assertGreater(total, 320 << 10)
        updates = [update(64 + number * 64) for number in range(3)]
        self.assertEqual(nacre("delete", "--force", container).returncode, 0)
        for process in updates:
            _, errors = process.communicate(timeout=PATIENCE)
            self.assertIn(process.returncode, (0, 1), errors)
            self.assertLessEqual(len(errors.splitlines()), 1, errors)
        self.assertEqual(processes("vmm"), [])


class Files(Chaos):
    def mount(self, path, *options):
        os.makedirs(path, exist_ok=True)
        self.assertEqual(run("mount", "-n", *options, path).returncode, 0)
        self.addCleanup(run, "umount", "-n", path)
        return path

    def bind(self, source):
        return lambda config: config["mounts"].append(
            {"destination": "/volume", "type": "bind", "source": source, "options": ["bind"]})

    def test_a_full_volume_is_full_in_the_container_alone(self):
        volume = self.mount("/mnt/volume", "-t", "tmpfs", "-o", "size=1m", "volume")
        script = "dd if=/dev/zero of=/volume/file bs=64k; rm /volume/file; echo new > /volume/file; sync; cat /volume/file"
        done = self.run_container("sh", "-c", script, change=self.bind(volume))
        self.assertIn(b"No space left on device", done.stderr)
        self.assertEqual((done.returncode, done.stdout), (0, b"new\n"))

    def test_a_volume_that_hangs(self):
        volume = HangingVolume("/mnt/hanging")
        self.addCleanup(volume.end)
        container = self.start("sh", "-c", "sleep 1000 & cat /volume/name", change=self.bind(volume.path))
        self.assertTrue(volume.asked.wait(PATIENCE))
        self.assertEqual(state(container)["status"], "running")
        (vmm,) = machines()
        self.assertEqual(nacre("kill", container, "KILL").returncode, 0)
        self.assertEqual(state(container)["status"], "stopped")
        # A thread of vmm waits for the volume, as a process of a plain container would.
        self.assert_one_line_error(nacre("delete", "--force", container), "the container's VM: process "
                                   f"{vmm} does not end: it waits for a device or a file system of the host")
        volume.end()
        self.assertEqual(nacre("delete", "--force", container).returncode, 0)

    def test_a_fifo_that_nobody_writes_to_as_stdin(self):
        path = tempfile.mktemp(dir="/tmp")
        os.mkfifo(path)
        self.addCleanup(os.unlink, path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        done = self.run_container("echo", "runs", stdin=reader)
        self.assertEqual((done.returncode, done.stdout), (0, b"runs\n"), done.stderr)


class Host(Chaos):
    """A host on which something is used up, with real cgroups and a real vmm."""
    WITHOUT_RESOURCE = ["setpriv", "--bounding-set", "-sys_resource"]  # with it, vmm would raise the limit

    def limited(self, prefix, cgroup):
        """Runs a container. Checks that it has run, or that one line says why not, and that nothing is left."""
        bundle = self.bundle("echo", "runs", change=lambda config: config["linux"].update({"cgroupsPath": cgroup}))
        container = self.container()
        done = run(*prefix, NACRE, "run", "--bundle", bundle.path, container)
        if done.returncode == -signal.SIGKILL:  # by the host, for want of memory
            self.assertEqual(nacre("delete", "--force", container).returncode, 0)
        elif done.returncode:
            self.assert_one_line_error(done)
        else:
            self.assertEqual((done.stdout, done.stderr), (b"runs\n", b""))
        self.assertIsNone(state(container))
        wait_until(lambda: not processes("vmm"), "no vmm is left")
        self.assertFalse(os.path.exists(CGROUPS + cgroup))
        return done

    def limited_by_cgroup(self, name, value):
        """The same, with a limit on the cgroup of the caller, in which the container's is."""
        path = f"{CGROUPS}/chaos"
        write(f"{CGROUPS}/cgroup.subtree_control", "+pids +memory")
        os.mkdir(path)
        try:
            write(f"{path}/{name}", value)
            return self.limited(["sh", "-c", f'echo $$ > {path}/cgroup.procs && exec "$@"', "sh"], "/chaos/below")
        finally:
            os.rmdir(path)

    def test_few_descriptors(self):
        done = self.limited(["prlimit", "--nofile=64:64"], "/chaos-files")
        self.assertEqual(done.returncode, 0, done.stderr)
        for number in (22, 26, 30):
            self.limited([*self.WITHOUT_RESOURCE, "prlimit", f"--nofile={number}:{number}"], "/chaos-files")

    def test_few_processes(self):
        for most in (1, 2, 4):
            done = self.limited_by_cgroup("pids.max", str(most))
            self.assertIn("resource temporarily unavailable", done.stderr.decode().lower(), most)

    def test_little_memory(self):
        for size in ("1M", "8M", "24M"):
            self.assertNotEqual(self.limited_by_cgroup("memory.max", size).returncode, 0, size)


class Killed(Chaos):
    """nacre is killed at some of its system calls, with real cgroups. kills_test.py tries more, without them."""
    FIRST, SAMPLES = 80, 4  # the first calls belong to the dynamic loader

    def traced(self, command, *options):
        return subprocess.run(["strace", "-qq", "-o", self.trace, *options, NACRE, *command], check=False, env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def test_nacre_is_killed_with_cgroups(self):
        bundle = self.bundle("true", change=lambda config: config["linux"].update({"cgroupsPath": "/chaos-killed"}))
        container = self.container()
        self.trace = f"{bundle.path}/trace"
        write(self.trace, "")
        before = endurance.Surroundings()
        self.environment = {**os.environ, "NACRE_VMM": FAKE_VMM}
        commands = (("create", "--bundle", bundle.path, container), ("delete", container))
        calls = {}
        for command in commands:
            self.assertEqual(self.traced(command), 0)
            names = [line.split("(")[0] for line in read(self.trace).splitlines() if "(" in line]
            steps = [(name, names[:number].count(name)) for number, name in enumerate(names, 1)][self.FIRST:]
            calls[command] = steps[::len(steps) // self.SAMPLES]
        for command, steps in calls.items():
            for name, count in steps:
                if command == commands[1]:
                    detach(*commands[0], env=self.environment)
                self.traced(command, f"--inject={name}:signal=KILL:when={count}")
                self.assertEqual(nacre("delete", "--force", container).returncode, 0)
                before.assert_clean()
                self.assertFalse(os.path.exists(f"{CGROUPS}/chaos-killed"))


class Endurance(ContainerTest):
    def test_a_few_containers_leave_nothing_and_let_nothing_grow(self):
        endurance.endure(containers=3, at_once=3, samples=1)


if __name__ == "__main__":
    main()
