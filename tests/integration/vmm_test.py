# SPDX-License-Identifier: Apache-2.0
"""`vmm` on its own: stock kernels, the ways a guest ends, and its errors."""

import os
import re
import select
import socket
import subprocess
import tempfile
import time
import unittest

from support import KERNEL, PATIENCE, STOCK_KERNEL, VMM, main, run, wait_until

MIB = 1 << 20

INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
/bin/busybox echo "init: $(/bin/busybox grep -c ^processor /proc/cpuinfo) CPUs, Linux $(/bin/busybox uname -r)"
%s
"""

SHELL = "exec /bin/busybox sh -i"


def make_initramfs(folder, script):
    """A cpio archive with busybox and /init."""
    tree = os.path.join(folder, "tree")
    os.makedirs(f"{tree}/bin")
    os.makedirs(f"{tree}/dev")
    subprocess.run(["cp", "/bin/busybox", f"{tree}/bin/"], check=True)
    os.mknod(f"{tree}/dev/console", 0o600 | 0o020000, os.makedev(5, 1))
    with open(f"{tree}/init", "w", encoding="utf-8") as file:
        file.write(INIT % script)
    os.chmod(f"{tree}/init", 0o755)
    path = os.path.join(folder, "initramfs.cpio")
    with open(path, "wb") as out:
        subprocess.run("find . | cpio --quiet -o -H newc", shell=True, cwd=tree, stdout=out, check=True)
    return path


def resident(pid):
    """Returns the MiB of the host's memory that a process uses."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) >> 8


class Console:
    """A vmm with its serial console on pipes."""

    def __init__(self, *argv, pass_fds=()):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        pass_fds=pass_fds)
        self.output = b""

    def expect(self, text, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while text not in self.output:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if not chunk:
                raise AssertionError(f"no {text!r} in:\n{self.output.decode(errors='replace')}")
            self.output += chunk

    def type(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def end(self, seconds=PATIENCE):
        try:
            rest, _ = self.process.communicate(timeout=seconds)
            self.output += rest
            return self.process.returncode
        finally:
            self.process.kill()


class VmmTest(unittest.TestCase):
    def initramfs(self, script):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return make_initramfs(folder.name, script)

    def boot(self, *options, kernel=KERNEL, script=SHELL, cmdline="console=ttyS0 panic=-1 quiet"):
        console = Console(VMM, "--kernel", kernel, "--initrd", self.initramfs(script), "--cmdline", cmdline, *options)
        self.addCleanup(console.process.kill)
        return console


class StockKernel(VmmTest):
    def shell(self, cpus):
        console = self.boot("--cpus", str(cpus), kernel=STOCK_KERNEL)
        console.expect(b"init: %d CPUs, Linux " % cpus)
        console.expect(b"cloud-amd64")
        console.expect(b"# ")
        console.type(b"echo answer $((6*7))")
        console.expect(b"answer 42")
        console.type(b"busybox poweroff -f")
        self.assertEqual(console.end(), 0)

    def test_shell_on_the_serial_console_with_1_vcpu(self):
        self.shell(1)

    def test_shell_on_the_serial_console_with_4_vcpus(self):
        self.shell(4)


class Ends(VmmTest):
    def test_each_end_has_its_status(self):
        for script, status in (("busybox poweroff -f", 0), ("busybox reboot -f", 3), ("exit 1  # panic=-1", 3)):
            with self.subTest(script=script):
                console = self.boot(script=f"/bin/{script}" if script.startswith("busybox") else script)
                self.assertEqual(console.end(), status, console.output)

    def test_triple_fault(self):
        console = self.boot(script="/bin/busybox reboot -f", cmdline="console=ttyS0 quiet reboot=t")
        self.assertEqual(console.end(), 4, console.output)
        self.assertIn(b"triple fault", console.output)

    def test_a_panic_without_a_console(self):
        console = self.boot("--no-console", script="exit 11",
                            cmdline="loglevel=1 8250.nr_uarts=0 panic=-1 earlycon=uart8250,io,0x3f8")
        self.assertEqual(console.end(), 3, console.output)
        lines = console.output.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], r"^vmm: the guest's kernel said: Kernel panic - not syncing: Attempted to kill init! "
                                   r"exitcode=0x\w+; CPU: 0 .* Comm: init ")

    def test_sigterm(self):
        console = self.boot()
        console.expect(b"# ")
        console.process.terminate()
        self.assertEqual(console.end(), 6)

    def test_64_vcpus_and_memory_beyond_the_hole(self):
        console = self.boot("--cpus", "64", "--memory", "3584M", script="/bin/busybox free -m; /bin/busybox poweroff -f")
        console.expect(b"init: 64 CPUs", 600)
        self.assertEqual(console.end(), 0)
        total = int([line for line in console.output.splitlines() if line.startswith(b"Mem:")][0].split()[1])
        self.assertGreater(total, 3200)


class Growth(VmmTest):
    def ask(self, text):
        self.control.send(text.encode())
        return self.control.recv(512).decode()

    def size(self):
        return {name: int(value) for name, value in (word.split("=") for word in self.ask("resize").split()[1:])}

    def figure(self, console, command):
        """Returns the number that a command in the guest prints."""
        self.asked += 1
        console.type(b"echo figure-%d-$(%s)-" % (self.asked, command.encode()))
        pattern = re.compile(rb"figure-%d-(\d+)-" % self.asked)
        while not (found := pattern.search(console.output)):
            console.output += os.read(console.process.stdout.fileno(), 4096)
        return int(found[1])

    def test_memory_and_cpus_come_and_go(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.asked = 0
        path = f"{folder.name}/control"
        script = ("/bin/busybox mkdir -p /sys /tmp; /bin/busybox mount -t sysfs sys /sys; "
                  "/bin/busybox mount -t tmpfs -o size=600m tmp /tmp; " + SHELL)
        console = self.boot("--memory", "96M", "--max-memory", "1G", "--max-cpus", "4", "--control", path, script=script,
                            cmdline="console=ttyS0 panic=-1 quiet memory_hotplug.online_policy=auto-movable")
        console.expect(b"init: 1 CPUs, ")
        console.expect(b"# ")
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(self.control.close)
        self.control.connect(path)
        total = "/bin/busybox free -m | /bin/busybox awk '/Mem/ { print $2 }'"
        before = self.figure(console, total)
        self.assertLess(before, 96)
        self.assertEqual(self.size(), {"memory": 96 * MIB, "present": 96 * MIB, "max_memory": 1 << 30, "cpus": 1,
                                       "max_cpus": 4})
        for wrong, words in ((f"memory={95 * MIB}", "memory: "), (f"memory={2 << 30}", "memory: "),
                             (f"memory={96 * MIB + 4096}", "not a multiple"), ("cpus=5", "cpus: 5 asked"),
                             ("cpus=0", "cpus: 0"), ("color=red", "unknown word")):
            self.assertIn(words, self.ask("resize " + wrong))

        self.ask(f"resize memory={600 * MIB} cpus=2")
        wait_until(lambda: self.size()["present"] == 600 * MIB, "the guest takes memory")
        self.assertGreater(self.figure(console, total), before + 480)
        self.assertEqual(self.figure(console, "/bin/busybox nproc"), 1)
        console.type(b"echo 1 >/sys/devices/system/cpu/cpu1/online")
        self.assertEqual(self.figure(console, "/bin/busybox nproc"), 2)
        # What was not asked for is not there.
        console.type(b"/bin/busybox dd if=/dev/zero of=/tmp/x bs=1M count=400 2>/dev/null")
        self.assertEqual(self.figure(console, "/bin/busybox stat -c %s /tmp/x"), 400 * MIB)
        self.assertGreater(resident(console.process.pid), 400)

        # Not while it is in use, and then all but a block or two that hold something of the kernel's own.
        self.ask(f"resize memory={96 * MIB}")
        wait_until(lambda: self.size()["present"] < 600 * MIB, "the guest gives memory back")
        console.type(b"/bin/busybox rm /tmp/x; echo 0 >/sys/devices/system/cpu/cpu1/online")
        self.assertEqual(self.figure(console, "/bin/busybox nproc"), 1)
        # A driver that did not succeed tries again by itself only after 50 seconds.
        self.ask(f"resize memory={98 * MIB}")
        self.ask(f"resize memory={96 * MIB}")
        wait_until(lambda: self.size()["present"] <= 104 * MIB, "the guest gives memory back")
        self.assertLess(resident(console.process.pid), 150)
        self.assertLessEqual(self.figure(console, total), before + 8)

        # And again.
        self.ask(f"resize memory={224 * MIB} cpus=4")
        wait_until(lambda: self.size()["present"] == 224 * MIB, "the guest takes memory again")
        for cpu in (1, 3):
            console.type(b"echo 1 >/sys/devices/system/cpu/cpu%d/online" % cpu)
        self.assertEqual(self.figure(console, "/bin/busybox nproc"), 3)
        console.type(b"/bin/busybox poweroff -f")
        self.assertEqual(console.end(), 0)


class Options(VmmTest):
    def test_toml_file_is_the_same_as_options(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/vm.toml", "w", encoding="utf-8") as file:
                file.write(f"kernel = '{KERNEL}'\ninitrd = '{self.initramfs('/bin/busybox poweroff -f')}'\n"
                           "cmdline = 'console=ttyS0 quiet'\nmemory = '256M'\ncpus = 2\n")
            done = run(VMM, "--config", f"{folder}/vm.toml")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"init: 2 CPUs", done.stdout)

    def test_shares_files(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("rw", "ro"):
                os.mkdir(f"{folder}/{name}")
                with open(f"{folder}/{name}/in", "w", encoding="utf-8") as file:
                    file.write(f"{name} from the host\n")
            script = ("cd /mnt; /bin/busybox mkdir rw ro; /bin/busybox mount -t virtiofs rw rw; "
                      "/bin/busybox mount -t virtiofs ro ro; /bin/busybox cat rw/in ro/in; echo from the guest > rw/out; "
                      "echo never > ro/out; /bin/busybox poweroff -f")
            console = self.boot("--fs", f"tag=rw,path={folder}/rw", "--fs", f"tag=ro,path={folder}/ro,readonly",
                                script=script)
            self.assertEqual(console.end(), 0, console.output)
            self.assertIn(b"rw from the host", console.output)
            self.assertIn(b"ro from the host", console.output)
            self.assertIn(b"Read-only file system", console.output)
            with open(f"{folder}/rw/out", encoding="utf-8") as file:
                self.assertEqual(file.read(), "from the guest\n")
            self.assertFalse(os.path.exists(f"{folder}/ro/out"))

    def test_shares_more_while_it_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("share", "later"):
                os.mkdir(f"{folder}/{name}")
            with open(f"{folder}/later/file", "w", encoding="utf-8") as file:
                file.write("from the host\n")
            path = f"{folder}/control"
            script = "/bin/busybox mount -t virtiofs share /mnt; cd /mnt; " + SHELL
            console = self.boot("--fs", f"tag=share,path={folder}/share", "--control", path, script=script)
            console.expect(b"# ")
            control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.addCleanup(control.close)
            control.connect(path)
            tree = os.open(f"{folder}/later", os.O_PATH | os.O_DIRECTORY)
            self.addCleanup(os.close, tree)

            def ask(text, *descriptors):
                socket.send_fds(control, [text.encode()], descriptors)
                return control.recv(512).decode()
            self.assertIn("no share has the tag other", ask("share tag=other name=later", tree))
            self.assertIn("no O_PATH descriptor", ask("share tag=share name=later"))
            self.assertRegex(ask("share tag=share name=later", tree), "^size ")
            self.assertIn("there is a tree named later", ask("share tag=share name=later", tree))
            console.type(b"/bin/busybox cat later/file; echo from the guest > later/made; echo fine-$?")
            console.expect(b"from the host")
            console.expect(b"fine-0")
            self.assertRegex(ask("share tag=share name=other", tree), "^size ")
            self.assertRegex(ask("unshare tag=share name=other"), "^size ")
            self.assertIn("has not shared other", ask("unshare tag=share name=other"))
            console.type(b"/bin/busybox ls other || echo none-$?")
            console.expect(b"none-1")
            control.close()
            console.type(b"/bin/busybox sleep 2; /bin/busybox cat later/made || echo gone-$?")
            console.expect(b"gone-1")
            console.type(b"/bin/busybox poweroff -f")
            self.assertEqual(console.end(), 0)
            with open(f"{folder}/later/made", encoding="utf-8") as file:
                self.assertEqual(file.read(), "from the guest\n")

    def test_errors_are_one_line(self):
        for argv, status, words in (
                (["--kernel", "/nonesuch"], 1, "/nonesuch: no such file or directory"),
                (["--kernel", "/etc/passwd"], 1, "neither an ELF kernel nor a bzImage"),
                (["--kernel", "/etc"], 1, "not a regular file"),
                (["--kernel", KERNEL, "--memory", "900G"], 1, "no memory for the guest"),
                (["--kernel", KERNEL, "--memory", "16M"], 1, "more than the guest has"),
                (["--kernel", KERNEL, "--initrd", "/nonesuch"], 1, "/nonesuch"),
                (["--kernel", KERNEL, "--fs", "tag=a,path=/nonesuch"], 1, "/nonesuch"),
                (["--kernel", KERNEL, "--cpus", "65"], 2, "cpus must be 1 to 64"),
                (["--kernel", KERNEL, "--memory", "5 apples"], 2, "is not a size"),
                (["--kernel", KERNEL, "--disk", "path=/etc/passwd"], 2, "--disk"),
                (["--kernel", KERNEL, "--net", "tap=tap0"], 1, "tap tap0 does not exist"),
                (["--colour", "red"], 2, "--colour"),
                ([], 2, "kernel is missing")):
            with self.subTest(argv=argv):
                done = run(VMM, *argv)
                text = done.stderr.decode()
                self.assertEqual((done.returncode, done.stdout), (status, b""), text)
                self.assertEqual(len(text.splitlines()), 1, text)
                self.assertIn(words, text)

    def test_check_says_yes_here(self):
        done = run(VMM, "check")
        self.assertEqual((done.returncode, done.stdout), (0, b"this host's KVM can run Linux guests\n"), done.stderr)


if __name__ == "__main__":
    main()
