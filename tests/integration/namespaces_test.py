# SPDX-License-Identifier: Apache-2.0
"""Namespaces and id mappings, compared with runc if runc supports them."""

import os
import subprocess

from support import NACRE, ContainerTest, main, nacre, run, state, wait_until

ROOT = 100000  # the host's id of root in the containers' user namespaces
EVERYTHING = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_MKNOD", "CAP_NET_ADMIN",
              "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_ADMIN"]

USER_VIEW = r"""
id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; grep Cap /proc/self/status; hostname
stat -c '%n %u %g %a' / /bin /root /tmp /v /v/* /dev/pts /dev/shm
stat -c '%n %u %g %t %T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/pts/ptmx
touch /made /v/made 2>&1; stat -c '%n %u %g' /made /v/made; cat /v/secret 2>&1
chown 1:1 /made; stat -c '%u %g' /made; chown 70000 /made 2>&1; touch /v/hosts 2>&1
mknod /tmp/null c 1 3 2>&1; cat /sys/fs/cgroup/cgroup.controllers > /dev/null && echo cgroup
sysctl() { cat "/proc/sys/$1"; }; sysctl net/ipv4/ip_unprivileged_port_start; sysctl kernel/msgmax
mount -t tmpfs none /tmp && echo mounted; test -d /sys/kernel && echo sys
ifconfig lo | grep -o 'UP LOOPBACK RUNNING'; ifconfig lo down && echo down; hostname other && hostname
echo out > /dev/stdout; echo err > /dev/stderr; echo n > /dev/null; ls /proc/self/fd | wc -l
cat /proc/self/oom_score_adj; ulimit -n -H
"""


def in_user_namespace(config, root=ROOT, size=65536):
    config["linux"]["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        config["linux"][kind] = [{"containerID": 0, "hostID": root, "size": size}]


class Namespaces(ContainerTest):
    def beside_runc(self, change, *args, root=ROOT, **options):
        """What both say; each has a root filesystem and a volume of its own."""
        outcomes = []
        for program in ("runc", NACRE):
            bundle = self.bundle(*args, copy=True)
            os.chmod(bundle.path, 0o755)
            subprocess.run(["chown", "-R", f"{root}:{root}", f"{bundle.path}/rootfs"], check=True)
            volume = f"{bundle.path}/volume"
            os.mkdir(volume)
            os.chmod(volume, 0o777)
            for name, owner, mode in (("hosts", 0, 0o644), ("secret", 0, 0o600), ("roots", ROOT, 0o600),
                                      ("users", ROOT + 1000, 0o640)):
                with open(f"{volume}/{name}", "w", encoding="utf-8") as file:
                    file.write(f"{name}\n")
                os.chown(file.name, owner, owner)
                os.chmod(file.name, mode)
            bundle.config["mounts"].append(
                {"destination": "/v", "type": "bind", "source": volume, "options": ["rbind", "rprivate"]})
            change(bundle.config)
            bundle.write()
            done = run(program, "run", "--bundle", bundle.path, self.container(), **options)
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode()))
            owners = run("find", volume, f"{bundle.path}/rootfs", "-newer", f"{bundle.path}/config.json", "-type", "f",
                         "-printf", "%P %U %G\n").stdout.decode()
            outcomes[-1] += ("".join(sorted(owners.splitlines(keepends=True))),)
        return outcomes

    def test_a_user_namespace_looks_as_under_runc(self):
        def change(config):
            in_user_namespace(config)
            for kind in config["process"]["capabilities"].values():
                kind += EVERYTHING
            config["process"]["capabilities"].pop("ambient")
            config["process"]["oomScoreAdj"] = -500
            config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 500000}]
            config["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "7000"}
        theirs, ours = self.beside_runc(change, "sh", "-c", USER_VIEW)
        self.assertIn(f"0     {ROOT}      65536\n", theirs[1], theirs)
        self.assertEqual(ours, theirs)

    def test_users_write_to_their_own_streams(self):
        for user, namespace in ((1000, True), (1000, False)):
            with self.subTest(user=user, namespace=namespace):
                def change(config, user=user, namespace=namespace):
                    config["process"]["user"] = {"uid": user, "gid": user}
                    if namespace:
                        in_user_namespace(config)
                theirs, ours = self.beside_runc(
                    change, "sh", "-c", "id; echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin",
                    root=ROOT if namespace else 0, input=b"in\n")
                self.assertEqual(theirs[:3], (0, f"uid={user} gid={user}\nout\nin\n", "err\n"))
                self.assertEqual(ours, theirs)

    def test_root_of_the_namespace_owns_its_cgroup(self):
        def change(config):
            in_user_namespace(config)
            for mount in config["mounts"]:
                if mount["type"] == "cgroup":
                    mount["options"].remove("ro")
        # runc does this with --systemd-cgroup alone.
        script = ("cd /sys/fs/cgroup; stat -c '%n %u' . cgroup.procs cgroup.subtree_control cgroup.type; "
                  "mkdir a && echo made")
        done = self.beside_runc(change, "sh", "-c", script)[1]
        self.assertEqual(done[:3], (0, ". 0\ncgroup.procs 0\ncgroup.subtree_control 0\ncgroup.type 65534\nmade\n", ""))

    def test_exec_is_in_the_namespaces(self):
        container = self.container()
        namespaces = "for ns in /proc/self/ns/*; do readlink $ns; done"
        bundle = self.bundle("sh", "-c", f"{namespaces} > /tmp/ns; touch /tmp/done; sleep 1000", copy=True)
        subprocess.run(["chown", "-R", f"{ROOT}:{ROOT}", f"{bundle.path}/rootfs"], check=True)
        in_user_namespace(bundle.config)
        bundle.config["linux"]["namespaces"].append({"type": "time"})
        bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 5, "nanosecs": 1}}
        bundle.write()
        started = subprocess.run([NACRE, "run", "--detach", "--bundle", bundle.path, container], check=False,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(started.returncode, 0)
        wait_until(lambda: os.path.exists(f"{bundle.path}/rootfs/tmp/done"), "started")
        script = (f"{namespaces} | diff /tmp/ns - && id -u && echo x > /dev/stdout; "
                  "touch /tmp/exec; cat /proc/uptime")
        done = nacre("exec", container, "sh", "-c", script)
        lines = done.stdout.decode().split("\n")
        self.assertEqual((done.returncode, lines[:2], done.stderr), (0, ["0", "x"], b""))
        self.assertGreater(float(lines[2].split()[0]), 1000000)
        self.assertEqual(os.stat(f"{bundle.path}/rootfs/tmp/exec").st_uid, ROOT)
        done = nacre("exec", "--user", "1000:7", container, "sh", "-c", "id -u; id -g; echo x > /dev/stdout")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"1000\n7\nx\n", b""))
        done = nacre("exec", "--user", "70000", container, "true")
        self.assertEqual((done.returncode, done.stdout), (255, b""))
        self.assertIn(b"cannot set uid to unmapped user in user namespace", done.stderr)
        done = nacre("exec", "--tty", container, "sh", "-c", "stat -c %u $(tty)", stdin=subprocess.PIPE)
        ps = nacre("ps", container).stdout.decode()
        self.assertIn(f"{ROOT} ", ps)

    def test_devices_in_a_user_namespace(self):
        def change(config):
            in_user_namespace(config)
            config["linux"]["devices"] = [
                {"path": "/dev/nothing", "type": "c", "major": 1, "minor": 3, "fileMode": 0o622, "uid": 5, "gid": 7},
                {"path": "/below/full", "type": "c", "major": 1, "minor": 7}]
        bundle = self.bundle("sh", "-c", "stat -c '%n %F %a %u %g %t:%T' /dev/nothing /below/full; "
                             "echo x >/dev/nothing && echo written; echo x 2>&1 >/below/full",
                             change=change, copy=True)
        os.chmod(bundle.path, 0o755)
        subprocess.run(["chown", "-R", f"{ROOT}:{ROOT}", f"{bundle.path}/rootfs"], check=True)
        done = nacre("run", "--bundle", bundle.path, self.container())
        self.assertEqual(done.stdout.decode().splitlines(),
                         ["/dev/nothing character special file 622 5 7 1:3",
                          "/below/full character special file 666 0 0 1:7", "written",
                          "sh: write error: No space left on device"], done.stderr)

    def test_a_user_namespace_by_path_is_its_mappings(self):
        first, bundle = self.container(), self.bundle("sleep", "1000", change=in_user_namespace, copy=True)
        os.chmod(bundle.path, 0o755)
        subprocess.run(["chown", "-R", f"{ROOT}:{ROOT}", f"{bundle.path}/rootfs"], check=True)
        subprocess.run([NACRE, "run", "--detach", "--bundle", bundle.path, first], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        other = subprocess.Popen(["unshare", "--user", "sleep", "1000"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        own = os.readlink("/proc/self/ns/user")
        wait_until(lambda: os.readlink(f"/proc/{other.pid}/ns/user") != own, "it has a user namespace")
        maps = ("uid_map", "gid_map")
        for name in maps:
            with open(f"/proc/{other.pid}/{name}", "w", encoding="ascii") as file:
                file.write(f"0 {ROOT} 1000\n1000 300000 7\n")
        script = "cat /proc/self/uid_map /proc/self/gid_map; echo x > /tmp/file"
        ranges = {state(first)["pid"]: [["0", str(ROOT), "65536"]],
                  other.pid: [["0", str(ROOT), "1000"], ["1000", "300000", "7"]]}
        for pid, expected in ranges.items():
            with self.subTest(pid=pid):
                bundle.config["linux"]["namespaces"] = [
                    entry for entry in bundle.config["linux"]["namespaces"] if entry["type"] != "user"]
                bundle.config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{pid}/ns/user"})
                for name in ("uidMappings", "gidMappings"):
                    bundle.config["linux"].pop(name, None)
                bundle.config["process"]["args"] = ["sh", "-c", script]
                bundle.write()
                done = nacre("run", "--bundle", bundle.path, self.container())
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual([line.split() for line in done.stdout.decode().splitlines()], expected * 2)
                self.assertEqual(os.stat(f"{bundle.path}/rootfs/tmp/file").st_uid, ROOT)
                os.unlink(f"{bundle.path}/rootfs/tmp/file")
        # The host's own is none that the container could have, nor is that of a process which has no other.
        for path, words in (("/proc/self/ns/nonesuch", "no such file"), ("/proc/self/ns/user", "the host's own"),
                            ("/proc/1/ns/user", "the host's own")):
            bundle.config["linux"]["namespaces"][-1]["path"] = path
            bundle.write()
            done = nacre("run", "--bundle", bundle.path, self.container())
            self.assert_one_line_error(done, "linux.namespaces", path, words)

    def test_the_names_of_a_uts_namespace_by_path(self):
        other = subprocess.Popen(["unshare", "--uts", "sh", "-c", "hostname elsewhere; exec sleep 1000"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)

        def change(config):
            config["linux"]["namespaces"] = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "uts"]
            config["linux"]["namespaces"].append({"type": "uts", "path": f"/proc/{other.pid}/ns/uts"})
            del config["hostname"]
        with open(f"/proc/{other.pid}/comm", encoding="ascii") as file:
            wait_until(lambda: file.seek(0) == 0 and file.read() == "sleep\n", "the name is set")
        for program in (NACRE, "runc"):
            with self.subTest(program=program):
                bundle = self.bundle("hostname", change=change)
                self.assertEqual(run(program, "run", "--bundle", bundle.path, self.container()).stdout, b"elsewhere\n")

    def test_clocks_of_a_time_namespace(self):
        def change(config):
            config["linux"]["namespaces"].append({"type": "time"})
            config["linux"]["timeOffsets"] = {"boottime": {"secs": 86400 * 1000}, "monotonic": {"secs": 3600}}
        done = self.run_container("sh", "-c", "cat /proc/uptime; cat /proc/self/timens_offsets", change=change)
        lines = done.stdout.decode().splitlines()
        self.assertGreater(float(lines[0].split()[0]), 86400 * 1000)
        self.assertEqual([line.split() for line in lines[1:]],
                         [["monotonic", "3600", "0"], ["boottime", str(86400 * 1000), "0"]])

    def test_errors_are_those_of_runc(self):
        def unmapped(config):
            in_user_namespace(config)
            config["process"]["user"]["uid"] = 65536

        def without(config):
            config["linux"]["namespaces"].append({"type": "user"})

        def without_root(config):
            in_user_namespace(config)
            config["linux"]["gidMappings"][0]["containerID"] = 1
        for change, words in ((unmapped, "cannot set uid to unmapped user in user namespace"),
                              (without, "User namespaces enabled, but no uid mappings found."),
                              (without_root, "User namespaces enabled, but no group mapping found.")):
            with self.subTest(words=words):
                bundle = self.bundle("true", change=change, copy=True)
                os.chmod(bundle.path, 0o755)
                subprocess.run(["chown", "-R", f"{ROOT}:{ROOT}", f"{bundle.path}/rootfs"], check=True)
                for program in ("runc", NACRE):
                    done = run(program, "run", "--bundle", bundle.path, self.container())
                    self.assert_one_line_error(done, words)

    def test_the_stand_in_is_in_the_containers_namespaces_of_the_host(self):
        run("ip", "netns", "add", "given")
        self.addCleanup(os.rmdir, "/run/netns")
        self.addCleanup(run, "umount", "-n", "/run/netns")
        self.addCleanup(run, "ip", "netns", "delete", "given")
        given = os.stat("/run/netns/given").st_ino

        def inode(pid, kind):
            return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
        for path in (None, "/run/netns/given"):
            with self.subTest(path=path):
                note = (r"""pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/'); for ns in net mnt uts ipc; do """
                        "echo $(readlink /proc/$pid/ns/$ns) $(readlink /proc/self/ns/$ns); done > ")
                bundle = self.bundle("sleep", "1000", copy=True)
                os.makedirs(f"{bundle.path}/volume")
                bundle.config["hostname"] = "inside"
                volume = f"{bundle.path}/volume"
                bundle.config["mounts"].append(
                    {"destination": "/v/w", "type": "bind", "source": volume, "options": ["rbind", "ro"]})
                bundle.config["hooks"] = {
                    kind: [{"path": "/bin/bash", "args": ["bash", "-c", note + f"{bundle.path}/{kind}"]}]
                    for kind in ("prestart", "createContainer")}
                for namespace in bundle.config["linux"]["namespaces"]:
                    if namespace["type"] == "network" and path:
                        namespace["path"] = path
                bundle.write()
                container = self.container()
                done = subprocess.run([NACRE, "create", "--bundle", bundle.path, container], check=False,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                self.assertEqual(done.returncode, 0)
                pid = state(container)["pid"]
                for kind in ("net", "mnt", "uts", "ipc"):
                    self.assertNotEqual(inode(pid, kind), inode("self", kind), kind)
                self.assertEqual(inode(pid, "net") == given, path is not None)
                with open(f"{bundle.path}/prestart", encoding="utf-8") as file:
                    prestart = [line.split() for line in file]
                with open(f"{bundle.path}/createContainer", encoding="utf-8") as file:
                    inside = [line.split() for line in file]
                for pair, kind, own in zip(prestart, ("net", "mnt", "uts", "ipc"), inside, strict=True):
                    self.assertEqual(pair, [f"{kind}:[{inode(pid, kind)}]", f"{kind}:[{inode('self', kind)}]"])
                    self.assertEqual(own, [pair[0], pair[0]])
                self.assertEqual(run("nsenter", "-t", str(pid), "-u", "hostname").stdout, b"inside\n")
                enter = ("nsenter", "-t", str(pid), "-m", "/bin/busybox")
                self.assertEqual(run(*enter, "ls", "/").stdout.split(),
                                 sorted(name.encode() for name in os.listdir(f"{bundle.path}/rootfs")))
                with open(f"{volume}/file", "w", encoding="utf-8"):
                    self.assertEqual(run(*enter, "ls", "/v/w").stdout, b"file\n")
                self.assertEqual(nacre("start", container).returncode, 0)
                self.assertEqual(nacre("exec", container, "hostname").stdout, b"inside\n")
                self.assertEqual(nacre("delete", "--force", container).returncode, 0)
        bundle.config["linux"]["namespaces"][1]["path"] = "/run/netns/none"
        bundle.write()
        done = nacre("run", "--bundle", bundle.path, self.container())
        self.assertIn(b"/run/netns/none: no such file or directory", done.stderr)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    main()
