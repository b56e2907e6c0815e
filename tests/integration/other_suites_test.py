# SPDX-License-Identifier: Apache-2.0
"""What the test suites of other runtimes found, beside runc where Debian's (1.1.5) knows it."""

import json
import os
import unittest

from support import NACRE, ContainerTest, alive, main, run, wait_until

LOOK = r"""
grep -E '^[^ ]+ /(covered|fresh) ' /proc/mounts | sed 's/,inode64//; s/,size=[^ ,]*//; s/,nr_inodes=[^ ,]*//' | cut -d' ' -f 2-4
stat -c '%n %a' /covered /fresh
stat -c '%n %F %t %T' /dev/slash /dev/deep/slash
"""
LOOK_AT_DEVICES = r"""
stat -c '%n %F %a %u %g %t %T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /odd/zero /fifo
for link in fd stdin stdout stderr ptmx; do readlink /dev/$link; done
echo lost >/dev/null && head -c 3 /odd/zero | od -c
ls /dev | grep -vx core
touch /dev/new
"""

LOOK_BELOW = r"grep ' /[a-g]\(/sub\(/deep\)\?\)\? ' /proc/self/mountinfo | cut -d' ' -f 5,6 | sort"


class BesideRunc(ContainerTest):
    def test_new_file_systems_and_devices(self):
        """A tmpfs without a mode takes that of what it covers; a device's path may end in a slash.

        Nacre shows that mode among the mount's options, as runc 1.5 does. Debian's runc does not.
        """
        def change(config):
            config["mounts"] += [{"destination": "/covered", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]},
                                 {"destination": "/fresh", "type": "tmpfs", "source": "tmpfs", "options": ["mode=2750"]}]
            config["linux"]["devices"] = [{"path": "/dev/slash/", "type": "c", "major": 1, "minor": 3},
                                          {"path": "/dev/deep//slash//", "type": "c", "major": 1, "minor": 5}]

        outcomes = []
        for program in ("runc", NACRE):
            bundle = self.bundle("sh", "-c", LOOK, change=change, copy=True)
            os.mkdir(f"{bundle.path}/rootfs/covered")
            os.chmod(f"{bundle.path}/rootfs/covered", 0o710)
            done = run(program, "run", "--bundle", bundle.path, self.container())
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode()))
        theirs, (status, out, err) = outcomes
        self.assertIn("/covered tmpfs rw,nosuid,relatime,mode=710\n", out)
        self.assertIn("/covered 710\n", theirs[1])
        self.assertEqual((status, out.replace(",mode=710", ""), err), theirs)

    def test_devices_on_a_read_only_root(self):
        """There may be no /dev among the mounts, and a device may lie beside it."""
        def change(config):
            config["root"]["readonly"] = True
            config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
            config["linux"]["devices"] = [
                {"path": "/odd/zero/", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
                {"path": "/fifo", "type": "p", "fileMode": 0o600}]

        outcomes = []
        for program in ("runc", NACRE):
            bundle = self.bundle("sh", "-c", LOOK_AT_DEVICES, change=change, copy=True)
            done = run(program, "run", "--bundle", bundle.path, self.container())
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode()))
        theirs, ours = outcomes
        self.assertIn("/odd/zero character special file 640 7 8 1 5", theirs[1], theirs)
        self.assertEqual(ours, theirs)
        # The root can be written to the next time, and has devices still.
        bundle.config["root"]["readonly"] = False
        bundle.write()
        again = run(NACRE, "run", "--bundle", bundle.path, self.container())
        self.assertEqual((again.returncode, again.stdout.decode().replace("new\n", "")), (0, theirs[1]), again.stderr)

    def test_a_container_finds_its_cpus_and_memory_nodes_in_its_cgroup(self):
        """In numbers of its own machine, which may have more CPUs: here there is a second one that is not for it."""
        def change(config):
            config["linux"]["resources"] = {"cpu": {"cpus": "0", "mems": "0"}}
            config["annotations"] = {"nacre.vm.cpus": "2"}

        look = "nproc; cd /sys/fs/cgroup; cat cpuset.cpus cpuset.cpus.effective cpuset.mems"
        bundle = self.bundle("sh", "-c", look, change=change)
        for program in ("runc", NACRE):
            done = run(program, "run", "--bundle", bundle.path, self.container())
            self.assertEqual((done.stdout.decode(), done.stderr.decode()), ("1\n0\n0\n0\n", ""), program)

    def test_options_of_the_whole_tree_hold_for_the_mounts_below(self):
        options = {"a": "rnoatime", "b": "rstrictatime", "c": "rnodiratime", "d": "rnosuid,rnodev",
                   "e": "rro,rnoexec", "f": "noatime,rstrictatime", "g": "rnoatime,atime"}
        top = "/srv/whole"
        self.addCleanup(run, "umount", "-n", "--recursive", top)
        for path, words in ((top, "rw"), (f"{top}/sub", "nosuid,noatime"), (f"{top}/sub/deep", "nodev,strictatime")):
            os.makedirs(path, exist_ok=True)
            self.assertEqual(run("mount", "-n", "-t", "tmpfs", "-o", words, "t", path).returncode, 0)
        outcomes = []
        for program in ("runc", NACRE):
            bundle = self.bundle("sh", "-c", LOOK_BELOW, copy=True)
            bundle.config["mounts"] += [{"destination": f"/{name}", "type": "bind", "source": top,
                                         "options": ["rbind", "rprivate", *words.split(",")]}
                                        for name, words in options.items()]
            bundle.write()
            done = run(program, "run", "--bundle", bundle.path, self.container())
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode()))
        theirs, ours = outcomes
        self.assertEqual(len(theirs[1].splitlines()), 21, theirs)
        self.assertEqual(ours, theirs)

    def test_devices_of_a_user_namespace_keep_the_flags_of_dev(self):
        """runc binds the host's nodes there, with the flags that the host's /dev has: nosuid, and noexec by systemd."""
        def change(config):
            config["linux"]["namespaces"].append({"type": "user"})
            for kind in ("uidMappings", "gidMappings"):
                config["linux"][kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]

        done = self.run_container("sh", "-c", "grep ' /dev/null ' /proc/self/mountinfo | cut -d' ' -f 6", change=change)
        self.assertEqual(done.returncode, 0, done.stderr)
        flags = done.stdout.decode().strip().split(",")
        self.assertIn("nosuid", flags)
        self.assertIn("noexec", flags)


class MovedProcesses(ContainerTest):
    @unittest.skipUnless(os.path.exists("/sys/fs/cgroup/cgroup.controllers"), "cgroup v2")
    def test_exec_and_delete_of_a_container_that_was_moved_below_its_cgroup(self):
        """Somebody on the host divides the container's cgroup. As under runc, exec then joins the first process, and
        `delete --force` takes all of it."""
        for program in ("runc", NACRE):
            with self.subTest(program=program):
                container = self.container()
                self.addCleanup(run, program, "delete", "--force", container)
                bundle = self.bundle("sleep", "1000", copy=program == "runc")
                bundle.config["linux"]["cgroupsPath"] = f"/{container}"
                bundle.write()
                # Not its output as pipes: the container would keep them open.
                self.assertEqual(os.waitstatus_to_exitcode(os.system(
                    f"{program} run -d --bundle {bundle.path} {container} </dev/null >/dev/null 2>&1")), 0)
                pid = json.loads(run(program, "state", container).stdout)["pid"]
                cgroup = f"/sys/fs/cgroup/{container}"
                os.mkdir(f"{cgroup}/below")
                with open(f"{cgroup}/cgroup.procs", encoding="ascii") as file:
                    pids = file.read().split()
                for moved in pids:
                    with open(f"{cgroup}/below/cgroup.procs", "w", encoding="ascii") as file:
                        file.write(moved)
                with open(f"{cgroup}/cgroup.subtree_control", "w", encoding="ascii") as file:
                    file.write("+pids")
                os.system(f"{program} exec -d --pid-file {bundle.path}/pid {container} sleep 1000"
                          " </dev/null >/dev/null 2>&1")
                with open(f"{bundle.path}/pid", encoding="ascii") as file:
                    added = int(file.read())
                with open(f"/proc/{added}/cgroup", encoding="ascii") as file:
                    self.assertEqual(file.read().strip(), f"0::/{container}/below")
                done = run(program, "delete", "--force", container)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
                wait_until(lambda: not alive(pid) and not alive(added), "its processes are gone")
                self.assertFalse(os.path.exists(cgroup))


if __name__ == "__main__":
    main()
