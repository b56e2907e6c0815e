# SPDX-License-Identifier: Apache-2.0
"""What a stand-in can still do once its container is there."""

import os
import signal
import subprocess
import unittest

from support import PATIENCE, CommandTest, main

TAKEN_OVER = os.environ.get("NACRE_TAKEN_OVER", "")
CAP_SYS_RESOURCE = 1 << 24
KILLED = "killed"
# What comes of each attempt of tests/support/attempts.h that does not end the process. The filter knows no paths: what a
# stand-in can open is decided by its root and its descriptors (class Reach).
SURVIVED = {
    "stand-in": {"own-id": "done", "signal-itself": "done", "open-to-write": "done", "leave-the-jail": "done",
                 "memory-of-others": "EACCES", "unix-socket": "done"},
    "exec": {"own-id": "done", "signal-itself": "done", "open-to-write": "done", "leave-the-jail": "done",
             "memory-of-others": "EACCES", "unix-socket": "done"},
    "mounts": {"own-id": "done", "signal-itself": "done", "open-to-write": "done", "leave-the-jail": "done",
               "unix-socket": "done", "open-tree": "done"},
}


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@unittest.skipUnless(os.geteuid() == 0, "capabilities are given up by those who have them")
class Filters(unittest.TestCase):
    def attempt(self, kind, name):
        done = subprocess.run([TAKEN_OVER, kind, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, cwd="/")
        self.assertEqual(done.stderr, "")
        self.assertIn(done.returncode, (0, -signal.SIGSYS))
        return done.stdout.strip() if done.returncode == 0 else KILLED

    def test_what_is_not_listed_ends_the_stand_in(self):
        names = subprocess.run([TAKEN_OVER, "list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        self.assertGreater(len(names), 30)
        for kind, survived in SURVIVED.items():
            expected = dict.fromkeys(names, KILLED) | survived
            if kind == "mounts":  # keeps its capabilities, which may be fewer than those of process 1 where this runs
                del expected["memory-of-others"]
            self.assertEqual({name: self.attempt(kind, name) for name in expected}, expected, kind)


class Reach(CommandTest):
    def stand_in(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        pid = self.record("a")["standin"]["pid"]
        self.wait_until(lambda: status_of(pid)["Seccomp"] == "2", "the stand-in locks itself in")
        return pid

    @unittest.skipUnless(os.geteuid() == 0, "a user without privilege has no capabilities to give up")
    def test_it_has_no_privilege_and_gets_none(self):
        status = status_of(self.stand_in())
        self.assertEqual(status["NoNewPrivs"], "1")
        for name in ("CapEff", "CapPrm"):
            self.assertEqual(int(status[name], 16) & ~CAP_SYS_RESOURCE, 0, name)

    def test_exec_has_no_privilege_and_gets_none(self):
        self.stand_in()
        process = self.start_nacre("exec", "a", "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        pid_file = os.path.join(self.scratch, "pid")
        self.nacre("exec", "-d", "--pid-file", pid_file, "a", "sleep", "60")
        with open(pid_file, encoding="utf-8") as file:
            detached = int(file.read())
        for pid in (process.pid, detached):
            self.wait_until(lambda pid=pid: status_of(pid)["Seccomp"] == "2", "exec locks itself in")
            status = status_of(pid)
            self.assertEqual((status["NoNewPrivs"], int(status["CapEff"], 16), int(status["CapPrm"], 16)), ("1", 0, 0))
        self.assertEqual(process.communicate(b"bytes", timeout=PATIENCE)[0], b"bytes")
        self.assertEqual(process.returncode, 0)

    def test_no_directory_leads_to_the_files_of_the_host(self):
        pid = self.stand_in()
        self.assertTrue(os.path.samefile(f"/proc/{pid}/root", os.path.join(self.bundle, "rootfs")))
        directories = [entry.path for entry in os.scandir(f"/proc/{pid}/fd") if os.path.isdir(entry.path)]
        self.assertTrue(any(os.path.samefile(path, os.path.join(self.root, "a")) for path in directories))
        for path in directories:
            self.assertTrue(os.path.samefile(path, path + "/.."), os.readlink(path))

    def test_a_source_is_looked_up_once(self):
        # Whoever can write above the source of a bind mount puts a link in its place while the VM starts.
        source, other = os.path.join(self.scratch, "source"), os.path.join(self.scratch, "other")
        for directory in (source, other):
            os.mkdir(directory)
            with open(os.path.join(directory, "name"), "w", encoding="utf-8") as file:
                file.write(directory)
        os.mkdir(os.path.join(self.bundle, "rootfs/volume"))
        self.config["mounts"].append({"destination": "/volume", "type": "bind", "source": source, "options": ["rbind"]})
        self.write("sleep", "60")
        swap = f"mv {source} {source}-moved && ln -s {other} {source}"
        self.nacre("run", "-d", "-b", self.bundle, "a", env={"FAKE_VMM_RUNS": swap})
        standin, vmm = (self.record("a")[name]["pid"] for name in ("standin", "vmm"))
        # vmm's descriptors 7 and 8 are the root filesystem and the mount.
        for path in (f"/proc/{vmm}/fd/8/name", f"/proc/{standin}/root/volume/name"):
            with open(path, encoding="utf-8") as file:
                self.assertEqual(file.read(), source, path)

    @unittest.skipUnless(os.geteuid() == 0, "a user without privilege can make no mount for the file")
    def test_a_file_for_reading_cannot_be_opened_for_writing(self):
        path = os.path.join(self.scratch, "input")
        with open(path, "w", encoding="utf-8") as file:
            file.write("0123456789")
        self.write("sh", "-c", "head -c 3 /proc/self/fd/0 >/dev/null; echo changed 1<>/proc/self/fd/0")
        with open(path, "rb") as file:
            done = self.nacre("run", "-b", self.bundle, "a", check=False, stdin=file)
        self.assertIn(b"Read-only file system", done.stderr)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "0123456789")

    def test_the_position_in_a_file_is_the_callers(self):
        path = os.path.join(self.scratch, "input")
        with open(path, "wb") as file:
            file.write(b"0123456789")
        self.write("dd", "bs=1", "count=3")
        with open(path, "rb", buffering=0) as file:
            file.seek(2)
            self.assertEqual(self.nacre("run", "-b", self.bundle, "a", stdin=file).stdout, b"234")
            self.assertEqual(file.read(), b"56789")

    def test_what_vmm_writes_goes_through_pipes(self):
        self.write("sleep", "60")
        self.nacre("--debug", "run", "-d", "-b", self.bundle, "a")
        for number, name in ((1, "console.log"), (2, "vmm.log")):
            self.assertTrue(os.path.isfile(os.path.join(self.root, "a", name)))
            self.assertTrue(os.readlink(f"/proc/{self.record('a')['vmm']['pid']}/fd/{number}").startswith("pipe:"), name)


if __name__ == "__main__":
    main()
