# SPDX-License-Identifier: Apache-2.0
"""containerd with its runc shim and nacre as the shim's binary, by ctr."""

import json
import subprocess
import tempfile
import unittest

from support import BUSYBOX, Client, copy_rootfs, install, main, processes, run, wait_until

ctr = Client("ctr")


class Daemon:
    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        copy_rootfs(BUSYBOX, f"{self.directory.name}/rootfs")
        with open(f"{self.directory.name}/config.toml", "w", encoding="utf-8") as file:
            file.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        self.log = open(f"{self.directory.name}/log", "wb")
        self.process = subprocess.Popen(["containerd", "-c", file.name], stdout=self.log, stderr=self.log)
        wait_until(lambda: run("ctr", "version").returncode == 0, "containerd answers")
        self.events = open(f"{self.directory.name}/events", "w+b")
        self.listener = subprocess.Popen(["ctr", "events"], stdout=self.events)
        # A container is a rootfs directory, and a command with a path: this way of ctr's sets no PATH.
        self.container = [
            "--runtime",
            "io.containerd.runc.v2",
            "--runc-binary",
            install(),
            "--rootfs",
            f"{self.directory.name}/rootfs",
        ]

    def heard(self, topic, container):
        self.events.seek(0)
        lines = self.events.read().decode().splitlines()
        return any(f" /tasks/{topic} " in line and f'"container_id":"{container}"' in line for line in lines)

    def stop(self):
        for process in (self.listener, self.process):
            process.terminate()
            process.wait()
        self.log.close()
        self.events.close()
        self.directory.cleanup()


def setUpModule():
    setUpModule.daemon = Daemon()


def tearDownModule():
    left = ctr.text("container list --quiet").split()
    setUpModule.daemon.stop()
    if left:
        raise AssertionError(f"containers that a test has left: {left}")
    wait_until(lambda: not processes("vmm"), "no vmm is left")


class Tasks(unittest.TestCase):
    def setUp(self):
        self.daemon = setUpModule.daemon

    def run_once(self, *argv, flags=(), **options):
        return ctr.text("run --rm", *flags, *self.daemon.container, "once", *argv, **options)

    def start(self, name, script, *flags):
        def remove():
            run("ctr", "task", "rm", "--force", name)
            run("ctr", "container", "rm", name)

        self.addCleanup(remove)
        ctr("run --detach", *flags, *self.daemon.container, name, "/bin/sh", "-c", f"export PATH=/bin; {script}")

    def status(self, name):
        """PID and STATUS as `ctr task ls` has them."""
        for line in ctr.text("task ls").splitlines():
            words = line.split()
            if words[0] == name:
                return int(words[1]), words[2]
        return None

    def test_output_and_status(self):
        self.assertEqual(self.run_once("/bin/echo", "hello"), "hello\n")
        self.run_once("/bin/sh", "-c", "exit 7", status=7)
        done = run("ctr", "run", "--rm", *self.daemon.container, "once", "nosuch")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"executable file not found in $PATH", done.stderr)
        output, status = ctr.on_terminal("run --rm --tty", *self.daemon.container, "once", "/bin/tty")
        self.assertEqual((output.replace("\0", "").strip(), status), ("/dev/pts/0", 0))

    def test_a_life(self):
        self.start("life", "trap 'exit 3' USR1; while sleep 0.2; do :; done")
        pid, status = self.status("life")
        self.assertEqual(status, "RUNNING")
        done = run("ctr", "task", "exec", "--exec-id", "e", "life", "/bin/sh", "-c", "/bin/echo in; exit 4")
        self.assertEqual((done.stdout, done.returncode), (b"in\n", 4))
        self.assertIn(str(pid), ctr.text("task ps life"))
        metrics = json.loads(ctr.text("task metrics --format json life"))
        cpu, memory = metrics["cpu"], metrics["memory"]["usage"]  # of cgroup version 2, or 1
        self.assertGreater(int(cpu["usage_usec"] if "usage_usec" in cpu else cpu["usage"]["total"]), 0)
        self.assertGreater(int(memory["usage"] if isinstance(memory, dict) else memory), 1 << 20)
        self.assertGreater(int(metrics["pids"]["current"]), 0)
        ctr("task pause life")
        self.assertEqual(self.status("life")[1], "PAUSED")
        ctr("task resume life")
        self.assertEqual(self.status("life")[1], "RUNNING")
        ctr("task kill --signal USR1 life")
        wait_until(lambda: self.status("life")[1] == "STOPPED", "it has ended")
        wait_until(lambda: self.daemon.heard("exit", "life"), "the exit event")
        self.assertIn("exit with non-zero exit code 3", ctr("task rm life").stderr.decode())

    def test_sigkill(self):
        self.start("killed", "sleep 1000")
        ctr("task kill --signal SIGKILL killed")
        wait_until(lambda: self.status("killed")[1] == "STOPPED", "it has ended")

    def test_out_of_memory(self):
        self.start("oom", "head -c 200m /dev/zero | tail -c 150m | wc -c; sleep 1000", "--memory-limit", str(64 << 20))
        wait_until(lambda: self.daemon.heard("oom", "oom"), "the OOM event")


if __name__ == "__main__":
    main()
