# SPDX-License-Identifier: Apache-2.0
"""Faults of the host and of the guest's kernel: every command gets an answer, and `delete --force` cleans up."""

import os
import signal
import subprocess

from support import NACRE, PATIENCE, ContainerTest, main, nacre, state


def start(*argv):
    """nacre's create or run; the container keeps no pipe of ours open."""
    subprocess.run([NACRE, *argv], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=PATIENCE)


class DiskFull(ContainerTest):
    """Puts the runtime's root directory on a full file system."""

    def setUp(self):
        os.makedirs("/run/mount", exist_ok=True)  # mount(8) keeps its notes there
        super().setUp()
        self.root = "/mnt/small"
        os.makedirs(self.root, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=200", "small", self.root], check=True)
        self.addCleanup(subprocess.run, ["umount", self.root], check=True)

    def fill(self):
        with open(f"{self.root}/filler", "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096) == 4096:
                    pass
            except OSError:
                pass

    def test_create(self):
        bundle = self.bundle("true")
        self.fill()
        done = nacre("--root", self.root, "create", "--bundle", bundle.path, "c")
        self.assert_one_line_error(done, "no space left on device")
        self.assertEqual(os.listdir(self.root), ["filler"])

    def test_a_running_container(self):
        bundle = self.bundle("sleep", "1000")
        start("--root", self.root, "run", "--detach", "--bundle", bundle.path, "c")
        self.addCleanup(nacre, "--root", self.root, "delete", "--force", "c")
        self.fill()
        self.assertIn(b'"status": "running"', nacre("--root", self.root, "state", "c").stdout)
        self.assertEqual(nacre("--root", self.root, "exec", "c", "echo", "in").stdout, b"in\n")
        self.assertEqual(nacre("--root", self.root, "kill", "c", "KILL").returncode, 0)
        self.assertEqual(nacre("--root", self.root, "delete", "--force", "c").returncode, 0)
        self.assertEqual(os.listdir(self.root), ["filler"])


class Guest(ContainerTest):
    def test_a_kernel_that_panics_says_why(self):
        def writable(config):
            config["linux"]["readonlyPaths"] = []
        done = self.run_container("sh", "-c", "echo 2 >/proc/sys/vm/panic_on_oom && tail /dev/zero", change=writable)
        self.assert_one_line_error(done, "the guest reset itself", "Kernel panic - not syncing: Out of memory",
                                   status=128 + signal.SIGKILL)


class State(ContainerTest):
    def test_a_truncated_state_file(self):
        bundle, container = self.bundle("sleep", "1000"), self.container()
        start("run", "--detach", "--bundle", bundle.path, container)
        os.truncate(f"/run/nacre/{container}/state.json", 10)
        for command in (("state", container), ("exec", container, "true"), ("kill", container), ("delete", container)):
            done = nacre(*command)
            self.assertEqual(len(done.stderr.decode().splitlines()), 1, done.stderr)
            self.assertIn(b"state.json", done.stderr)
        self.assertEqual(nacre("list").returncode, 0)
        self.assertEqual(nacre("delete", "--force", container).returncode, 0)
        self.assertIsNone(state(container))

    def test_commands_that_race(self):
        bundle, container = self.bundle("sleep", "1000"), self.container()
        start("create", "--bundle", bundle.path, container)
        commands = [("start", container), ("state", container), ("kill", container, "KILL"), ("delete", container),
                    ("start", container), ("exec", container, "true"), ("pause", container), ("resume", container),
                    ("delete", "--force", container), ("ps", container)]
        started = [subprocess.Popen([NACRE, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                   for command in commands]
        for process in started:
            _, errors = process.communicate(timeout=PATIENCE)
            self.assertIn(process.returncode, (0, 1, 255), errors)
            self.assertLessEqual(len(errors.decode().splitlines()), 1, errors)
        self.assertEqual(nacre("delete", "--force", container).returncode, 0)


if __name__ == "__main__":
    main()
