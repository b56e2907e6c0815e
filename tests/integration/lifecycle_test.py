# SPDX-License-Identifier: Apache-2.0
"""Tests create, start, exec, kill and delete, many containers, and what happens if a part is killed."""

import concurrent.futures
import json
import os
import signal
import subprocess

from support import (INITRAMFS, NACRE, PATIENCE, ContainerTest, alive, children, main, nacre, processes, state, wait_until)

SEQUENTIAL = 100
PARALLEL = 20


class Lifecycle(ContainerTest):
    def create(self, *args, **options):
        """Returns container id and bundle of a created container."""
        container, bundle = self.container(), self.bundle(*args, **options)
        done = run_quietly(NACRE, "create", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pid", container)
        self.assertEqual(done.returncode, 0)
        return container, bundle

    def test_state_is_right_at_every_step(self):
        container, bundle = self.create("sleep", "1000")
        created = state(container)
        with open(f"{bundle.path}/pid", encoding="ascii") as file:
            pid = int(file.read())
        self.assertEqual((created["id"], created["status"], created["pid"]), (container, "created", pid))
        self.assertEqual(created["bundle"], bundle.path)
        self.assertTrue(alive(pid))
        listed = json.loads(nacre("list", "--format", "json").stdout)
        self.assertIn((container, "created"), [(entry["id"], entry["status"]) for entry in listed])
        self.assertEqual(nacre("list", "-q").stdout.decode().split(), [container])

        self.assertEqual(nacre("start", container).returncode, 0)
        self.assertEqual(state(container)["status"], "running")
        again = nacre("start", container)
        self.assert_one_line_error(again, "cannot start")
        self.assert_one_line_error(nacre("delete", container), "not stopped")

        self.assertEqual(nacre("kill", container, "SIGKILL").returncode, 0)
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")
        self.assertEqual(state(container)["pid"], 0)
        self.assert_one_line_error(nacre("kill", container, "TERM"), "container not running")
        self.assertEqual(nacre("delete", container).returncode, 0)
        self.assert_one_line_error(nacre("state", container), "does not exist")

    def test_a_container_that_handles_a_signal(self):
        container, _ = self.create("sh", "-c", "trap 'exit 5' TERM; echo ready >/ready; while :; do sleep 0.1; done",
                                   copy=True)
        pid = state(container)["pid"]
        self.assertEqual(nacre("start", container).returncode, 0)
        wait_until(lambda: nacre("exec", container, "test", "-e", "/ready").returncode == 0, "the trap is set")
        os.kill(pid, signal.SIGTERM)  # callers use kill(2) on the stand-in
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")

    def test_ten_execs_at_once(self):
        container, _ = self.create("sleep", "1000")
        self.assertEqual(nacre("start", container).returncode, 0)
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            runs = [pool.submit(nacre, "exec", container, "sh", "-c", f"cat; echo {n}; exit {n}", input=b"in %d\n" % n)
                    for n in range(10)]
            for n, done in enumerate(runs):
                result = done.result()
                self.assertEqual((result.returncode, result.stdout, result.stderr), (n, b"in %d\n%d\n" % (n, n), b""))
        self.assertEqual(nacre("exec", container, "nonesuch").returncode, 255)
        # exec sees the container and nothing else.
        ps = nacre("exec", container, "ps", "-o", "pid,args").stdout.decode()
        self.assertIn("1 sleep 1000", ps)
        environment = nacre("exec", "--env", "A=b c", "--cwd", "/tmp", "--user", "12:34", container, "sh", "-c",
                            'echo "$A $PWD $(id -u):$(id -g)"')
        self.assertEqual(environment.stdout, b"b c /tmp 12:34\n", environment.stderr)

    def test_exec_detached_with_pid_file(self):
        container, bundle = self.create("sleep", "1000")
        self.assertEqual(nacre("start", container).returncode, 0)
        pid_file = f"{bundle.path}/exec.pid"
        done = run_quietly(NACRE, "exec", "--detach", "--pid-file", pid_file, container, "sleep", "999")
        self.assertEqual(done.returncode, 0)
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        self.assertTrue(alive(pid))
        self.assertIn("sleep 999", nacre("exec", container, "ps", "-o", "args").stdout.decode())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), "the exec's stand-in ends with its process")
        self.assertNotIn("sleep 999", nacre("exec", container, "ps", "-o", "args").stdout.decode())

    def test_delete_force_of_a_running_container(self):
        container, _ = self.create("sleep", "1000")
        self.assertEqual(nacre("start", container).returncode, 0)
        self.assertEqual(nacre("delete", "--force", container).returncode, 0)
        self.assertIsNone(state(container))
        self.assertEqual(nacre("delete", "--force", container).returncode, 0)

    def test_stand_in_and_vmm_are_in_the_cgroup_of_the_config(self):
        def change(config):
            config["linux"]["cgroupsPath"] = "/nacre-test/one"
        container, _ = self.create("sleep", "1000", change=change)
        pid = state(container)["pid"]
        for process in (pid, *children(pid)):
            with open(f"/proc/{process}/cgroup", encoding="utf-8") as file:
                self.assertEqual(file.read(), "0::/nacre-test/one\n")
        self.assertEqual(nacre("delete", "--force", container).returncode, 0)
        self.assertFalse(os.path.exists("/sys/fs/cgroup/nacre-test/one"))
        os.rmdir("/sys/fs/cgroup/nacre-test")

    def test_a_created_container_can_be_killed_and_deleted(self):
        container, _ = self.create("sleep", "1000")
        self.assertEqual(nacre("kill", container, "KILL").returncode, 0)
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")
        self.assertEqual(nacre("delete", container).returncode, 0)


class Many(ContainerTest):
    def test_one_after_another(self):
        bundle = self.bundle("sh", "-c", "echo $((6 * 7))")
        for n in range(SEQUENTIAL):
            done = nacre("run", "--bundle", bundle.path, f"many{n}")
            self.assertEqual((done.returncode, done.stdout), (0, b"42\n"), f"run {n}: {done.stderr}")

    def test_side_by_side(self):
        bundle = self.bundle("sh", "-c", "cat; hostname; exit 3")

        def one(n):
            return nacre("run", "--bundle", bundle.path, f"side{n}", input=b"%d\n" % n, timeout=600)

        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            for n, done in enumerate(pool.map(one, range(PARALLEL))):
                self.assertEqual((done.returncode, done.stdout.split()[:1]), (3, [b"%d" % n]), f"{n}: {done.stderr}")


class Killed(ContainerTest):
    """Tests that a SIGKILL of any part ends the container, and that delete removes the rest."""

    def started(self):
        container, bundle = self.container(), self.bundle("sleep", "1000")
        self.assertEqual(run_quietly(NACRE, "create", "--bundle", bundle.path, container).returncode, 0)
        self.assertEqual(nacre("start", container).returncode, 0)
        return container, state(container)["pid"]

    def ends_and_can_be_deleted(self, container):
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")
        wait_until(lambda: not processes("vmm"), "vmm is gone")
        self.assertEqual(nacre("delete", container).returncode, 0)

    def test_stand_in(self):
        container, pid = self.started()
        os.kill(pid, signal.SIGKILL)
        self.ends_and_can_be_deleted(container)

    def test_vmm(self):
        container, pid = self.started()
        vmms = [child for child in children(pid) if child in processes("vmm")]
        self.assertEqual(len(vmms), 1)
        os.kill(vmms[0], signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the stand-in ends")
        self.ends_and_can_be_deleted(container)

    def test_guest_init(self):
        # No signal from within a guest can end its PID 1, so the initramfs gets a companion process. When the container
        # asks for it, the companion overwrites the code of PID 1 with zeroes. Then it exits, which wakes PID 1 up.
        container, bundle = self.container(), self.bundle("sh", "-c", "echo now > /crash; sleep 1000", copy=True)
        environment = {**os.environ, "NACRE_INITRAMFS": sabotaged_initramfs(bundle.path)}
        done = run_quietly(NACRE, "create", "--bundle", bundle.path, container, env=environment)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(nacre("start", container).returncode, 0)
        self.ends_and_can_be_deleted(container)


# guest-init moves to a root of its own, so the companion reaches its files through /proc/1.
SABOTAGE = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /companion
(
    until /bin/busybox test -e /companion/1/root/run/nacre/share/rootfs/crash; do /bin/busybox sleep 0.2; done
    /bin/busybox dd if=/companion/1/root/dev/zero of=/companion/1/mem bs=4096 seek=1025 count=180 conv=notrunc
) &
exec /guest-init
"""


def sabotaged_initramfs(folder):
    tree = f"{folder}/initramfs"
    os.mkdir(tree)
    with open(INITRAMFS, "rb") as archive:
        subprocess.run(["cpio", "--quiet", "-idm"], stdin=archive, cwd=tree, check=True)
    os.rename(f"{tree}/init", f"{tree}/guest-init")
    os.makedirs(f"{tree}/bin")
    os.mkdir(f"{tree}/companion")
    subprocess.run(["cp", "/bin/busybox", f"{tree}/bin/busybox"], check=True)
    with open(f"{tree}/init", "w", encoding="utf-8") as file:
        file.write(SABOTAGE)
    os.chmod(f"{tree}/init", 0o755)
    path = f"{folder}/initramfs.cpio"
    with open(path, "wb") as out:
        subprocess.run("find . | cpio --quiet -o -H newc", shell=True, cwd=tree, stdout=out, check=True)
    return path


def run_quietly(*argv, env=None):
    """Runs a command that leaves a process behind, without pipes that this process would hold open."""
    with open("/dev/null", "r+b") as null:
        return subprocess.run(argv, stdin=null, stdout=null, stderr=None, timeout=PATIENCE, check=False, env=env)


if __name__ == "__main__":
    main()
