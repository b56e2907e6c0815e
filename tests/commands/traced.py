# SPDX-License-Identifier: Apache-2.0
"""Runs nacre under strace, which lets single system calls fail or kills the process there, and looks for what is left
behind."""

import collections
import contextlib
import os
import subprocess

from support import NACRE, PATIENCE, CommandTest, alive


def offspring():
    """Returns the pids of this process's children that are alive. Orphans are its children, too."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split() if alive(int(pid))]


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return sorted(line.split()[4] for line in file)


class TracedTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.trace = os.path.join(self.scratch, "trace")
        self.errors = os.path.join(self.scratch, "errors")
        for path in (self.trace, self.errors):
            with open(path, "wb"):
                pass
        self.write("true")
        self.before = self.around()

    def around(self):
        return mounts(), sorted(name for name in os.listdir(self.scratch) if not name.startswith("r" * 120))

    def run_traced(self, command, *options):
        """Runs a command under strace, without a pipe that a container would keep open. Returns its status."""
        return self.run_prefixed(["strace", "-qq", "-o", self.trace, *options], command)

    def run_prefixed(self, prefix, command):
        with open(self.errors, "wb") as errors:
            return subprocess.run([*prefix, NACRE, "--root", self.root, *command], env=self.environment, timeout=PATIENCE,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                                  check=False).returncode

    def said(self):
        """Returns what the last command wrote to stderr."""
        with open(self.errors, encoding="utf-8") as file:
            return file.read()

    def traced_calls(self):
        """Returns the system calls of the last command: each as its name, and how often the name has come by then."""
        seen = collections.Counter()
        calls = []
        with open(self.trace, encoding="utf-8") as file:
            for name in (line.split("(")[0] for line in file if "(" in line):
                seen[name] += 1
                calls.append((name, seen[name]))
        return calls

    def assert_nothing_left(self, what):
        self.wait_until(lambda: not offspring(), f"{what}: all processes are gone")
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = os.listdir(self.root) if os.path.exists(self.root) else []
        for name in left:
            self.nacre("delete", "--force", name)
        self.assertEqual(left, [], what)
        self.assertEqual(self.around(), self.before, what)
