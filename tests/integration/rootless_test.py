# SPDX-License-Identifier: Apache-2.0
"""Tests rootless containers as runc and podman know them. Their user may open /dev/kvm and has no other privilege."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

from support import BUSYBOX, User, children, install, main, processes, wait_until
from vmm_test import make_initramfs

def setUpModule():
    setUpModule.nacre = install()
    setUpModule.user = User()


def tearDownModule():
    wait_until(lambda: not processes("vmm") and not processes("nacre"), "no VM is left")


class Plain(unittest.TestCase):
    """Tests bundles that `nacre spec --rootless` writes, some of them also under runc."""

    def setUp(self):
        self.user = setUpModule.user
        self.bundle, self.config = self.user.bundle(setUpModule.nacre)
        self.addCleanup(shutil.rmtree, self.bundle)
        self.addCleanup(self.user.run, setUpModule.nacre, "delete", "--force", "x")

    def write(self, *args):
        self.config["process"]["args"] = args
        with open(f"{self.bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(self.config, file)

    def test_what_the_process_sees(self):
        self.write("sh", "-c", "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; echo it >/file; stat -c %u:%g "
                   "/file /bin; cat /file; grep Cap /proc/self/status; rm /file; cat /proc/mounts | grep -c ' /sys '")
        ours, theirs = (self.user.run(runtime, "run", "--bundle", self.bundle, "x")
                        for runtime in (setUpModule.nacre, "runc"))
        self.assertEqual((ours.returncode, theirs.returncode), (0, 0), ours.stderr + theirs.stderr)
        self.assertEqual(ours.stdout.decode(), theirs.stdout.decode())

    def test_files_are_the_users(self):
        self.write("sh", "-c", "mkdir /dir; echo it >/dir/file; exit 7")
        self.assertEqual(self.user.run(setUpModule.nacre, "run", "--bundle", self.bundle, "x").returncode, 7)
        info = os.stat(f"{self.bundle}/rootfs/dir/file")
        self.assertEqual((info.st_uid, info.st_gid), (User.UID, User.UID))

    def test_life(self):
        self.write("sleep", "1000")

        def nacre(*argv, status=0):
            done = self.user.run(setUpModule.nacre, *argv)
            self.assertEqual(done.returncode, status, done.stderr)
            return done.stdout.decode()
        self.user.detach(setUpModule.nacre, "run", "--detach", "--bundle", self.bundle, "x")
        self.assertEqual(os.stat(f"{self.user.runtime_dir}/nacre").st_mode & 0o7777, 0o1700)
        self.assertRegex(nacre("list"), rf"x +\d+ +running .* {User.NAME}\n")
        (vmm,) = children(json.loads(nacre("state", "x"))["pid"])
        directories = [path for path in os.scandir(f"/proc/{vmm}/fd") if os.path.isdir(path)]
        self.assertGreaterEqual(len(directories), 2)
        for directory in directories:  # `..` must not lead out of the jail
            self.assertEqual([name for name in os.listdir(f"{directory.path}/../../..") if name in ("version", "work")], [])
        self.assertEqual(nacre("exec", "x", "cat", "/proc/1/cmdline"), "sleep\0001000\0")
        nacre("exec", "x", "sh", "-c", "exit 5", status=5)
        self.assertIn("sleep 1000", nacre("ps", "x"))
        nacre("pause", "x")
        nacre("resume", "x")
        nacre("kill", "x", "KILL")
        wait_until(lambda: json.loads(nacre("state", "x"))["status"] == "stopped", "it has ended")
        nacre("delete", "x")
        self.assertEqual(os.listdir(f"{self.user.runtime_dir}/nacre"), [])

    def test_what_he_may_not(self):
        self.write("true")
        mapping = {"containerID": 0, "hostID": 0, "size": 1}
        for linux, words in (({"uidMappings": [mapping]}, "the only id that a user without privilege may map is his own"),
                             ({"namespaces": [{"type": "mount"}, {"type": "uts"}], "uidMappings": [], "gidMappings": []},
                              "rootless container requires user namespaces")):
            self.config["linux"].update(linux)
            self.write("true")
            done = self.user.run(setUpModule.nacre, "run", "--bundle", self.bundle, "x")
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
            self.assertIn(words, done.stderr.decode())
        self.assertIn(words, self.user.run("runc", "run", "--bundle", self.bundle, "x").stderr.decode())


class Vmm(unittest.TestCase):
    def test_a_kernel_of_ones_own(self):
        user = setUpModule.user
        share = tempfile.mkdtemp(dir=user.home)
        with open(f"{share}/in", "w", encoding="ascii") as file:
            file.write("from the host\n")
        user.own(share)
        script = "/bin/busybox mount -t virtiofs x /mnt; /bin/busybox cat /mnt/in; echo it >/mnt/out; /bin/busybox poweroff -f"
        initrd = make_initramfs(tempfile.mkdtemp(), script)
        os.chmod(os.path.dirname(initrd), 0o755)
        done = user.run("/opt/nacre/bin/vmm", "--kernel", "/opt/nacre/lib/nacre/vmlinux", "--initrd", initrd, "--cmdline",
                        "console=ttyS0 quiet", "--fs", f"tag=x,path={share}")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"from the host", done.stdout)
        self.assertEqual(os.stat(f"{share}/out").st_uid, User.UID)


class Podman(unittest.TestCase):
    """Tests rootless podman.

    Without --userns, a container is in podman's own user namespace, with the user's subordinate ids.
    """

    @classmethod
    def setUpClass(cls):
        cls.user = setUpModule.user
        image = f"{cls.user.home}/image.tar"
        subprocess.run(["tar", "-C", BUSYBOX, "-cf", image, "."], check=True)
        cls.engine("podman", "import", image, "busybox")

    @classmethod
    def tearDownClass(cls):
        cls.engine("podman", "system", "reset", "--force")

    @classmethod
    def engine(cls, *argv, status=0):
        done = cls.user.run(*argv)
        if done.returncode != status:
            raise AssertionError(f"{argv}: {done.returncode} {done.stderr.decode()}")
        return done.stdout.decode()

    def podman(self, *argv, runtime=None, **options):
        return self.engine("podman", "--cgroup-manager", "cgroupfs", "--runtime", runtime or setUpModule.nacre, *argv,
                           **options)

    def test_ids(self):
        for arguments, script in (
                ([], "id; touch /x; chown 5:6 /x; stat -c %u:%g /x"),
                (["--userns", "keep-id"], "id; touch /tmp/x; stat -c %u:%g /tmp/x; cat /proc/self/uid_map"),
                (["--user", "7:8", "--group-add", "9"], "id; touch /tmp/x; stat -c %u:%g /tmp/x")):
            outputs = [self.podman("run", "--rm", "--network", "none", *arguments, "busybox", "sh", "-c", script,
                                   runtime=runtime) for runtime in (setUpModule.nacre, "runc")]
            self.assertEqual(*outputs)

    def test_volumes_have_the_ids_of_the_host(self):
        directory = tempfile.mkdtemp(dir=self.user.home)
        self.user.own(directory)
        self.podman("run", "--rm", "--network", "none", "--volume", f"{directory}:/v", "busybox", "sh", "-c",
                    "touch /v/root /v/other; chown 5:5 /v/other")
        self.assertEqual([os.stat(f"{directory}/{name}").st_uid for name in ("root", "other")], [User.UID, User.SUBORDINATE + 4])
        shutil.rmtree(directory)

    def test_life(self):
        self.podman("run", "--detach", "--name", "one", "--network", "none", "--memory", "64m", "busybox", "sleep", "1000")
        self.assertEqual(self.podman("exec", "one", "echo", "hello"), "hello\n")
        self.assertIn("sleep 1000", self.podman("top", "one"))
        self.assertIn("Up", self.podman("ps"))
        self.podman("exec", "one", "sh", "-c", "exit 3", status=3)
        self.podman("rm", "--force", "--time", "0", "one")

    def test_a_pod_is_one_vm(self):
        self.podman("pod", "create", "--name", "pod", "--share-parent=false", "--network", "none", "--infra-image",
                    "busybox", "--infra-command", "sleep 1000")
        self.podman("run", "--detach", "--pod", "pod", "--name", "two", "busybox", "sleep", "1000")
        self.assertEqual(self.podman("exec", "two", "hostname"), "pod\n")
        self.assertEqual(len(processes("vmm")), 1)
        self.podman("pod", "rm", "--force", "--time", "0", "pod")


if __name__ == "__main__":
    main()
