# SPDX-License-Identifier: Apache-2.0
"""pause, resume, ps, events and update of real containers."""

import fcntl
import json
import os
import subprocess
import tempfile
import threading
import time

from support import DEBIAN, NACRE, PATIENCE, ContainerTest, main, nacre, state, wait_until

COUNT = "while :; do echo >> /count; sleep 0.05; done"
FLOCK = "73"  # its number, as /proc/PID/syscall tells what a process waits in
# Holds memory until it gets no more: the shell's variable doubles.
EAT = "x=0123456789abcdef; while :; do x=$x$x; done"


class Control(ContainerTest):
    def started(self, *args, **options):
        container, bundle = self.container(), self.bundle(*args, **options)
        with open("/dev/null", "r+b") as null:
            for command in (("create", "--bundle", bundle.path, container), ("start", container)):
                self.assertEqual(subprocess.run([NACRE, *command], stdin=null, stdout=null, timeout=PATIENCE,
                                                check=False).returncode, 0)
        return container, bundle

    def ok(self, *args, **options):
        done = nacre(*args, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def wait_for_processes(self, container, count):
        wait_until(lambda: len(self.ok("ps", container).splitlines()) == count + 1, f"{count} processes")

    def read(self, container, path):
        return self.ok("exec", container, "cat", path)


class Pause(Control):
    def test_a_paused_container_stands_still(self):
        container, bundle = self.started("sh", "-c", COUNT, copy=True)
        count = f"{bundle.path}/rootfs/count"

        def size():
            return os.path.getsize(count)

        wait_until(lambda: os.path.exists(count) and size() > 3, "the container counts")
        self.ok("pause", container)
        self.assertEqual(state(container)["status"], "paused")
        listed = json.loads(self.ok("list", "--format", "json"))
        self.assertEqual([entry["status"] for entry in listed if entry["id"] == container], ["paused"])
        before = size()
        time.sleep(3)
        self.assertEqual(size(), before)
        self.assert_one_line_error(nacre("pause", container), "container not running")
        self.assert_one_line_error(nacre("exec", container, "true"), "cannot exec in a paused container", status=255)
        self.assert_one_line_error(nacre("delete", container), "not stopped: paused")
        # Commands that do not need the processes work.
        self.assertIn(COUNT, self.ok("ps", container))
        self.assertEqual(json.loads(self.ok("events", "--stats", container))["type"], "stats")
        self.ok("update", "--pids-limit", "50", container)
        # With --ignore-paused the process runs later.
        patient = subprocess.Popen([NACRE, "exec", "--ignore-paused", container, "echo", "thawed"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        time.sleep(1)
        self.assertIsNone(patient.poll())
        self.ok("resume", container)
        self.assertEqual(patient.communicate(timeout=PATIENCE)[0], b"thawed\n")
        self.assertEqual(state(container)["status"], "running")
        self.assert_one_line_error(nacre("resume", container), "container not paused")
        wait_until(lambda: size() > before, "the container goes on")

    def test_signals_to_a_paused_container(self):
        container, bundle = self.started("sh", "-c", "trap 'echo > /told; exit 3' TERM; " + COUNT, copy=True)
        wait_until(lambda: os.path.exists(f"{bundle.path}/rootfs/count"), "the trap is set")
        self.ok("pause", container)
        self.ok("kill", container, "TERM")
        time.sleep(1)
        self.assertEqual(state(container)["status"], "paused")
        self.assertFalse(os.path.exists(f"{bundle.path}/rootfs/told"))
        self.ok("resume", container)
        wait_until(lambda: state(container)["status"] == "stopped", "the signal waits for the resume")
        self.assertTrue(os.path.exists(f"{bundle.path}/rootfs/told"))
        self.assert_one_line_error(nacre("pause", container), "container not running")

    def test_kill_and_delete_of_a_paused_container(self):
        container, _ = self.started("sh", "-c", "sleep 1000 & sleep 1000")
        self.ok("pause", container)
        self.ok("kill", container, "KILL")
        wait_until(lambda: state(container)["status"] == "stopped", "SIGKILL takes effect")
        container, _ = self.started("sleep", "1000")
        self.ok("pause", container)
        self.ok("delete", "--force", container)
        self.assertIsNone(state(container))


class Processes(Control):
    def test_ps(self):
        container, _ = self.started("sh", "-c", "sleep 1001 & sleep 1002; :")
        self.wait_for_processes(container, 3)
        header, *lines = [line.split() for line in self.ok("ps", container).splitlines()]
        self.assertEqual(header, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
        found = {" ".join(line[7:]): line for line in lines}
        self.assertEqual(sorted(found), ["sh -c sleep 1001 & sleep 1002; :", "sleep 1001", "sleep 1002"])
        first = found["sh -c sleep 1001 & sleep 1002; :"]
        self.assertEqual(first[0], "root")
        self.assertEqual([found["sleep 1001"][2], found["sleep 1002"][2]], [first[1]] * 2)
        self.assertGreater(int(first[1]), 1)  # a pid of the VM, not of the container's namespace
        self.assertIn("COMMAND", self.ok("ps", container, "aux"))
        rows = self.ok("ps", container, "-o", "pid,user,etime,rss,args").splitlines()
        self.assertEqual(len(rows), 4)
        self.assertEqual(json.loads(self.ok("ps", "--format", "json", container)), [state(container)["pid"]])
        self.assert_one_line_error(nacre("ps", container, "--forest"), "--forest")

    def test_names_that_would_move_the_cursor(self):
        container, _ = self.started("sh", "-c", "printf 'x\\033[2J' > /proc/$$/comm; sleep 1000; : \x1b]0;\u202ey\x07\n")
        self.wait_for_processes(container, 2)
        for args in ((), ("aux",), ("-o", "pid,comm")):
            text = self.ok("ps", container, *args)
            self.assertFalse([c for c in text if ord(c) < 32 and c != "\n"], text)

    def test_every_command_answers_while_a_process_hangs_on_the_host(self):
        # The lock is the host's, and in the guest's kernel the wait for it cannot be interrupted.
        with tempfile.TemporaryDirectory() as volume, open(f"{volume}/held", "w", encoding="ascii") as file:
            def change(config):
                config["mounts"].append({"type": "bind", "source": volume, "destination": "/tmp", "options": ["rbind"]})
            fcntl.flock(file, fcntl.LOCK_EX)
            container, _ = self.started("sh", "-c", "flock /tmp/held true; sleep 1000", rootfs=DEBIAN, change=change)
            self.answers(container)
            fcntl.flock(file, fcntl.LOCK_UN)
            self.ok("delete", "--force", container)

    def answers(self, container):
        def flock():
            rows = self.ok("ps", container, "-o", "pid,s,args").splitlines()
            return [row for row in rows if row.split()[2] == "flock"]

        in_call = "for process in /proc/[0-9]*; do read call rest < $process/syscall; echo $call; done 2>/dev/null"
        wait_until(lambda: FLOCK in self.ok("exec", container, "sh", "-c", in_call).split(), "the process hangs")
        self.assertEqual(json.loads(self.ok("events", "--stats", container))["id"], container)
        self.ok("update", "--pids-limit", "100", container)
        # A process that hangs in the kernel does not freeze.
        self.assert_one_line_error(nacre("pause", container), "waiting for the cgroup to freeze")
        self.assertEqual(flock()[0].split()[1], "D")
        self.assertEqual(state(container)["status"], "running")
        self.assert_one_line_error(nacre("resume", container), "container not paused")
        self.ok("exec", container, "true")


class Statistics(Control):
    def test_statistics(self):
        container, _ = self.started("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000; :")
        self.wait_for_processes(container, 2)
        data = json.loads(self.ok("events", "--stats", container))["data"]
        self.assertGreater(data["cpu"]["usage"]["total"], 1_000_000)
        self.assertGreater(data["memory"]["usage"]["usage"], 4096)
        self.assertGreater(data["memory"]["raw"]["anon"], 4096)
        self.assertEqual(data["memory"]["usage"]["limit"], 2**64 - 1)
        self.assertEqual(data["pids"], {"current": 2})
        self.ok("update", "--memory", "64m", "--pids-limit", "7", container)
        data = json.loads(self.ok("events", "--stats", container))["data"]
        self.assertEqual(data["memory"]["usage"]["limit"], 64 << 20)
        self.assertEqual(data["pids"]["limit"], 7)
        self.ok("kill", container, "KILL")
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")
        self.assert_one_line_error(nacre("events", container), "is not running")

    def test_events_until_the_end(self):
        container, _ = self.started("sleep", "1000")
        events = subprocess.Popen([NACRE, "events", "--interval", "1s", container], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE)
        seen, oom = [], threading.Event()

        def collect():
            for line in events.stdout:
                seen.append(json.loads(line))
                if seen[-1]["type"] == "oom":
                    oom.set()

        collector = threading.Thread(target=collect)
        collector.start()
        self.addCleanup(events.stdout.close)
        self.addCleanup(collector.join)
        self.addCleanup(events.kill)
        wait_until(lambda: len(seen) >= 2, "statistics come")
        self.ok("update", "--memory", "16m", container)
        # The kernel kills the greedy process, not the first one.
        greedy = nacre("exec", container, "sh", "-c", EAT)
        self.assertEqual(greedy.returncode, 137)
        self.assertTrue(oom.wait(PATIENCE), seen)
        self.assertEqual(state(container)["status"], "running")
        self.assertIn({"type": "oom", "id": container}, seen)
        self.ok("kill", container, "KILL")
        self.assertEqual(events.wait(PATIENCE), 0)

    def test_the_out_of_memory_that_ends_the_container_is_told(self):
        def change(config):
            config["linux"]["resources"] = {"memory": {"limit": 16 << 20}}
        container, bundle = self.started("sh", "-c", "until [ -e /go ]; do sleep 0.1; done; " + EAT, copy=True,
                                         change=change)
        events = subprocess.Popen([NACRE, "events", "--interval", "1s", container], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE)
        events.stdout.readline()  # statistics: it is watching
        with open(f"{bundle.path}/rootfs/go", "w", encoding="ascii"):
            pass
        out = events.communicate(timeout=PATIENCE)[0]
        self.assertIn({"type": "oom", "id": container}, [json.loads(line) for line in out.splitlines()])
        self.assertEqual(events.returncode, 0)


class Update(Control):
    def test_limits_in_the_guest(self):
        def change(config):
            config["linux"]["resources"] = {"cpu": {"quota": 50000, "period": 100000}}
        container, _ = self.started("sleep", "1000", change=change)
        cgroup = "/sys/fs/cgroup/"
        self.assertEqual(self.read(container, cgroup + "cpu.max"), "50000 100000\n")
        self.ok("update", "--memory", "64m", "--memory-swap", "96m", "--cpu-quota", "30000", "--pids-limit", "33", container)
        for name, value in (("memory.max", 64 << 20), ("cpu.max", "30000 100000"), ("pids.max", 33)):
            self.assertEqual(self.read(container, cgroup + name), f"{value}\n", name)
        self.ok("update", "--resources", "-", container,
                input=json.dumps({"memory": {"limit": -1}, "cpu": {"period": 50000}, "pids": {"limit": -1}}).encode())
        for name, value in (("memory.max", "max"), ("cpu.max", "30000 50000"), ("pids.max", "max")):
            self.assertEqual(self.read(container, cgroup + name), f"{value}\n", name)
        # More than the host has: the VM grows as far as that.
        grown = nacre("update", "--memory", "8g", "--cpu-quota", "500000", container)
        self.assertEqual((grown.returncode, grown.stderr), (0, b""))
        self.assertEqual(self.read(container, cgroup + "memory.max"), f"{8 << 30}\n")
        # Either all limits change, or none.
        refused = nacre("update", "--resources", "-", container, input=json.dumps(
            {"pids": {"limit": 5}, "unified": {"memory.nonesuch": "1"}}).encode())
        self.assert_one_line_error(refused, "memory.nonesuch")
        self.assertEqual(self.read(container, cgroup + "pids.max"), "max\n")
        self.ok("kill", container, "KILL")
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")
        self.assert_one_line_error(nacre("update", "--memory", "64m", container), "container not running")


if __name__ == "__main__":
    main()
