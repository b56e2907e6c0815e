# SPDX-License-Identifier: Apache-2.0
"""SELinux on the host: the container's labels are on the VM and on what the host mounts, as under runc.

The lab has SELinux with Debian's policy for this test (--lsm selinux), and is permissive. That policy has no
container_t; it knows libvirt's types for virtual machines. The class Enforcing loads another policy, which has the types of
container-selinux, and in it Nacre and runc run while SELinux enforces.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess

from support import (INITRAMFS, KERNEL, NACRE, VMM, Bundle, ContainerTest, alive, children, command, copy_rootfs, detach,
                     main, nacre, read, run, wait_until, write)

PROCESS = "system_u:system_r:svirt_t:s0:c1,c2"
FILES = "system_u:object_r:svirt_image_t:s0:c1,c2"
ENFORCE = "/sys/fs/selinux/enforce"
POLICY = os.environ.get("NACRE_SELINUX_POLICY", "")  # tests/support/selinux-policy makes it
LOWER = "/srv/selinux"


def label_of(pid):
    with open(f"/proc/{pid}/attr/current", encoding="ascii") as file:
        return file.read().strip("\n\0")


def label_of_file(path):
    return os.getxattr(path, "security.selinux").decode().strip("\0")


def set_label(path, kind, level="s0"):
    os.setxattr(path, "security.selinux", f"system_u:object_r:{kind}:{level}".encode(), follow_symlinks=False)


def set_labels(top, kind, level="s0"):
    for folder, folders, files in os.walk(top):
        for name in (".", *folders, *files):
            set_label(os.path.join(folder, name), kind, level)


@contextlib.contextmanager
def enforcing():
    write(ENFORCE, "1")
    try:
        yield
    finally:
        write(ENFORCE, "0")


def labelled(config):
    config["process"]["selinuxLabel"] = PROCESS
    config["linux"]["mountLabel"] = FILES
    for kind in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][kind].append("CAP_MKNOD")
    config["mounts"].append({"destination": "/layers", "type": "overlay", "source": "overlay",
                             "options": [f"lowerdir={LOWER}/one:{LOWER}/two"]})


class Enforcing(ContainerTest):
    """An enforcing policy with the types of container-selinux and the rules of selinux/nacre.cil."""
    TOP = "/srv/enforcing"
    LEVEL = "s0:c1,c2"
    # What the caller hands down, its pipes for one, has to be of a level that containers may use.
    CALLER = "unconfined_u:unconfined_r:unconfined_t:s0"
    # Labels that files have on a host; the lab's have none.
    HOST = {"/dev/kvm": "kvm_device_t", "/dev/fuse": "fuse_device_t", "/dev/null": "null_device_t", "/run": "var_run_t"}
    PROGRAMS = {"nacre": NACRE, "vmm": VMM, "runc": shutil.which("runc")}

    @classmethod
    def setUpClass(cls):
        with open(POLICY, "rb") as file:
            content = file.read()
        with open("/sys/fs/selinux/load", "wb", buffering=0) as load:
            load.write(content)
        write("/proc/sys/kernel/printk_ratelimit", "0")  # or the log would leave denials out
        # This and other file systems in memory can keep labels.
        os.makedirs(cls.TOP)
        subprocess.run(["mount", "-t", "tmpfs", "enforcing", cls.TOP], check=True)
        os.makedirs(f"{cls.TOP}/bin")
        os.makedirs(f"{cls.TOP}/lib")
        for name, source in cls.PROGRAMS.items():
            shutil.copy(source, f"{cls.TOP}/bin/{name}")
        for source in (KERNEL, INITRAMFS):
            shutil.copy(source, f"{cls.TOP}/lib")
        set_label(cls.TOP, "usr_t")
        set_labels(f"{cls.TOP}/bin", "container_runtime_exec_t")
        set_labels(f"{cls.TOP}/lib", "lib_t")
        for path, kind in cls.HOST.items():
            set_label(path, kind)
        shutil.rmtree("/run/nacre", ignore_errors=True)  # it gets its label when it is made
        write("/proc/self/attr/current", cls.CALLER)
        cls.environment = {**os.environ, "NACRE_VMM": f"{cls.TOP}/bin/vmm", "NACRE_KERNEL":
                           f"{cls.TOP}/lib/{os.path.basename(KERNEL)}", "NACRE_INITRAMFS":
                           f"{cls.TOP}/lib/{os.path.basename(INITRAMFS)}"}

    @classmethod
    def tearDownClass(cls):
        subprocess.run(["umount", "-l", cls.TOP], check=True)
        os.rmdir(cls.TOP)

    def bundle(self, *args, change=None):
        with Bundle(*args, copy=True) as made:
            path = f"{self.TOP}/{os.path.basename(made.path)}"
            copy_rootfs(made.path, path)
            config = made.config
        self.addCleanup(shutil.rmtree, path)
        config["process"]["selinuxLabel"] = f"system_u:system_r:container_t:{self.LEVEL}"
        config["linux"]["mountLabel"] = f"system_u:object_r:container_file_t:{self.LEVEL}"
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind] += ["CAP_CHOWN", "CAP_FOWNER", "CAP_MKNOD"]
        if change:
            change(config)
        write(f"{path}/config.json", json.dumps(config))
        set_labels(f"{path}/rootfs", "container_file_t", self.LEVEL)
        return path

    def call(self, program, *argv):
        return run(f"{self.TOP}/bin/{program}", *argv, env=self.environment)

    @staticmethod
    def denials():
        """Takes what the kernel has logged, and returns the lines about what SELinux has denied."""
        return [line for line in run("dmesg", "--read-clear").stdout.decode().splitlines() if "avc:  denied" in line]

    def start(self, program, path):
        """Starts a container in the background, and returns its id and pid."""
        container = self.container()
        # Not its output as pipes: the container would keep them open.
        done = subprocess.run([f"{self.TOP}/bin/{program}", "run", "--detach", "--bundle", path, "--pid-file", f"{path}/pid",
                               container], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env=self.environment, check=False)
        if done.returncode:
            self.fail(f"{program} run: status {done.returncode}, {self.denials()}")
        return container, int(read(f"{path}/pid"))

    def stopped(self, program, container):
        return json.loads(self.call(program, "state", container).stdout)["status"] == "stopped"

    def life(self, program):
        """Runs a container through its life, and returns what was said meanwhile."""
        script = ("id; echo text > file; cat file; chown 5 file; chmod 640 file; stat -c '%a %u' file; mkdir folder; "
                  "ln -s file link; mknod pipe p; mknod null c 1 3; ls -d file folder link pipe null; "
                  "rm -r file folder link pipe null")
        path = self.bundle("sh", "-c", "mkdir /first; cd /first; " + script + "; exec sleep 1000")
        said = []

        def call(*argv):
            done = self.call(program, *argv)
            self.assertEqual(done.returncode, 0, f"{program} {argv}: {done.stderr.decode()}")
            return done.stdout.decode()
        with enforcing():
            self.denials()
            container, pid = self.start(program, path)
            said.append(label_of(pid))
            said.append(call("exec", container, "sh", "-c", script))
            said.append(len(call("ps", container).splitlines()))
            call("events", "--stats", container)
            call("pause", container)
            call("resume", container)
            call("update", "--memory", "128m", container)
            # As podman looks for the container's processes.
            look = "read name < /proc/1/comm; echo $name"
            said.append(run("nsenter", "--target", str(pid), "--mount", "sh", "-c", look).stdout)
            call("kill", container, "KILL")
            wait_until(lambda: self.stopped(program, container), "stopped")
            call("delete", container)
            self.assertEqual(self.denials(), [], program)
        return said

    def test_a_container_runs_and_nothing_is_denied(self):
        theirs = self.life("runc")
        self.assertEqual(theirs[0], f"system_u:system_r:container_t:{self.LEVEL}")
        self.assertIn("640 5\n", theirs[1])
        self.assertEqual(self.life("nacre"), theirs)
        self.assertEqual(label_of_file("/run/nacre"), "unconfined_u:object_r:nacre_var_run_t:s0")

    def test_why_a_vm_has_ended_is_noted(self):
        """The stand-in still writes in its directory when it has the container's label, and an exec reads there."""
        path = self.bundle("sleep", "1000")
        with enforcing():
            self.denials()
            container, standin = self.start("nacre", path)
            running = subprocess.Popen([f"{self.TOP}/bin/nacre", "exec", container, "sh", "-c", "echo begun; sleep 1000"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=self.environment)
            self.assertEqual(running.stdout.readline(), b"begun\n")
            os.kill(children(standin)[0], signal.SIGKILL)
            said = running.communicate()[1].decode()
            wait_until(lambda: self.stopped("nacre", container), "stopped")
            self.assertEqual(self.denials(), [])
        self.assertIn("vmm was killed by signal 9", read(f"/run/nacre/{container}/vm.end"))
        self.assertIn("vmm was killed by signal 9", said)

    def test_what_the_policy_forbids_is_denied(self):
        """Files of another type, and of the right type with another container's categories."""
        volume = f"{self.TOP}/volume"
        files = {"own": ("container_file_t", self.LEVEL), "shared": ("container_file_t", "s0"),
                 "etc": ("etc_t", "s0"), "other": ("container_file_t", "s0:c1,c3")}
        os.mkdir(volume)
        self.addCleanup(shutil.rmtree, volume)
        set_label(volume, "container_file_t", self.LEVEL)
        for name, label in files.items():
            write(f"{volume}/{name}", name + "\n")
            set_label(f"{volume}/{name}", *label)
        script = "cd /volume; for name in own shared etc other; do cat $name; echo more >> $name; done"
        path = self.bundle("sh", "-c", script, change=lambda config: config["mounts"].append(
            {"destination": "/volume", "type": "bind", "source": volume, "options": ["bind", "rprivate"]}))
        seen = []
        for program in ("runc", "nacre"):
            with enforcing():
                self.denials()
                done = self.call(program, "run", "--bundle", path, self.container())
            said = [line for line in done.stderr.decode().splitlines() if "labels the VM" not in line]
            expected = {(f"container_t:{self.LEVEL}", ":".join(files[name])) for name in ("etc", "other")}
            denied = set()

            def read_log():  # a thread of the kernel's writes it
                for line in self.denials():
                    labels = re.search(r"scontext=\S+?:\S+?:(\S+) tcontext=\S+?:\S+?:(\S+) ", line)
                    self.assertTrue(labels, line)
                    self.assertIn(labels.groups(), expected, f"{program}: {line}")
                    denied.add(labels.groups())
                return denied == expected
            wait_until(read_log, f"{program} is denied {expected}")
            seen.append((done.stdout, said, {name: read(f"{volume}/{name}") for name in files}))
            for name in files:
                write(f"{volume}/{name}", name + "\n")
        self.assertEqual(seen[0][0], b"own\nshared\n", seen[0])
        self.assertEqual(seen[0][2]["other"], "other\n")
        self.assertEqual(seen[1], seen[0])


class SELinux(ContainerTest):
    def setUp(self):
        super().setUp()
        for name in ("one", "two"):
            os.makedirs(f"{LOWER}/{name}")
            with open(f"{LOWER}/{name}/{name}", "w", encoding="ascii") as file:
                file.write("content\n")
        self.addCleanup(shutil.rmtree, LOWER)

    def start(self, bundle, program=NACRE):
        """Returns the container's pid, and what the command said."""
        container = self.container()
        if program != NACRE:
            self.addCleanup(run, program, "delete", "--force", container)
        # Not its output as pipes: the container would keep them open.
        with open(f"{bundle.path}/log", "wb") as log:
            done = subprocess.run([program, "run", "--detach", "--pid-file", f"{bundle.path}/pid",
                                   "--bundle", bundle.path, container],
                                  check=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        with open(f"{bundle.path}/log", encoding="utf-8") as log:
            said = log.read()
        self.assertEqual(done.returncode, 0, said)
        with open(f"{bundle.path}/pid", encoding="ascii") as file:
            return container, int(file.read()), said

    def test_labels_are_where_runc_has_them(self):
        _, theirs, _ = self.start(self.bundle("sleep", "1000", copy=True, change=labelled), "runc")
        container, standin, said = self.start(self.bundle("sleep", "1000", copy=True, change=labelled))
        self.assertEqual(said.count("\n"), 1, said)
        self.assertIn("process.selinuxLabel: labels the VM on the host", said)
        self.assertEqual(label_of(theirs), PROCESS)
        (vmm,) = children(standin)
        (nodes,) = children(vmm)
        self.assertEqual((command(vmm), command(nodes)), ("vmm", "vmm-nodes"))
        processes = [standin, vmm, nodes]
        self.assertEqual([label_of(pid) for pid in processes], [PROCESS] * 3)
        for thread in os.listdir(f"/proc/{vmm}/task"):
            with open(f"/proc/{vmm}/task/{thread}/attr/current", encoding="ascii") as file:
                self.assertEqual(file.read().strip("\n\0"), PROCESS, thread)
        for place in ("dev", "layers/one", "layers/two"):
            self.assertEqual(label_of_file(f"/proc/{theirs}/root/{place}"), FILES, place)
            self.assertEqual(label_of_file(f"/proc/{standin}/root/{place}"), FILES, place)
        self.assertEqual(label_of_file(f"/proc/{vmm}/root/fs"), FILES)
        done = nacre("exec", container, "sh", "-c", "cat /layers/one /layers/two; echo a >f && mknod n c 1 3 && rm f n")
        self.assertEqual((done.returncode, done.stdout), (0, b"content\ncontent\n"), done.stderr)
        self.assertEqual(nacre("kill", container, "KILL").returncode, 0)
        wait_until(lambda: not alive(standin) and not alive(vmm), "the container has ended")

    def test_the_label_of_an_exec(self):
        container, _, _ = self.start(self.bundle("sleep", "1000", copy=True, change=labelled))
        other = PROCESS.replace("c1,c2", "c3,c4")
        pid_file = f"/run/{container}.pid"
        self.addCleanup(os.unlink, pid_file)
        for options, label in ((["--process-label", other], other), ([], PROCESS)):
            detach("exec", "--detach", "--pid-file", pid_file, *options, container, "sleep", "1000")
            with open(pid_file, encoding="ascii") as file:
                self.assertEqual(label_of(int(file.read())), label)

    def test_labels_that_the_policy_does_not_know(self):
        for section, field, wrong in (("process", "selinuxLabel", PROCESS.replace("svirt", "nonesuch")),
                                      ("linux", "mountLabel", FILES.replace("svirt", "nonesuch"))):
            bundle = self.bundle("true", copy=True, change=labelled)
            bundle.config[section][field] = wrong
            bundle.write()
            theirs = run("runc", "run", "--bundle", bundle.path, self.container())
            self.assertIn(b"invalid argument", theirs.stderr)
            done = nacre("run", "--bundle", bundle.path, self.container())
            lines = [line for line in done.stderr.decode().splitlines() if "labels the VM" not in line]
            self.assertEqual((done.returncode, done.stdout, len(lines)), (theirs.returncode, b"", 1), done.stderr)
            self.assertIn("invalid argument", lines[0])

    def test_a_label_that_an_enforcing_policy_refuses(self):
        """Debian's policy lets libvirt start svirt_t, and not an administrator."""
        bundle = self.bundle("true", copy=True, change=labelled)
        with enforcing():
            theirs = run("runc", "run", "--bundle", bundle.path, self.container())
            done = nacre("run", "--bundle", bundle.path, self.container())
        self.assertEqual(theirs.returncode, 1, theirs)
        lines = [line for line in done.stderr.decode().splitlines() if "labels the VM" not in line]
        self.assertEqual((done.returncode, done.stdout, len(lines)), (1, b"", 1), done.stderr)
        self.assertIn("permission denied", lines[0])


if __name__ == "__main__":
    main()
