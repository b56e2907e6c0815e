# SPDX-License-Identifier: Apache-2.0
"""Tests what a vmm that has been taken over could still reach of the host, with a process in vmm's place."""

import os
import resource
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

from kvm_test import SPIN, elf
from support import (INITRAMFS, KERNEL, NACRE, PATIENCE, VMM, ContainerTest, Surroundings, children, main, nacre, read,
                     run, state, wait_until)

# Each line is one try, by a program that has entered the namespaces of vmm. It prints whether the try succeeded.
ATTEMPTS = """
import ctypes, os, signal, socket, sys

def attempt(name, action):
    try:
        action()
        print(name, "yes")
    except OSError:
        print(name, "no")

libc = ctypes.CDLL(None, use_errno=True)

def system_call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def connect(family, address):
    with socket.socket(family) as client:
        client.connect(address)

CLONE_NEWUSER = 0x10000000
host, port, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
attempt("signal", lambda: os.kill(host, signal.SIGCONT))
attempt("limits", lambda: system_call(libc.prlimit, host, 0, None, (ctypes.c_ulong * 2)()))
attempt("loopback", lambda: connect(socket.AF_INET, ("127.0.0.1", port)))
attempt("abstract", lambda: connect(socket.AF_UNIX, "\\0" + name))
attempt("user-namespace", lambda: system_call(libc.unshare, CLONE_NEWUSER))
"""
# The same, with every capability in the user namespace of vmm and as the user that vmm is, on a file of the host's root.
ATTEMPTS_ON_FILES = """
import ctypes, os, sys

pid, uid, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
CLONE_NEWUSER = 0x10000000
if ctypes.CDLL(None).setns(os.open(f"/proc/{pid}/ns/user", os.O_RDONLY), CLONE_NEWUSER) < 0:
    raise SystemExit("setns")
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)

def attempt(name, action):
    try:
        action()
        print(name, "yes")
    except OSError:
        print(name, "no")

attempt("read", lambda: open(path).close())
attempt("write", lambda: open(path, "a").close())
attempt("mode", lambda: os.chmod(path, 0o6755))
attempt("owner", lambda: os.chown(path, uid, uid))
attempt("user", lambda: os.setresuid(0, 0, 0))
"""
ROOT = 100000  # the host's id of root in the container's user namespace
NAMES = ["signal", "limits", "loopback", "abstract", "user-namespace"]
NAMESPACES = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]


class Jail(ContainerTest):
    def start(self, ids=None):
        """Starts a container in the host's network, and returns the pid of its vmm."""
        def change(config):
            if ids:
                config["linux"]["namespaces"].append({"type": "user"})
                config["linux"].update(uidMappings=ids, gidMappings=ids)
            namespaces = config["linux"]["namespaces"]
            config["linux"]["namespaces"] = [entry for entry in namespaces if entry["type"] not in ("network", "uts")]
            del config["hostname"]
        container, bundle = self.container(), self.bundle("sleep", "1000", change=change)
        subprocess.run([NACRE, "run", "-d", "--bundle", bundle.path, container], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=PATIENCE)
        (vmm,) = children(state(container)["pid"])
        return vmm

    def attempts(self, *prefix):
        """Returns which attempts on a process of the host, and on two of its servers, succeed."""
        victim = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(victim.wait)
        self.addCleanup(victim.kill)
        name = f"nacre-jail-{os.getpid()}"
        with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
            tcp.bind(("127.0.0.1", 0))
            unix.bind("\0" + name)
            for server in (tcp, unix):
                server.listen()
            done = run(*prefix, "python3", "-c", ATTEMPTS, str(victim.pid), str(tcp.getsockname()[1]), name)
        self.assertEqual(done.returncode, 0, done.stderr)
        return dict(line.split() for line in done.stdout.decode().splitlines())

    def test_a_process_in_its_place_reaches_nothing(self):
        vmm = self.start()
        self.assertEqual(self.attempts(), dict.fromkeys(NAMES, "yes"))
        inside = self.attempts("nsenter", "--target", str(vmm), "--user", "--pid", "--net", "--ipc", "--uts", "--cgroup",
                               "--preserve-credentials")
        self.assertEqual(inside, dict.fromkeys(NAMES, "no"))
        for name in NAMESPACES:
            self.assertNotEqual(os.readlink(f"/proc/{vmm}/ns/{name}"), os.readlink(f"/proc/self/ns/{name}"), name)

    def test_a_user_namespace_is_all_that_it_has(self):
        def attempts(vmm, uid):
            with tempfile.NamedTemporaryFile() as file:
                done = run("python3", "-c", ATTEMPTS_ON_FILES, str(vmm), str(uid), file.name)
            self.assertEqual(done.returncode, 0, done.stderr)
            return dict(line.split() for line in done.stdout.decode().splitlines())

        names = ["read", "write", "mode", "owner", "user"]
        self.assertEqual(attempts(self.start(), 0), dict.fromkeys(names, "yes"))
        vmm = self.start([{"containerID": 0, "hostID": ROOT, "size": 65536}])
        for file in ("uid_map", "gid_map"):
            self.assertEqual(read(f"/proc/{vmm}/{file}").split(), [str(ROOT), str(ROOT), "65536"])
        status = read(f"/proc/{vmm}/status")
        for name in ("Uid", "Gid"):
            self.assertIn(f"{name}:" + f"\t{ROOT}" * 4 + "\n", status)
        self.assertRegex(status, r"\nGroups:\s*\n")
        self.assertEqual(attempts(vmm, ROOT), dict.fromkeys(names, "no"))

    def test_no_descriptor_leads_to_files_that_others_use(self):
        vmm = self.start()
        for number in os.listdir(f"/proc/{vmm}/fd"):
            path = f"/proc/{vmm}/fd/{number}"
            self.assertNotIn(os.readlink(path), (os.path.realpath(KERNEL), os.path.realpath(INITRAMFS)))
            if stat.S_ISDIR(os.stat(path).st_mode):
                # The shares of the jail, and its mount of /proc/self/fd: they are opened for nothing but their path.
                with open(f"/proc/{vmm}/fdinfo/{number}", encoding="ascii") as file:
                    flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
                self.assertTrue(flags & os.O_PATH, os.readlink(path))

    def test_no_core_file_has_the_guests_memory(self):
        vmm = self.start()
        with open(f"/proc/{vmm}/limits", encoding="ascii") as file:
            (cores,) = [line.split()[4:6] for line in file if line.startswith("Max core file size")]
        self.assertEqual(cores, ["0", "0"])
        with open(f"/proc/{vmm}/smaps", encoding="utf-8") as file:
            mappings = file.read().split("VmFlags:")
        # The largest mapping that is in memory is the guest's.
        resident = [int(text.split("Rss:")[1].split()[0]) for text in mappings[:-1]]
        flags = mappings[resident.index(max(resident)) + 1].splitlines()[0].split()
        self.assertIn("dd", flags)
        os.kill(vmm, signal.SIGSEGV)

    def test_no_proc_of_the_host_is_there(self):
        # The memory of vmm is a file there, which vmm may open.
        def bind(source, destination):
            def change(config):
                config["mounts"].append({"destination": destination, "type": "bind", "source": source,
                                         "options": ["rbind"]})
            return change
        done = self.run_container("cat", "/host/proc/version", change=bind("/proc", "/host/proc"))
        self.assertIn(b"-nacre", done.stdout, done.stderr)
        # What the mount covers is there in its place.
        done = self.run_container("sh", "-c", "ls -d /host/etc; cat /host/proc/version", change=bind("/", "/host"))
        self.assertIn(b"/host/etc", done.stdout, done.stderr)
        self.assertNotIn(b"Linux version", done.stdout)
        done = self.run_container("true", change=bind("/proc/version", "/version"))
        self.assert_one_line_error(done, "/proc/version: the host's /proc is not shared with a VM")

    def test_a_directory_is_refused_as_stdin(self):
        bundle = self.bundle("true")
        directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, directory)
        before = Surroundings()
        done = nacre("run", "--bundle", bundle.path, self.container(), stdin=directory)
        self.assert_one_line_error(done, "stdin: a directory cannot be passed into the VM")
        before.assert_clean()


KILLED = "killed"
KILLED_STATUS = 6  # vmm's status after SIGTERM
RECVMSG = "47"
ALLOWED = {"own-id": "done", "signal-itself": "done"}
# Attempts that do not end the process, by kind of thread. The others do.
SURVIVED = {
    "main": {"open-to-write": "ENOENT", "leave-the-jail": "ENOENT", "memory-of-others": "ENOENT",
             "unix-socket": "EACCES", "internet-socket": "EACCES"},
    "vcpu": {},
    "file-server": {"open-to-write": "ENOENT", "leave-the-jail": "ENOENT", "memory-of-others": "ENOENT",
                    "device-node": "EROFS"},
    "net": {},
    "node-maker": {"device-node": "EROFS"},
}


TAP = "nacre-jail"


def add_tap(test):
    subprocess.run(["ip", "tuntap", "add", "dev", TAP, "mode", "tap"], check=True)
    test.addCleanup(subprocess.run, ["ip", "link", "delete", TAP], check=True)
    subprocess.run(["ip", "link", "set", TAP, "up"], check=True)


def has_filter(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return "Seccomp:\t2\n" in file.read()


def parts(name):
    """Returns the path of a program that is built beside vmm for these tests."""
    return os.path.join(os.path.dirname(os.path.abspath(VMM)), "..", "tests", name)


class HostileGuest(unittest.TestCase):
    """A guest without a kernel misuses the real devices (tests/support/hostile_guest.cc)."""
    STEPS = ["registers", "rings", "requests", "no more files", "packets", "frames", "memory", "done"]
    ROUNDS = 300
    MAX_FILES = 1024
    MAX_LINES = 300  # of vmm's log
    MAX_MEMORY_KIB = 64 << 10

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.share = f"{self.folder}/share"
        os.mkdir(self.share)
        # What the guest writes at random places must not fill the disk.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", self.share], check=True)
        self.addCleanup(subprocess.run, ["umount", self.share], check=True)
        os.mkdir(f"{self.share}/dir")
        for path in (f"{self.share}/file", f"{self.folder}/outside"):
            with open(path, "w", encoding="ascii") as file:
                file.write("content")
        add_tap(self)

    def attack(self, seed):
        with open(f"{self.folder}/vmm.toml", "w", encoding="ascii") as file:
            file.write(f"kernel = '{parts('hostile-guest')}'\ncmdline = '{seed} {self.ROUNDS}'\n"
                       f"memory = '32M'\nmax_memory = '256M'\n[jail]\nenabled = true\n"
                       f"[vsock]\ncid = 3\nuds = '{self.folder}/vsock-{seed}'\n"
                       f"[[fs]]\ntag = 'share'\npath = '{self.share}'\n[[net]]\ntap = '{TAP}'\n")
        before = set(os.listdir(self.folder))
        # With CAP_SYS_RESOURCE, vmm would raise the limit.
        limited = ["setpriv", "--bounding-set", "-sys_resource", "prlimit", f"--nofile={self.MAX_FILES}"]
        vmm = subprocess.Popen([*limited, VMM, "--config", f"{self.folder}/vmm.toml"], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(vmm.kill)
        out, log = vmm.communicate(timeout=PATIENCE)
        self.assertEqual(vmm.returncode, 0, log)
        self.assertEqual(out.splitlines(), [f"hostile: {step}" for step in self.STEPS])
        self.assertLess(len(log.splitlines()), self.MAX_LINES)
        self.assertEqual(set(os.listdir(self.folder)) - before, {f"vsock-{seed}"})
        with open(f"{self.folder}/outside", encoding="ascii") as file:
            self.assertEqual(file.read(), "content")

    def test_vmm_survives_and_serves_an_honest_guest_afterwards(self):
        for seed in (1, 2, 3):
            with self.subTest(seed=seed):
                self.attack(seed)
        # The largest of all children so far, with 32 MiB of its guest's memory.
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, self.MAX_MEMORY_KIB)


class Filters(unittest.TestCase):
    """A vmm in whose threads one thing after the other is tried that an attacker would try there."""
    PROGRAM = parts("taken-over")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(f"{self.folder}/share")
        with open(f"{self.folder}/kernel", "wb") as file:
            file.write(elf(SPIN))
        add_tap(self)

    def attempt(self, kind, name, seccomp="kill"):
        """Returns what came of one attempt: "done", the name of an error, or KILLED."""
        with open(f"{self.folder}/vmm.toml", "w", encoding="ascii") as file:
            file.write(f"kernel = '{self.folder}/kernel'\nmemory = '32M'\nconsole = false\n"
                       f"[jail]\nenabled = true\ndevice_nodes = true\nseccomp = '{seccomp}'\n"
                       f"[[fs]]\ntag = 'share'\npath = '{self.folder}/share'\n[[net]]\ntap = '{TAP}'\n")
        vmm = subprocess.Popen([self.PROGRAM, kind, name, "--config", f"{self.folder}/vmm.toml"], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(vmm.wait)
        self.addCleanup(vmm.kill)
        if kind == "node-maker":
            ended = self.wait_for_node_maker(vmm.pid)
        else:
            # The thread ends vmm, or says that it is still there.
            ended = vmm.stdout.readline() == ""
        if kind == "node-maker" or not ended:
            # Before that, the signal would end vmm by default.
            wait_until(lambda: has_filter(vmm.pid), "the main thread locks itself in")
            vmm.terminate()
        said, errors = vmm.communicate(timeout=PATIENCE)
        self.assertEqual(errors, "")
        self.assertEqual(vmm.returncode, -signal.SIGSYS if ended and kind != "node-maker" else KILLED_STATUS)
        return KILLED if ended else said.strip()

    def wait_for_node_maker(self, vmm):
        """Waits until the process has tried and serves, or has ended. Returns whether it has ended, by SIGSYS."""
        def status():
            for child in children(vmm):
                with open(f"/proc/{child}/stat", encoding="ascii") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
                if fields[0] == "Z":
                    return fields[-1]  # its exit code, with the signal in the lower bits
                with open(f"/proc/{child}/syscall", encoding="ascii") as file:
                    if file.read().split()[0] == RECVMSG:
                        return "serves"
            return None
        wait_until(status, "the maker of nodes serves or ends")
        ended = status()
        self.assertIn(ended, ("serves", str(int(signal.SIGSYS))))
        return ended != "serves"

    def test_what_is_not_listed_ends_vmm(self):
        names = run(self.PROGRAM, "list").stdout.decode().split()
        for kind, survived in SURVIVED.items():
            expected = dict.fromkeys(names, KILLED) | ALLOWED | survived
            found = {name: self.attempt(kind, name) for name in names}
            self.assertEqual(found, expected, kind)

    def test_it_is_the_filter_that_ends_vmm(self):
        for kind in SURVIVED:
            self.assertNotEqual(self.attempt(kind, "keys", "log"), KILLED, kind)


if __name__ == "__main__":
    main()
