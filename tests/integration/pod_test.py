# SPDX-License-Identifier: Apache-2.0
"""Tests that containers that share namespaces share a VM, and that their processes see what they would under runc."""

import os
import signal
import subprocess

from support import NACRE, PATIENCE, ContainerTest, alive, machines, main, nacre, node_makers, run, state, wait_until

FILES = {"network": "net", "mount": "mnt"}
NAMESPACES = "for n in pid ipc uts cgroup mnt net user; do readlink /proc/self/ns/$n; done"
ROOT = 100000  # the id on the host of a user namespace's root
MIB = 1 << 20


def pid_of(container):
    return state(container)["pid"]


def join(config, pid, *types):
    """Makes a configuration join namespaces of `pid`: a stand-in under nacre, a first process under runc."""
    listed = [entry for entry in config["linux"]["namespaces"] if entry["type"] not in types]
    listed += [{"type": kind, "path": f"/proc/{pid}/ns/{FILES.get(kind, kind)}"} for kind in types]
    config["linux"]["namespaces"] = listed
    if "uts" in types:
        config.pop("hostname", None)


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        return file.read().strip().removeprefix("0::")


def allow_nodes(config):
    """Grants CAP_MKNOD, as engines do. The VM then has a second process on the host, which makes device nodes."""
    for kind in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][kind].append("CAP_MKNOD")


class Pods(ContainerTest):
    def start(self, bundle, program=NACRE):
        container = self.container()
        if program != NACRE:
            self.addCleanup(run, program, "delete", "--force", container)
        done = subprocess.run([program, "run", "--detach", "--bundle", bundle.path, container], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0)
        return container

    def pair(self, *types, second=("sleep", "1000"), change=None):
        """Starts two containers, the second in namespaces of the first."""
        first = self.start(self.bundle("sleep", "1000", change=allow_nodes))
        bundle = self.bundle(*second, change=change)
        join(bundle.config, pid_of(first), *types)
        bundle.write()
        return first, self.start(bundle)

    def look(self, container, script, program=NACRE):
        done = run(program, "exec", container, "sh", "-c", script)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout.decode().splitlines()

    def test_namespaces_are_shared_as_under_runc(self):
        look = NAMESPACES + "; ps | grep -c '[s]leep 9876'; hostname; ls -d /only 2>&1"
        seen = []
        for program in ("runc", NACRE):
            bundle = self.bundle("sh", "-c", "hostname shared; exec sleep 9876", copy=True)
            os.mkdir(f"{bundle.path}/rootfs/only")
            for names in bundle.config["process"]["capabilities"].values():
                names.append("CAP_SYS_ADMIN")
            bundle.write()
            first = self.start(bundle, program)
            wait_until(lambda first=first, program=program: "shared" in self.look(first, "hostname", program), "named")
            own = self.look(first, look, program)
            pid = int(run(program, "state", first).stdout.decode().split('"pid": ')[1].split(",")[0])
            outcomes = []
            for types in (["ipc"], ["pid"], ["ipc", "network", "uts"], ["cgroup", "ipc", "network", "pid", "uts"]):
                second = self.bundle("sh", "-c", look)
                join(second.config, pid, *types)
                second.write()
                container = self.container()
                self.addCleanup(run, program, "delete", "--force", container)
                done = run(program, "run", "--bundle", second.path, container)
                lines = done.stdout.decode().splitlines()
                self.assertEqual(len(lines), len(own), done)
                # The numbers of namespaces differ in a VM. Only compare which ones are those of the first container.
                outcomes.append([types, done.returncode] +
                                [mine == its if "[" in mine else mine for mine, its in zip(lines, own)])
            seen.append(outcomes)
            run(program, "delete", "--force", first)
        self.assertEqual(seen[1], seen[0])
        self.assertEqual(seen[1][1][2:10], [True, False, False, False, False, False, True, "1"])

    def test_each_lives_its_own_life(self):
        first, second = self.pair("ipc", "pid")
        self.assertEqual(len(machines()), 1)
        vmm = machines()[0]
        third_bundle = self.bundle("sleep", "1000")
        join(third_bundle.config, pid_of(second), "ipc")  # second itself has joined the namespace
        third_bundle.write()
        third = self.start(third_bundle)
        self.assertEqual(machines(), [vmm])
        # A container ends by `kill`, or with its stand-in. The other containers go on.
        nacre("kill", second, "KILL")
        wait_until(lambda: state(second)["status"] == "stopped", "second killed")
        self.assertEqual(nacre("delete", second).returncode, 0)
        self.assertEqual(self.look(first, "ps | grep -c '[s]leep 1000'"), ["1"])
        os.kill(pid_of(first), signal.SIGKILL)
        wait_until(lambda: state(first)["status"] == "stopped", "first's stand-in killed")
        self.assertEqual(nacre("delete", first).returncode, 0)
        self.assertTrue(alive(vmm))
        self.assertEqual(self.look(third, "ps | grep -c '[s]leep 1000'"), ["1"])
        fourth_bundle = self.bundle("sh", "-c", NAMESPACES)
        join(fourth_bundle.config, pid_of(third), "ipc")
        fourth_bundle.write()
        self.assertEqual(nacre("run", "--bundle", fourth_bundle.path, self.container()).returncode, 0)
        self.assertEqual(nacre("delete", "--force", third).returncode, 0)
        self.assertFalse(alive(vmm))

    def test_the_end_of_the_vm_is_everybodys(self):
        first, second = self.pair("ipc")
        standins = [pid_of(first), pid_of(second)]
        os.kill(machines()[0], signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in standins), "both ended")
        for container in (second, first):
            self.assertEqual(state(container)["status"], "stopped")
            self.assertEqual(nacre("delete", container).returncode, 0)

    def test_the_end_of_a_pid_namespace_is_everybodys_in_it(self):
        first, second = self.pair("pid")
        nacre("kill", first, "KILL")
        wait_until(lambda: state(second)["status"] == "stopped", "second ended")
        self.assertEqual(nacre("delete", first).returncode, 0)
        self.assertEqual(nacre("delete", second).returncode, 0)

    def test_ids_and_files_are_free_again(self):
        first = self.start(self.bundle("sleep", "1000"))
        container = self.container()
        for number in range(5):
            bundle = self.bundle("sh", "-c", "cat /number; echo more >> /number; sync", copy=True)
            with open(f"{bundle.path}/rootfs/number", "w", encoding="utf-8") as file:
                file.write(f"{number}\n")
            join(bundle.config, pid_of(first), "ipc")
            bundle.write()
            done = nacre("run", "--bundle", bundle.path, container)
            self.assertEqual((done.returncode, done.stdout.decode()), (0, f"{number}\n"), done.stderr)
            with open(f"{bundle.path}/rootfs/number", encoding="utf-8") as file:
                self.assertEqual(file.read(), f"{number}\nmore\n")
            bundle.remove()
        # vmm holds none of the files any more.
        files = f"/proc/{machines()[0]}/fd"
        held = [os.readlink(f"{files}/{fd}") for fd in os.listdir(files)]
        self.assertEqual([path for path in held if path.endswith("/number")], [])

    def test_shared_memory(self):
        shm = f"/run/shm-{os.getpid()}"
        os.mkdir(shm)
        self.addCleanup(os.rmdir, shm)
        subprocess.run(["mount", "-n", "-t", "tmpfs", "-o", "size=8m,mode=1777", "shm", shm], check=True)
        self.addCleanup(subprocess.run, ["umount", "-n", shm], check=True)

        def with_shm(config):
            config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] != "/dev/shm"]
            config["mounts"].append({"destination": "/dev/shm", "type": "bind", "source": shm,
                                     "options": ["rbind", "rprivate"]})
        first = self.start(self.bundle("sleep", "1000", change=with_shm))
        self.look(first, "echo shared > /dev/shm/file")
        bundle = self.bundle("sh", "-c", "cat /dev/shm/file; df -k /dev/shm | tail -n 1; rm /dev/shm/file",
                             change=with_shm)
        join(bundle.config, pid_of(first), "ipc")
        bundle.write()
        done = nacre("run", "--bundle", bundle.path, self.container())
        self.assertEqual(done.returncode, 0, done)
        lines = done.stdout.decode().splitlines()
        self.assertEqual((lines[0], lines[1].split()[1]), ("shared", "8192"))
        self.assertEqual(self.look(first, "ls /dev/shm"), [])
        # A container in another VM has its own shared memory.
        self.look(first, "echo shared > /dev/shm/file")
        done = self.run_container("ls", "/dev/shm", change=with_shm)
        self.assertEqual((done.returncode, done.stdout), (0, b""))

    def test_a_user_namespace_is_shared(self):
        """Checks that mounts which belong to shared namespaces work, as in a pod with a user namespace."""
        def change(config):
            for kind in ("uidMappings", "gidMappings"):
                config["linux"][kind] = [{"containerID": 0, "hostID": ROOT, "size": 65536}]
            if not any(entry["type"] == "user" for entry in config["linux"]["namespaces"]):
                config["linux"]["namespaces"].append({"type": "user"})

        def owned(*args):
            bundle = self.bundle(*args, change=change, copy=True)
            os.chmod(bundle.path, 0o755)
            subprocess.run(["chown", "-R", f"{ROOT}:{ROOT}", f"{bundle.path}/rootfs"], check=True)
            return bundle
        first = self.start(owned("sleep", "1000"))
        own = self.look(first, NAMESPACES)
        for types, shared in ((["ipc", "network", "user", "uts"], [1, 2, 5, 6]),
                              (["ipc", "network", "pid", "user", "uts"], [0, 1, 2, 5, 6]), (["ipc"], [1])):
            with self.subTest(types=types):
                bundle = owned("sh", "-c", f"{NAMESPACES}; id -u; touch /made /dev/mqueue/x 2>&1; echo $$; "
                               "sleep 1 & cat /proc/sys/kernel/shmmni > /dev/null; ls -d /proc/1")
                join(bundle.config, pid_of(first), *types)
                if "user" not in types:  # runc would refuse mqueue: it belongs to another user namespace
                    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "mqueue"]
                bundle.write()
                done = nacre("run", "--bundle", bundle.path, self.container())
                lines = done.stdout.decode().splitlines()
                self.assertEqual((done.returncode, done.stderr), (0, b""), lines)
                self.assertEqual([i for i in range(7) if lines[i] == own[i]], shared)
                self.assertEqual((lines[7], lines[-1]), ("0", "/proc/1"))
                if "pid" not in types:
                    self.assertEqual(lines[-2], "1")
                self.assertEqual(os.stat(f"{bundle.path}/rootfs/made").st_uid, ROOT)
        # Files of other owners are out of the VM's reach.
        bundle = self.bundle("true")
        join(bundle.config, pid_of(first), "ipc")
        bundle.write()
        self.assert_one_line_error(nacre("run", "--bundle", bundle.path, self.container()),
                                   "serves the ids of its own user namespace alone")

    def test_a_mount_namespace_is_shared(self):
        first_bundle = self.bundle("sleep", "1000", copy=True)
        os.mkdir(f"{first_bundle.path}/rootfs/only")
        first = self.start(first_bundle)
        bundle = self.bundle("sh", "-c", "readlink /proc/self/ns/mnt; ls -d /only")
        join(bundle.config, pid_of(first), "mount", "pid")
        bundle.write()
        done = nacre("run", "--bundle", bundle.path, self.container())
        self.assertEqual(done.stdout.decode().splitlines(), self.look(first, "readlink /proc/self/ns/mnt") + ["/only"],
                         done)

    def test_limits_and_size(self):
        first, second = self.pair("ipc", change=lambda config: config["linux"]["resources"].update(
            {"memory": {"limit": 256 * MIB}, "cpu": {"quota": 100000, "period": 100000}}))
        self.assertEqual(self.look(second, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"),
                         [str(256 * MIB), "100000 100000"])
        memory = "grep MemTotal /proc/meminfo | tr -dc 0-9; echo; grep -c ^processor /proc/cpuinfo"
        total, cpus = map(int, self.look(second, memory))
        self.assertGreater(total, (480 + 256) * 1024)
        done = nacre("update", "--memory", str(512 * MIB), second)
        self.assertEqual(done.returncode, 0, done)
        grown = int(self.look(first, memory)[0])
        self.assertGreater(grown, total + 240 * 1024)
        # The VM is charged to neither of the two host cgroups: it has its own beside them.
        vmm = machines()[0]
        self.assertEqual(cgroup_of(vmm), cgroup_of(pid_of(first)) + ".vm")
        self.assertEqual([cgroup_of(maker) for maker in node_makers()], [cgroup_of(vmm)])
        self.assertNotEqual(cgroup_of(pid_of(second)), cgroup_of(pid_of(first)))
        self.assertEqual(nacre("delete", "--force", second).returncode, 0)
        wait_until(lambda: int(self.look(first, memory)[0]) < total - 64 * 1024, "the VM shrinks again", PATIENCE)
        self.assertGreaterEqual(cpus, 1)

    def test_later_mounts_of_the_host(self):
        source = "/srv/pods"
        os.makedirs(f"{source}", exist_ok=True)
        self.addCleanup(run, "umount", "-n", "--recursive", source)
        run("mount", "-n", "-t", "tmpfs", "top", source)
        run("mount", "-n", "--make-shared", source)
        os.mkdir(f"{source}/sub")

        def bind(config):
            config["mounts"].append(
                {"destination": "/m", "type": "bind", "source": source, "options": ["rbind", "rslave"]})
        _, second = self.pair("ipc", change=bind)
        run("mount", "-n", "-t", "tmpfs", "-o", "mode=700", "sub", f"{source}/sub")
        mode = ("exec", second, "stat", "-c", "%a", "/m/sub")
        wait_until(lambda: nacre(*mode).stdout == b"700\n", "it has come")
        self.assertEqual(run("umount", "-n", f"{source}/sub").returncode, 0)
        wait_until(lambda: nacre(*mode).stdout == b"755\n", "it has gone")

    def test_bad_paths(self):
        first, other = (self.start(self.bundle("sleep", "1000")) for _ in range(2))
        pids = [pid_of(first), pid_of(other)]
        for paths, words in (({"pid": "/proc/1/ns/pid"}, ["namespaces[0].path: /proc/1/ns/pid: a pid namespace that"]),
                             ({"pid": f"/proc/{pids[0]}/ns/pid", "ipc": f"/proc/{pids[1]}/ns/ipc"},
                              [first, other, "in two different VMs"])):
            with self.subTest(paths=paths):
                bundle = self.bundle("true")
                for entry in bundle.config["linux"]["namespaces"]:
                    if entry["type"] in paths:
                        entry["path"] = paths[entry["type"]]
                bundle.write()
                self.assert_one_line_error(nacre("run", "--bundle", bundle.path, self.container()), *words)
        bundle = self.bundle("true", change=lambda config: config["mounts"].append(
            {"destination": "/x", "type": "tmpfs", "source": "x", "options": ["size=wrong"]}))
        join(bundle.config, pids[0], "ipc")
        bundle.write()
        done = nacre("run", "--bundle", bundle.path, self.container())
        self.assert_one_line_error(done, "size")
        self.assertEqual([state(first)["status"], state(other)["status"]], ["running", "running"])


if __name__ == "__main__":
    main()
