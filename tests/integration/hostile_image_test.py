# SPDX-License-Identifier: Apache-2.0
"""Images, configurations and neighbours that lie, against real containers: what runc and others had to mend.

guest-init/server_hostile_test.cc has the parts that need no VM. docs/security.md lists which attack is tried where.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from support import (BUSYBOX, DEBIAN, INITRAMFS, KERNEL, NACRE, PATIENCE, VMM, Bundle, ContainerTest, children, main, nacre,
                     node_makers, on_terminal, run, state)

# What a process has open: the number of each descriptor that is still open afterwards, and so is none of the shell's
# for this very list.
LIST = 'for fd in /proc/self/fd/*; do if [ -e "$fd" ]; then echo -n "${fd##*/} "; fi; done'
# Of the host: no container may change them.
HOST_FILES = [NACRE, VMM, KERNEL, INITRAMFS]
HOST_SETTINGS = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward"]


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


# The content, not a digest: an emulated CPU compares far faster than it digests.
BEFORE = {path: content_of(path) for path in HOST_FILES + HOST_SETTINGS}


def hook(script):
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}


def bind(config, source, destination, *options):
    config["mounts"].append({"destination": destination, "type": "bind", "source": source,
                             "options": ["bind", *options]})


def without_dev(config):
    """Leaves the image's own /dev in its place."""
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]


class HostileTest(ContainerTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.assert_host_unchanged)

    def assert_host_unchanged(self):
        for path, before in BEFORE.items():
            self.assertTrue(content_of(path) == before, f"{path} has changed")


class Shared(HostileTest):
    """One container, whose caller has more open than it should, and whose image is full of links."""

    @classmethod
    def setUpClass(cls):
        cls.name = f"hostile-{os.getpid()}"
        cls.notes = tempfile.mkdtemp(dir="/srv")
        cls.bundle_made = Bundle("sh", "-c", f"({LIST}) > /first; exec sleep 1000", copy=True, change=cls.change)
        root = f"{cls.bundle_made.path}/rootfs"
        with open(f"{root}/hidden", "w", encoding="utf-8") as file:
            file.write("hidden\n")
        os.makedirs(f"{root}/dev", exist_ok=True)
        os.symlink("/etc/passwd", f"{root}/dev/null")
        for number in range(3, 20):
            os.symlink(f"/proc/self/fd/{number}", f"{root}/way{number}")
        with open(f"{root}/evil", "w", encoding="utf-8") as file:
            file.write("#!/proc/self/exe\n")
        os.chmod(f"{root}/evil", 0o755)
        cls.root = root
        cls.leaks = cls.open_leaks()
        try:
            cls.call("run", "--detach", "--bundle", cls.bundle_made.path, cls.name)
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def change(cls, config):
        without_dev(config)
        config["linux"]["maskedPaths"].append("/hidden")
        config["process"]["capabilities"]["bounding"].append("CAP_MKNOD")  # for vmm-nodes
        # The shell of the host's hooks is another one, and has another view of what it has open.
        for kind in ("createRuntime", "createContainer", "poststart"):
            config.setdefault("hooks", {})[kind] = [hook(f"({LIST}) > {cls.notes}/{kind}")]
        config["hooks"]["startContainer"] = [hook(f"({LIST}) > /startContainer")]

    @classmethod
    def open_leaks(cls):
        """Opens what a careless caller leaves open: a directory, a file to write to, and a socket."""
        with open(f"{cls.notes}/leak", "w", encoding="utf-8"):
            pass
        ours, theirs = socket.socketpair()
        ours.close()
        leaks = [os.open("/", os.O_RDONLY | os.O_DIRECTORY), os.open(cls.notes, os.O_RDONLY | os.O_DIRECTORY),
                 os.open(f"{cls.notes}/leak", os.O_RDWR), theirs.detach()]
        for fd in list(leaks):
            os.set_inheritable(fd, True)
            leaks.append(os.dup2(fd, 100 + fd))  # far from the others
        return leaks

    @classmethod
    def call(cls, *argv):
        """Calls nacre as a caller does that closes nothing."""
        with tempfile.TemporaryFile() as errors:
            done = subprocess.run([NACRE, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                                  close_fds=False, timeout=PATIENCE, check=False)
            errors.seek(0)
            if done.returncode:
                raise AssertionError(f"nacre {argv}: status {done.returncode}: {errors.read()}")

    @classmethod
    def tearDownClass(cls):
        nacre("delete", "--force", cls.name)
        for fd in cls.leaks:
            os.close(fd)
        cls.bundle_made.remove()
        shutil.rmtree(cls.notes)

    def inside(self, *argv, **options):
        return nacre("exec", self.name, *argv, **options)

    def test_nothing_of_the_caller_is_open_in_the_container_and_in_hooks(self):
        """CVE-2016-9962, CVE-2024-21626."""
        for kind in ("createRuntime", "createContainer", "poststart"):
            with open(f"{self.notes}/{kind}", encoding="utf-8") as file:
                self.assertEqual(file.read(), "0 1 2 ", kind)
        for place in ("startContainer", "first"):
            with open(f"{self.root}/{place}", encoding="utf-8") as file:
                self.assertEqual(file.read(), "0 1 2 ", place)
        done = self.inside("sh", "-c", LIST)
        self.assertEqual(done.stdout, b"0 1 2 ", done.stderr)

    def test_nothing_of_the_caller_is_open_in_what_stays_behind(self):
        # Without "/", which others have open in their own trees.
        leaked = {os.readlink(f"/proc/self/fd/{fd}") for fd in self.leaks} - {"/"}
        self.assertEqual(len(leaked), 3)
        self.call("exec", "--detach", "--pid-file", f"{self.notes}/pid", self.name, "sleep", "1000")
        with open(f"{self.notes}/pid", encoding="utf-8") as file:
            standins = [state(self.name)["pid"], int(file.read())]
        machine = children(standins[0])
        self.assertEqual(len(machine), 1)
        self.assertTrue(set(node_makers()) & set(children(machine[0])), "its helper is there")
        for pid in [*standins, *machine, *node_makers()]:
            found = {os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
            self.assertEqual(found & leaked, set(), pid)
        os.kill(standins[1], signal.SIGTERM)

    def test_no_working_directory_is_a_descriptor(self):
        """CVE-2024-21626."""
        for number in range(3, 10):
            for cwd in (f"/proc/self/fd/{number}/../..", f"/way{number}"):
                with self.subTest(cwd=cwd):
                    done = nacre("exec", "--cwd", cwd, self.name, "ls")
                    self.assert_one_line_error(done, f'chdir to cwd (\\"{cwd}\\")', status=255)

    def test_a_file_is_hidden_by_the_kernels_null(self):
        """CVE-2025-31133."""
        done = self.inside("sh", "-c", "cat /hidden; stat -c '%F %t:%T' /hidden; echo x > /hidden; grep -c root /etc/passwd")
        self.assertEqual(done.stdout, b"character special file 1:3\n1\n", done.stderr)

    def test_the_guests_first_program_cannot_be_changed(self):
        """CVE-2019-5736."""
        # A process that is guest-init's program, with the rights of the container; as the interpreter of a script too.
        done = self.inside("/evil")
        self.assertIn(b"guest-init runs only as the first process of a machine", done.stderr)
        done = self.inside("/proc/self/exe")
        self.assertIn(b"guest-init runs only as the first process of a machine", done.stderr)


class Programs(HostileTest):
    def test_the_runtimes_program_in_the_guest_is_read_only(self):
        """CVE-2019-5736: the container's first process is the program that would have executed its own."""
        container, bundle = self.container(), self.bundle("/proc/self/exe")
        subprocess.run([NACRE, "run", "--detach", "--bundle", bundle.path, container], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=PATIENCE)
        done = nacre("exec", container, "sh", "-c",
                     "readlink /proc/1/exe; (echo x >> /proc/1/exe) 2>&1; chmod 4777 /proc/1/exe 2>&1; "
                     "chown 7 /proc/1/exe 2>&1; exec 3< /proc/1/exe; (echo x >> /proc/self/fd/3) 2>&1")
        lines = done.stdout.decode().splitlines()
        self.assertEqual(lines[0], "/init", done)
        self.assertEqual([line.rpartition(": ")[2] for line in lines[1:]], ["Read-only file system"] * 4, lines)


class Refused(HostileTest):
    """Containers that are not made. Of each kind one; guest-init's own tests have the rest."""

    def attempt(self, prepare, change=None):
        bundle = self.bundle("true", copy=True, change=change)
        prepare(f"{bundle.path}/rootfs")
        return bundle

    def test_a_link_to_a_descriptor_is_no_working_directory(self):
        bundle = self.attempt(lambda root: os.symlink("/proc/self/fd/7", f"{root}/way"),
                              lambda config: config["process"].update(cwd="/way"))
        self.assert_one_line_error(nacre("run", "--bundle", bundle.path, self.container()), "make cwd")

    def test_a_link_is_no_console(self):
        """CVE-2025-52565."""
        def prepare(root):
            os.makedirs(f"{root}/dev", exist_ok=True)
            os.symlink("/etc/passwd", f"{root}/dev/console")

        def change(config):
            without_dev(config)
            config["mounts"].append({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                                     "options": ["newinstance", "ptmxmode=0666"]})
            config["process"]["terminal"] = True
        bundle = self.attempt(prepare, change)
        output, status = on_terminal(NACRE, "run", "--bundle", bundle.path, self.container())
        self.assertEqual(status, 1)
        self.assertIn("/dev/console: a symbolic link", output)


class Neighbour(HostileTest):
    """Another container that shares a volume, or whoever else may write there."""

    def setUp(self):
        super().setUp()
        self.top = tempfile.mkdtemp(dir="/srv")
        self.addCleanup(shutil.rmtree, self.top)
        self.volume, self.outside = f"{self.top}/volume", f"{self.top}/outside"
        for path in (f"{self.volume}/place", self.outside):
            os.makedirs(path)

    def exchange(self, stop):
        """Puts a link in the place of the directory and back, for as long as it may."""
        place, link, aside = (f"{self.volume}/{name}" for name in ("place", "link", "aside"))
        os.symlink(self.outside, link)
        while not stop.is_set():
            os.rename(place, aside)
            os.rename(link, place)
            os.rename(place, link)
            os.rename(aside, place)

    def test_mount_points_stay_in_the_containers_root(self):
        """CVE-2021-30465, CVE-2024-45310: nothing is made on the host where the link leads."""
        def change(config):
            bind(config, self.volume, "/volume")
            for number in range(30):
                place = f"/volume/place/{number}"
                config["mounts"].append({"destination": f"{place}/tmpfs", "type": "tmpfs", "source": "tmpfs"})
                bind(config, "/etc/hostname", f"{place}/file")
        bundle = self.bundle("true", copy=True, change=change)
        os.makedirs(f"{bundle.path}/rootfs{self.outside}")
        stop = threading.Event()
        neighbour = threading.Thread(target=self.exchange, args=(stop,))
        neighbour.start()
        try:
            for _ in range(2):
                nacre("run", "--bundle", bundle.path, self.container())  # may fail: a name is away at times
        finally:
            stop.set()
            neighbour.join()
        self.assertEqual(os.listdir(self.outside), [])

    def test_a_set_gid_bit_is_not_inherited(self):
        """CVE-2022-0358 (virtiofsd): whoever is not of the directory's group makes no set-gid program of it."""
        script = ("import os, stat; os.umask(0); os.chdir('/volume'); os.mkdir('by-mkdir', 0o2775); "
                  "os.open('by-open', os.O_CREAT | os.O_WRONLY, 0o2775); os.mknod('by-mknod', 0o2775 | stat.S_IFREG); "
                  "os.mknod('by-mkfifo', 0o2775 | stat.S_IFIFO); "
                  "print(oct(os.fstat(os.open('.', os.O_TMPFILE | os.O_WRONLY, 0o2775)).st_mode)); "
                  "os.chmod('by-open', 0o2775); os.symlink('x', 'by-symlink'); "
                  "open('program', 'r+').write('#!'); "
                  "print([(name, oct(os.lstat(name).st_mode), os.lstat(name).st_gid) for name in sorted(os.listdir())])")

        def change(config):
            bind(config, self.volume, "/volume")
            config["process"]["user"] = {"uid": 1000, "gid": 1000}
        bundle = self.bundle("/usr/bin/python3", "-c", script, rootfs=DEBIAN, change=change)
        seen = []
        for program in ("runc", NACRE):
            shutil.rmtree(self.volume)
            os.makedirs(self.volume)
            os.chown(self.volume, 0, 77)
            os.chmod(self.volume, 0o2777)
            shutil.copy(f"{BUSYBOX}/bin/busybox", f"{self.volume}/program")
            os.chmod(f"{self.volume}/program", 0o2777)
            done = run(program, "run", "--bundle", bundle.path, self.container())
            seen.append((done.stdout.decode(), done.stderr.decode()))
        self.assertIn("('by-open', '0o100775', 77)", seen[0][0], seen[0])
        self.assertEqual(seen[1], seen[0])


if __name__ == "__main__":
    main()
