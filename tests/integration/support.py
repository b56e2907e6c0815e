# SPDX-License-Identifier: Apache-2.0
"""Helpers for the lab tests: bundles, nacre's command line, and a check that nothing is left behind.

Each test file runs on the lab machine as root (tools/lab run -- python3 FILE) and is one test of the `lab` suite.
"""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

REPO = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
NACRE = os.environ.get("NACRE_BIN", "nacre")
VMM = os.environ.get("NACRE_VMM", "vmm")
KERNEL = os.environ.get("NACRE_KERNEL", "")
INITRAMFS = os.environ.get("NACRE_INITRAMFS", "")
STOCK_KERNEL = os.environ.get("NACRE_STOCK_KERNEL", "")
BUSYBOX = os.environ.get("NACRE_BUSYBOX_ROOTFS", "")
DEBIAN = os.environ.get("NACRE_DEBIAN_ROOTFS", "")

# In seconds. Guests run on an emulated machine, so what takes a second elsewhere may take a minute here.
PATIENCE = 240


def copy_rootfs(source, target):
    """Makes a copy that a container may write to. cp copies every kind of file; Python's copytree does not."""
    subprocess.run(["cp", "-a", source, target], check=True)


def install(prefix="/opt/nacre"):
    """Lays the programs out as tools/install does, and returns the path of nacre.

    Clients start nacre with an environment of their own, in which NACRE_VMM and the like are not set.
    """
    os.makedirs(f"{prefix}/bin", exist_ok=True)
    os.makedirs(f"{prefix}/lib/nacre", exist_ok=True)
    for source, target in ((NACRE, "bin/nacre"), (VMM, "bin/vmm"), (KERNEL, "lib/nacre/vmlinux"),
                           (INITRAMFS, "lib/nacre/initramfs.cpio")):
        shutil.copy(source, f"{prefix}/{target}")
    return f"{prefix}/bin/nacre"


class Bundle:
    """A bundle directory. Its config.json is that of `nacre spec`, with a writable root and without a terminal."""

    def __init__(self, *args, rootfs=BUSYBOX, change=None, copy=False):
        self.path = tempfile.mkdtemp(prefix="bundle-")
        subprocess.run([NACRE, "spec", "--bundle", self.path], check=True)
        with open(f"{self.path}/config.json", encoding="utf-8") as file:
            self.config = json.load(file)
        self.config["process"]["terminal"] = False
        self.config["process"]["args"] = list(args)
        self.config["root"]["readonly"] = False
        if copy:
            copy_rootfs(rootfs, f"{self.path}/rootfs")
        else:
            self.config["root"]["path"] = rootfs
        if change:
            change(self.config)
        self.write()

    def write(self):
        with open(f"{self.path}/config.json", "w", encoding="utf-8") as file:
            json.dump(self.config, file)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()


def run(*argv, **options):
    """Runs a command to its end, with output captured as bytes. The caller checks the status."""
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    if options["stdin"] is None:
        del options["stdin"]
    options.setdefault("timeout", PATIENCE)
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **options)


def on_terminal(*argv):
    """Runs a command on a new pseudo-terminal, and returns its output and status."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    output = b""
    try:
        while data := os.read(master, 65536):
            output += data
    except OSError:  # EIO: everybody has closed the other side
        pass
    os.close(master)
    return output.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Client:
    """The command of a container engine. The first argument of each call is split at its spaces."""

    def __init__(self, *prefix):
        self.prefix = prefix

    def __call__(self, *argv, status=0, **options):
        """Runs a command, checks its status, and returns the outcome."""
        argv = [*argv[0].split(), *argv[1:]]
        done = run(*self.prefix, *argv, **options)
        if done.returncode != status:
            raise AssertionError(f"{' '.join([*self.prefix, *argv])}: status {done.returncode}, not {status}\n"
                                 f"{done.stdout.decode()}\n{done.stderr.decode()}")
        return done

    def text(self, *argv, **options):
        return self(*argv, **options).stdout.decode()

    def run_once(self, *argv, **options):
        """Runs a container with `run --rm` and without a network, and returns its output."""
        return self.text("run --rm --network none " + argv[0], *argv[1:], **options)

    def on_terminal(self, *argv):
        return on_terminal(*self.prefix, *argv[0].split(), *argv[1:])


class User:
    """An unprivileged user of the lab machine, with a home and an XDG_RUNTIME_DIR. He may open /dev/kvm."""

    UID = 1777
    NAME = "tester"
    SUBORDINATE = 200000  # the first of his subordinate ids

    def __init__(self):
        for file, line in (("passwd", f"{self.NAME}:x:{self.UID}:{self.UID}::/tmp:/bin/sh"),
                           ("group", f"{self.NAME}:x:{self.UID}:"), ("subuid", f"{self.NAME}:{self.SUBORDINATE}:65536"),
                           ("subgid", f"{self.NAME}:{self.SUBORDINATE}:65536")):
            with open(f"/etc/{file}", "a", encoding="ascii") as out:
                out.write(line + "\n")
        for device in ("/dev/kvm", "/dev/fuse"):  # elsewhere, the group kvm may open the first and everybody the second
            os.chmod(device, 0o666)
        self.home, self.runtime_dir = tempfile.mkdtemp(prefix="home-"), tempfile.mkdtemp(prefix="xdg-")
        for directory in (self.home, self.runtime_dir):
            self.own(directory)
        self.options = {"user": self.UID, "group": self.UID, "extra_groups": [], "cwd": self.home, "env": {
            "HOME": self.home, "XDG_RUNTIME_DIR": self.runtime_dir, "USER": self.NAME,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}}

    def run(self, *argv, **options):
        return run(*argv, **self.options, **options)

    def detach(self, *argv):
        """Runs a command that leaves a process behind, without pipes that this process would hold open."""
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=PATIENCE, **self.options)

    def own(self, path):
        subprocess.run(["chown", "-R", f"{self.UID}:{self.UID}", path], check=True)

    def bundle(self, program):
        """Makes a bundle with the user's own root filesystem and the configuration of `nacre spec --rootless`.

        Returns the path of the bundle and its configuration.
        """
        path = tempfile.mkdtemp(prefix="bundle-", dir=self.home)
        copy_rootfs(BUSYBOX, f"{path}/rootfs")
        self.own(path)
        self.run(program, "spec", "--rootless", "--bundle", path)
        with open(f"{path}/config.json", encoding="utf-8") as file:
            config = json.load(file)
        config["process"]["terminal"] = False
        config["root"]["readonly"] = False
        return path, config


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def nacre(*argv, **options):
    return run(NACRE, *argv, **options)


def detach(*argv, **options):
    """Runs nacre without pipes that the container would keep open."""
    with tempfile.TemporaryFile() as errors:
        done = subprocess.run([NACRE, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                              timeout=PATIENCE, check=False, **options)
        errors.seek(0)
        if done.returncode:
            raise AssertionError(f"nacre {' '.join(argv)}: status {done.returncode}, {errors.read().decode()}")


def state(container):
    """Returns the output of `nacre state` as an object, or None if it fails."""
    done = nacre("state", container)
    return json.loads(done.stdout) if done.returncode == 0 else None


def wait_until(condition, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def alive(pid):
    """Returns whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes(name):
    """Returns the pids of live processes by the name of their program.

    The command line would not do: a stand-in has that of its container.
    """
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            continue
        if program.removesuffix(" (deleted)") == name and alive(int(pid)):
            found.append(int(pid))
    return found


def command(pid):
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().rstrip()


def node_makers():
    """Returns the pids of the helpers that make device nodes for a vmm."""
    return [pid for pid in processes("vmm") if command(pid) == "vmm-nodes"]


def machines():
    return [pid for pid in processes("vmm") if command(pid) != "vmm-nodes"]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(child) for child in file.read().split()]


class Surroundings:
    """What containers could leave behind: processes, mounts, sockets, files, cgroups and links of the network."""

    WATCHED = ["/run", "/tmp", "/dev/shm"]  # not /var/tmp: it is the host's, and others write there

    def __init__(self):
        self.seen = self.look()

    def look(self):
        files = set()
        for top in self.WATCHED:
            for folder, folders, names in os.walk(top):
                # Leave the repository out, if it lies there: it is large, and whoever runs the tests writes logs to it.
                folders[:] = [name for name in folders if os.path.join(folder, name) != REPO]
                files.update(os.path.join(folder, name) for name in folders + names)
        # The runtimes keep their own root directories.
        files -= {"/run/nacre", "/run/runc", "/run/crun"}
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = {line.split()[4] for line in file}
        with open("/proc/net/unix", encoding="utf-8") as file:
            sockets = {line.split()[7] for line in file.read().splitlines()[1:] if len(line.split()) > 7}
        groups = {folder for folder, _, _ in os.walk("/sys/fs/cgroup")}
        return {
            "processes": {f"{name} {pid}" for name in ("nacre", "vmm") for pid in processes(name)},
            "mounts": mounts,
            "sockets": sockets,
            "files": files,
            "cgroups": groups,
            "links": set(os.listdir("/sys/class/net")),
        }

    def left_behind(self):
        now = self.look()
        return {kind: sorted(now[kind] - self.seen[kind]) for kind in now if now[kind] - self.seen[kind]}

    def assert_clean(self, seconds=PATIENCE):
        """Fails if something is left behind. Waits, because a process that was just killed takes a moment to go."""
        deadline = time.monotonic() + seconds
        while left := self.left_behind():
            if time.monotonic() > deadline:
                raise AssertionError(f"left behind: {left}")
            time.sleep(0.1)


class ContainerTest(unittest.TestCase):
    """Checks after each test that nothing is left behind."""

    maxDiff = None

    def setUp(self):
        self.surroundings = Surroundings()
        self.addCleanup(self.surroundings.assert_clean)

    def bundle(self, *args, **options):
        bundle = Bundle(*args, **options)
        self.addCleanup(bundle.remove)
        return bundle

    def run_container(self, *args, container=None, **options):
        """Runs a command in a new container with `nacre run`. Passes keywords on to subprocess and to Bundle."""
        for_bundle = {key: options.pop(key) for key in ("rootfs", "change", "copy") if key in options}
        with Bundle(*args, **for_bundle) as bundle:
            return nacre("run", "--bundle", bundle.path, container or self.container(), **options)

    def container(self):
        """Returns an id for a container, which is deleted at the end of the test, whatever happens."""
        ContainerTest.counter = getattr(ContainerTest, "counter", 0) + 1
        name = f"t{os.getpid()}-{ContainerTest.counter}"
        self.addCleanup(nacre, "delete", "--force", name)
        return name

    def assert_one_line_error(self, done, *words, status=1):
        """Checks for this status, nothing on stdout, and one line on stderr that contains all `words`."""
        text = done.stderr.decode()
        self.assertEqual((done.returncode, done.stdout), (status, b""), text)
        self.assertEqual(len(text.splitlines()), 1, text)
        for word in words:
            self.assertIn(word, text)


class TimedResult(unittest.TextTestResult):
    """Prints how long each test took, behind its outcome."""

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        self.stream.writeln(f"    {time.monotonic() - self.started:.1f} s")


def main():
    for name, value in (("NACRE_BIN", NACRE), ("NACRE_VMM", VMM), ("NACRE_KERNEL", KERNEL)):
        if not os.path.exists(value):
            sys.exit(f"{name} does not name a file: run this by tools/test")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    unittest.main(testRunner=unittest.TextTestRunner(verbosity=2, resultclass=TimedResult))
