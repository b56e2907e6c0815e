# SPDX-License-Identifier: Apache-2.0
"""Real programs on a real root filesystem (debootstrap: minbase, python3, gcc, nginx-light)."""

import hashlib
import os
import shutil
import stat

from support import DEBIAN, NACRE, ContainerTest, copy_rootfs, main, run

COMPILE = r"""
cat > /tmp/hello.c <<'END'
#include <stdio.h>
#include <sys/utsname.h>
int main(void) { struct utsname u; uname(&u); printf("hello from %s %s\n", u.sysname, u.release); return 3; }
END
gcc -O1 -Wall -o /tmp/hello /tmp/hello.c && /tmp/hello
"""

WORKERS = r"""
import hashlib, os
os.umask(0o027)
os.makedirs("/data/sub"); os.chmod("/data", 0o751)
def work(n):
    os.setgid(2000 + n); os.setuid(1000 + n)
    path = f"/data/sub/worker{n}"
    with open(path, "wb") as file:
        file.write(hashlib.sha256(b"%d" % n).digest() * 10000)
    os.chmod(path, 0o600 + n)
    os.utime(path, ns=(10**18 + n, 15 * 10**17 + n))
    os._exit(0)
os.chmod("/data/sub", 0o777)
pids = []
for n in range(8):
    pid = os.fork()
    if pid == 0: work(n)
    pids.append(pid)
print(sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
os.symlink("worker0", "/data/sub/link"); os.link("/data/sub/worker1", "/data/sub/hard")
os.mkfifo("/data/sub/fifo"); os.setxattr("/data/sub/worker2", "user.colour", b"green")
"""

NGINX = r"""
echo '<h1>served from a microVM</h1>' > /var/www/html/index.html
nginx
curl --silent --show-error --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1/
nginx -s quit
"""


SCHEDULING = r"""
import ctypes, os
print(os.sched_getscheduler(0) == os.SCHED_BATCH, os.nice(0), ctypes.CDLL(None).syscall(252, 1, 0))  # ioprio_get
"""


class Programs(ContainerTest):
    """One root filesystem for all, so the files that one writes are looked at on the host afterwards."""

    @classmethod
    def setUpClass(cls):
        # Not on tmpfs of the watched places: the copy stays for all tests of the class.
        cls.rootfs = "/srv/debian-rootfs"
        copy_rootfs(DEBIAN, cls.rootfs)

    def run_in_debian(self, *args, **options):
        def change(config):
            # apt-like root: nginx changes its user, and gcc wants space in /tmp.
            for kind in config["process"]["capabilities"].values():
                kind += ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID"]
        return self.run_container(*args, rootfs=self.rootfs, change=change, timeout=400, **options)

    def test_compiles_and_runs_a_c_program(self):
        done = self.run_in_debian("sh", "-c", COMPILE)
        self.assertEqual((done.returncode, done.stderr), (3, b""))
        self.assertTrue(done.stdout.startswith(b"hello from Linux "), done.stdout)
        self.assertNotIn(os.uname().release.encode(), done.stdout, "the kernel is the guest's own")

    def test_the_right_to_execute_is_as_under_runc(self):
        statuses = []
        for program in ("runc", NACRE):
            for capabilities in ([], ["CAP_DAC_OVERRIDE"]):
                def change(config, sets=capabilities):
                    config["process"]["user"] = {"uid": 1000, "gid": 100}
                    config["process"]["capabilities"] = {kind: sets for kind in config["process"]["capabilities"]}
                    config["process"]["capabilities"].update(inheritable=sets, ambient=sets)
                bundle = self.bundle("/roots/true", copy=True, change=change)
                os.mkdir(f"{bundle.path}/rootfs/roots")
                shutil.copy(f"{bundle.path}/rootfs/bin/busybox", f"{bundle.path}/rootfs/roots/true")
                os.chmod(f"{bundle.path}/rootfs/roots/true", 0o744)
                statuses.append(run(program, "run", "--bundle", bundle.path, self.container()).returncode)
        self.assertEqual(statuses, [1, 0, 1, 0])

    def test_python_workers_leave_the_right_files_on_the_host(self):
        done = self.run_in_debian("python3", "-c", WORKERS)
        self.assertEqual((done.returncode, done.stdout), (0, b"[0, 0, 0, 0, 0, 0, 0, 0]\n"), done.stderr)
        for n in range(8):
            path = f"{self.rootfs}/data/sub/worker{n}"
            info = os.lstat(path)
            self.assertEqual((info.st_uid, info.st_gid), (1000 + n, 2000 + n))
            self.assertEqual(stat.S_IMODE(info.st_mode), 0o600 + n)
            self.assertEqual((info.st_atime_ns, info.st_mtime_ns), (10**18 + n, 15 * 10**17 + n))
            with open(path, "rb") as file:
                self.assertEqual(file.read(), hashlib.sha256(b"%d" % n).digest() * 10000)
        sub = f"{self.rootfs}/data/sub"
        self.assertEqual(stat.S_IMODE(os.lstat(f"{self.rootfs}/data").st_mode), 0o751)
        self.assertEqual(os.readlink(f"{sub}/link"), "worker0")
        self.assertEqual(os.stat(f"{sub}/hard").st_ino, os.stat(f"{sub}/worker1").st_ino)
        self.assertTrue(stat.S_ISFIFO(os.lstat(f"{sub}/fifo").st_mode))
        self.assertEqual(os.getxattr(f"{sub}/worker2", "user.colour"), b"green")

    def test_scheduling_is_the_configurations(self):
        def change(config):
            config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
            config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
        done = self.run_container("python3", "-c", SCHEDULING, rootfs=self.rootfs, change=change)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"True 5 %d\n" % (2 << 13 | 6), b""))

    def test_a_sysctl_of_the_whole_kernel(self):
        """runc has to refuse it; here the kernel is the container's own."""
        def change(config):
            config["linux"]["sysctl"] = {"kernel.panic_on_oops": "0", "vm.swappiness": "7"}
        done = self.run_container("/bin/cat", "/proc/sys/kernel/panic_on_oops", "/proc/sys/vm/swappiness", change=change)
        self.assertEqual((done.stdout, done.returncode), (b"0\n7\n", 0), done.stderr)

    def test_nginx_serves_a_page_to_curl(self):
        done = self.run_in_debian("sh", "-c", NGINX)
        self.assertEqual((done.returncode, done.stdout), (0, b"<h1>served from a microVM</h1>\n"), done.stderr)


if __name__ == "__main__":
    main()
