# SPDX-License-Identifier: Apache-2.0
"""AppArmor on the host: the container's profile confines the VM as it would the container's first process under runc.

The lab has AppArmor for this test (--lsm apparmor).
"""

import os
import shutil
import subprocess
import unittest

from support import (BUSYBOX, NACRE, Client, ContainerTest, alive, children, command, detach, install, main, nacre, run,
                     state, wait_until)

# Shaped like the default profiles of docker, podman and containerd: everything but mounts, and what is denied by name.
PROFILE = """
profile {name} flags=(attach_disconnected,mediate_deleted) {{
  network,
  capability,
  file,
  umount,
  deny mount,
  deny /**/forbidden rwl,
  deny /forbidden rwl,
  {deny}
  signal (receive) peer=unconfined,
  signal (send,receive) peer={name},
  ptrace (trace,read,tracedby,readby) peer={name},
}}
"""
NAME, OTHER, NO_NODES = "nacre-test", "nacre-other", "nacre-no-nodes"
LATER = "/srv/apparmor"


def profile_of(pid):
    with open(f"/proc/{pid}/attr/apparmor/current", encoding="ascii") as file:
        return file.read().strip()


def confined(name):
    def change(config):
        config["process"]["apparmorProfile"] = name
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind] += ["CAP_CHOWN", "CAP_MKNOD"]
    return change


def setUpModule():
    for name, deny in ((NAME, ""), (OTHER, ""), (NO_NODES, "deny capability mknod,")):
        subprocess.run(["apparmor_parser", "--replace", "--skip-cache"], check=True,
                       input=PROFILE.format(name=name, deny=deny).encode())


class AppArmor(ContainerTest):
    def start(self, bundle, program=NACRE):
        container = self.container()
        if program != NACRE:
            self.addCleanup(run, program, "delete", "--force", container)
        # Not its output as pipes: the container would keep them open.
        with open(f"{bundle.path}/log", "wb") as log:
            done = subprocess.run([program, "run", "--detach", "--bundle", bundle.path, container], check=False,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        with open(f"{bundle.path}/log", encoding="utf-8") as log:
            said = log.read()
        self.assertEqual(done.returncode, 0, said)
        return container, said

    def test_the_profile_is_on_all_that_serves_the_container(self):
        theirs = self.bundle("sleep", "1000", copy=True, change=confined(NAME))
        pid = int(self.runc_pid(self.start(theirs, "runc")[0]))
        self.assertEqual(profile_of(pid), f"{NAME} (enforce)")
        container, said = self.start(self.bundle("sleep", "1000", copy=True, change=confined(NAME)))
        self.assertEqual(said.count("\n"), 1, said)
        self.assertIn("process.apparmorProfile: confines the VM on the host", said)
        standin = state(container)["pid"]
        (vmm,) = children(standin)
        (nodes,) = children(vmm)
        self.assertEqual((command(vmm), command(nodes)), ("vmm", "vmm-nodes"))
        for process in (standin, vmm, nodes):
            self.assertEqual(profile_of(process), profile_of(pid))
        for thread in os.listdir(f"/proc/{vmm}/task"):
            with open(f"/proc/{vmm}/task/{thread}/attr/apparmor/current", encoding="ascii") as file:
                self.assertEqual(file.read().strip(), f"{NAME} (enforce)", thread)
        # What a container does under such a profile works.
        done = nacre("exec", container, "sh", "-c",
                     "echo a >f && mv f g && ln -s g h && cat h && mkdir d && mknod n c 1 3"
                     " && echo lost >n && chown 5:6 g && stat -c %u:%g g && rm -r d g h n && ls /proc/self/exe")
        self.assertEqual((done.returncode, done.stdout), (0, b"a\n5:6\n/proc/self/exe\n"), done.stderr)
        # Tools of the host see the container's processes.
        self.assertIn("1", os.listdir(f"/proc/{standin}/root/proc"))
        self.assertEqual(nacre("kill", container, "KILL").returncode, 0)
        wait_until(lambda: not alive(standin) and not alive(vmm), "the container has ended")

    def runc_pid(self, container):
        done = run("runc", "state", container)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode().split('"pid": ')[1].split(",")[0]

    def test_what_the_profile_denies_is_denied(self):
        outcomes = []
        for program in ("runc", NACRE):
            bundle = self.bundle("sh", "-c", "cat /allowed /forbidden /deep/forbidden; echo new >/deep/forbidden",
                                 copy=True, change=confined(NAME))
            os.mkdir(f"{bundle.path}/rootfs/deep")
            for name in ("allowed", "forbidden", "deep/forbidden"):
                with open(f"{bundle.path}/rootfs/{name}", "w", encoding="ascii") as file:
                    file.write("content\n")
            done = run(program, "run", "--bundle", bundle.path, self.container())
            said = [line for line in done.stderr.decode().splitlines() if "apparmorProfile" not in line]
            outcomes.append((done.returncode, done.stdout.decode(), said))
        theirs, ours = outcomes
        self.assertEqual((theirs[0], theirs[1], len(theirs[2])), (1, "content\n", 3), theirs)
        self.assertEqual(ours, theirs)

    def test_a_profile_without_the_right_to_make_devices(self):
        for program in ("runc", NACRE):
            bundle = self.bundle("mknod", "/node", "c", "1", "3", copy=True, change=confined(NO_NODES))
            done = run(program, "run", "--bundle", bundle.path, self.container())
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(b"mknod: /node: Operation not permitted", done.stderr)

    def test_a_profile_that_is_not_there(self):
        words = "apparmor failed to apply profile"
        bundle = self.bundle("true", change=confined("nacre-missing"))
        theirs = run("runc", "run", "--bundle", bundle.path, self.container())
        self.assertIn(words, theirs.stderr.decode())
        done = nacre("run", "--bundle", bundle.path, self.container())
        lines = [line for line in done.stderr.decode().splitlines() if "confines the VM" not in line]
        self.assertEqual((done.returncode, done.stdout, len(lines)), (theirs.returncode, b"", 1), done.stderr)
        self.assertIn(f"{words} nacre-missing: no such profile is loaded on this host", lines[0])

    def test_exec(self):
        container, _ = self.start(self.bundle("sleep", "1000", change=confined(NAME)))
        pid_file = f"/run/{container}.pid"
        self.addCleanup(os.unlink, pid_file)
        for options, profile in ((["--apparmor", OTHER], OTHER), ([], NAME)):
            detach("exec", "--detach", "--pid-file", pid_file, *options, container, "sleep", "1000")
            with open(pid_file, encoding="ascii") as file:
                self.assertEqual(profile_of(int(file.read())), f"{profile} (enforce)")
        for flags in ([], ["--detach"]):
            done = nacre("exec", *flags, "--apparmor", "nacre-missing", container, "true")
            self.assertEqual(done.returncode, 255, done)
            self.assertIn(b"apparmor failed to apply profile nacre-missing: no such profile", done.stderr)
        self.assertEqual(nacre("ps", container).stdout.decode().count("sleep 1000"), 3)

    def test_a_container_that_joins_a_vm(self):
        first, _ = self.start(self.bundle("sleep", "1000", change=confined(NAME)))
        standin = state(first)["pid"]
        for name in (NAME, OTHER):
            bundle = self.bundle("sh", "-c", "cat /etc/file; sleep 1000", copy=True, change=confined(name))
            os.makedirs(f"{bundle.path}/rootfs/etc", exist_ok=True)
            with open(f"{bundle.path}/rootfs/etc/file", "w", encoding="ascii") as file:
                file.write("served\n")
            for entry in bundle.config["linux"]["namespaces"]:
                if entry["type"] == "ipc":
                    entry["path"] = f"/proc/{standin}/ns/ipc"
            bundle.write()
            container, said = self.start(bundle)
            self.assertEqual(profile_of(state(container)["pid"]), f"{name} (enforce)")
            warning = f"the VM of container {first} is confined by {NAME}, not by {name}"
            self.assertEqual(warning in said, name != NAME, said)
            done = nacre("exec", container, "cat", "/etc/file")
            self.assertEqual((done.returncode, done.stdout), (0, b"served\n"), done.stderr)

    def test_later_mounts_of_the_host_come(self):
        os.makedirs(f"{LATER}/place")
        self.addCleanup(shutil.rmtree, LATER)

        def change(config):
            confined(NAME)(config)
            config["mounts"].append({"destination": "/data", "type": "bind", "source": LATER,
                                     "options": ["rbind", "rslave"]})
        container, said = self.start(self.bundle("sleep", "1000", copy=True, change=change))
        self.assertEqual(said.count("\n"), 1, said)
        subprocess.run(["mount", "-n", "-t", "tmpfs", "later", f"{LATER}/place"], check=True)
        self.addCleanup(run, "umount", "-n", f"{LATER}/place")
        with open(f"{LATER}/place/file", "w", encoding="ascii") as file:
            file.write("here\n")
        wait_until(lambda: nacre("exec", container, "cat", "/data/place/file").stdout == b"here\n", "the mount comes")

    def test_features_say_what_runcs_say(self):
        ours, theirs = (run(program, "features").stdout.decode().split('"apparmor": {')[1].split("}")[0].split()
                        for program in (NACRE, "runc"))
        self.assertEqual(ours, theirs)


class Podman(unittest.TestCase):
    def test_its_default_profile(self):
        podman = Client("podman", "--cgroup-manager", "cgroupfs", "--runtime", install())
        subprocess.run(f"tar -C {BUSYBOX} -c . | podman import - busybox", shell=True, check=True, capture_output=True)
        self.addCleanup(podman, "system reset --force")
        self.assertEqual(podman.run_once("busybox echo hello"), "hello\n")
        name = podman.text("run --detach --network none busybox sleep 1000").strip()
        self.addCleanup(podman, "rm --force --time 0", name)
        pid = int(podman.text("inspect --format {{.State.Pid}}", name))
        self.assertTrue(profile_of(pid).startswith("containers-default-"), profile_of(pid))
        self.assertEqual([profile_of(child) for child in children(pid)], [profile_of(pid)])
        podman("run --rm --network none --security-opt", "apparmor=nacre-missing", "busybox", "true", status=126)
        plain = podman.text("run --detach --network none --security-opt", "apparmor=unconfined", "busybox", "sleep",
                            "1000").strip()
        self.addCleanup(podman, "rm --force --time 0", plain)
        self.assertEqual(profile_of(int(podman.text("inspect --format {{.State.Pid}}", plain))), "unconfined")


if __name__ == "__main__":
    main()
