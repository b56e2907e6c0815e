# SPDX-License-Identifier: Apache-2.0
"""Runs the nacre command against tests/support/fake_vmm.py: the stand-in, the state directory and the command
line are real, the VM and the guest are not."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

NACRE = os.environ.get("NACRE_BIN", "")
FAKE_VMM = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../support/fake_vmm.py")
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 1 << 18, 2
PATIENCE = 60  # seconds


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="nacre-test-")
        # Longer than an AF_UNIX address.
        self.root = os.path.join(self.scratch, "r" * 120)
        self.bundle = os.path.join(self.scratch, "bundle")
        os.makedirs(os.path.join(self.bundle, "rootfs"))
        self.environment = dict(os.environ, NACRE_VMM=FAKE_VMM, NACRE_KERNEL=NACRE, NACRE_INITRAMFS=NACRE)
        self.nacre("spec", "-b", self.bundle)
        with open(os.path.join(self.bundle, "config.json")) as file:
            self.config = json.load(file)
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False

    def tearDown(self):
        if os.path.isdir(self.root):
            for name in os.listdir(self.root):
                self.nacre("delete", "-f", name, check=False)
            self.assertEqual(os.listdir(self.root), [])
        shutil.rmtree(self.scratch)
        # The "containers" of a killed fake are children of this process by now.
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            for pid in file.read().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)

    def write(self, *args, **changes):
        if args:
            self.config["process"]["args"] = list(args)
        self.config.update(changes)
        with open(os.path.join(self.bundle, "config.json"), "w") as file:
            json.dump(self.config, file)

    def nacre(self, *args, check=True, env=None, **more):
        more.setdefault("stdin", subprocess.DEVNULL) if "input" not in more else None
        # Files, not pipes: a container that lives on keeps them open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            result = subprocess.run([NACRE, "--root", self.root, *args], stdout=out, stderr=err, timeout=PATIENCE,
                                    env=dict(self.environment, **(env or {})), **more)
            for file in (out, err):
                file.seek(0)
            result.stdout, result.stderr = out.read(), err.read()
        if check:
            self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def start_nacre(self, *args, env=None, **more):
        return subprocess.Popen([NACRE, "--root", self.root, *args], env=dict(self.environment, **(env or {})), **more)

    def create(self, *args):
        return self.nacre("create", "-b", self.bundle, *args)

    def state(self, name):
        return json.loads(self.nacre("state", name).stdout)

    def wait_until(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"{what}: not within {PATIENCE} s")
            time.sleep(0.02)

    def wait_for_status(self, name, status):
        self.wait_until(lambda: self.state(name)["status"] == status, f"{name} is {status}")

    def record(self, name):
        with open(os.path.join(self.root, name, "state.json")) as file:
            return json.load(file)

    def assert_gone(self, pid):
        self.wait_until(lambda: not alive(pid), f"process {pid} is gone")


def leave_cgroups():
    """Hides the cgroups of whatever machine this is: tests that run side by side call their containers the same, and
    what fake_vmm.py starts as a "container" would be in the host's cgroup."""
    libc = ctypes.CDLL(None)
    if os.geteuid() == 0 and libc.unshare(CLONE_NEWNS) == 0:
        libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        libc.umount2(b"/sys/fs/cgroup", MNT_DETACH)


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    leave_cgroups()
    unittest.main(verbosity=2)
