# SPDX-License-Identifier: Apache-2.0
"""Tests mounts that come from the host, and compares them with runc if runc supports them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile

from support import NACRE, ContainerTest, main, nacre, node_makers, processes, run, state, wait_until

EVERYTHING = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_MKNOD", "CAP_NET_ADMIN",
              "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_ADMIN"]

BINDS = {"b": ["bind"], "r": ["rbind"], "ro": ["rbind", "ro"], "rro": ["rbind", "rro"], "p": ["rbind", "rprivate"],
         "s": ["rbind", "rshared"], "u": ["bind", "unbindable"], "sl": ["rbind", "rslave"], "p1": ["rbind", "private"],
         "bro": ["bind", "ro", "nosuid"], "ne": ["rbind", "noexec"], "f": ["bind", "ro"]}

BIND_VIEW = r"""
for i in b r ro rro p s u sl p1 bro ne; do
  echo $i: $(ls /$i /$i/sub /$i/sub/deep); touch /$i/top-$i; touch /$i/sub/inner-$i; touch /$i/sub/deep/deep-$i
done 2>&1
cat /f; echo x > /f; rm -f /p/top-p && echo removed
while read id parent dev root point options rest; do
  case $point in /|/b*|/r*|/p*|/s*|/u*|/n*|/f) echo $point $options ${rest%%-*};; esac
done < /proc/self/mountinfo | grep -v '^/proc\|^/sys' | sed 's/:[0-9]*//g'
"""


class Binds(ContainerTest):
    def test_binds_are_as_under_runc(self):
        outcomes = []
        for program in ("runc", NACRE):
            top = "/srv/top dir"
            self.addCleanup(run, "umount", "-n", "--recursive", top)
            for path, options in ((top, "rw"), (f"{top}/sub", "nosuid,noexec,strictatime"), (f"{top}/sub/deep", "ro,nodev")):
                os.makedirs(path, exist_ok=True)
                mounted = run("mount", "-n", "-t", "tmpfs", "-o", options.replace("ro,", "mode=777,"), "t", path)
                self.assertEqual(mounted.returncode, 0)
                with open(f"{path}/in-{os.path.basename(path)[0]}", "w", encoding="utf-8") as file:
                    file.write("file\n")
                if "ro," in options:
                    run("mount", "-n", "-o", f"remount,bind,{options}", path)
            bundle = self.bundle("sh", "-c", BIND_VIEW, copy=True)
            bundle.config["mounts"] += [
                {"destination": f"/{name}", "type": "bind", "options": options,
                 "source": f"{top}/in-t" if name == "f" else top}
                for name, options in BINDS.items()]
            bundle.write()
            done = run(program, "run", "--bundle", bundle.path, self.container())
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode()))
            found = run("find", top).stdout.decode()
            outcomes[-1] += ("".join(sorted(found.splitlines(keepends=True))),)
            self.assertEqual(run("umount", "-n", "--recursive", top).returncode, 0)
        theirs, ours = outcomes
        self.assertIn("/r/sub/deep", theirs[1], theirs)
        self.assertEqual(ours, theirs)

    def test_places_in_the_root_are_as_under_runc(self):
        """Covers sources that an earlier mount has put there, host paths as destinations, and a mount point through a
        link, all with a read-only root. (A link that leads to nothing is an error: plan_test.cc.)"""
        outcomes = []
        for program in ("runc", NACRE):
            bundle = self.bundle("sh", "-c", "cat /final/x/file /tmp/foo/bar /data/file; ls /final; echo x >/final/new; "
                                 "echo x >/data/new; echo x >/new; cut -d' ' -f 2 /proc/mounts | grep '/final\\|/tmp\\|/data'",
                                 copy=True)
            root = f"{bundle.path}/rootfs"
            for name in ("a/x", "b"):
                os.makedirs(f"{bundle.path}/{name}")
                with open(f"{bundle.path}/{name}/file", "w", encoding="utf-8") as file:
                    file.write(f"of {name}\n")
            for name in ("mnt", "stored", "final"):
                os.mkdir(f"{root}/{name}")
            shutil.copy(f"{bundle.path}/b/file", f"{root}/stored")
            os.makedirs(f"{root}/tmp/foo")
            with open(f"{root}/tmp/foo/bar", "w", encoding="utf-8"):
                pass
            os.symlink("/tmp/foo/bar", f"{root}/etc/link")
            bundle.config["root"]["readonly"] = True
            bundle.config["mounts"] += [
                {"destination": destination, "type": "bind", "source": source, "options": [kind]}
                for destination, source, kind in (
                    ("/mnt/", f"{bundle.path}/a", "bind"), ("/mnt/x", f"{bundle.path}/b", "bind"),
                    (f"{root}/final", f"{root}/mnt", "rbind"), ("/data", f"{root}/stored", "bind"),
                    ("/etc/link", f"{bundle.path}/a/x/file", "bind"))]
            bundle.write()
            done = run(program, "run", "--bundle", bundle.path, self.container())
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode()))
        theirs, ours = outcomes
        self.assertIn("of b\nof a/x\nof b\n", theirs[1], theirs)
        self.assertEqual(ours, theirs)

    def test_mapped_ids_are_as_under_crun(self):
        """Compares with crun, because runc 1.1 has no id-mapped mounts."""
        volume, below = "/srv/mapped", "/srv/mapped/below"
        self.addCleanup(run, "umount", "-n", "--recursive", volume)
        outcomes = []
        for program in ("crun", NACRE):
            os.makedirs(volume, exist_ok=True)
            run("mount", "-n", "-t", "tmpfs", "t", volume)
            os.mkdir(below)
            run("mount", "-n", "-t", "tmpfs", "t", below)
            for path, owner in ((volume, 0), (f"{volume}/a", 0), (f"{volume}/b", 5), (f"{below}/c", 5)):
                if path != volume:
                    with open(path, "w", encoding="utf-8"):
                        pass
                os.chown(path, owner, owner)

            def mapping(outside):
                ids = [{"containerID": 0, "hostID": outside, "size": 100}]
                return {"uidMappings": ids, "gidMappings": ids}
            bundle = self.bundle("sh", "-c", "stat -c '%n %u %g' /[mnru]/[ab]; touch /m/new /u/new2 /n/none; "
                                 "chown 1007:1007 /n/b; chown 7:7 /n/a; stat -c '%n %u' /m/new /n/b; "
                                 "stat -c '%n %u' /[nr]/below/c >&2", copy=True)
            bundle.config["ociVersion"] = "1.0.2"  # crun 1.8 accepts no other
            for kind in bundle.config["process"]["capabilities"].values():
                kind += EVERYTHING
            bundle.config["process"]["capabilities"].pop("ambient")
            bundle.config["mounts"] += [
                {"destination": f"/{name}", "type": "bind", "source": volume, "options": options, **ids}
                for name, options, ids in (("m", ["rbind", "idmap"], mapping(0)), ("u", ["rbind"], {}),
                                           ("n", ["rbind", "idmap"], mapping(1000)),
                                           ("r", ["rbind", "ridmap"], mapping(1000)))]
            bundle.write()
            done = run(program, "run", "--bundle", bundle.path, self.container())
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode()))
            outcomes[-1] += (run("find", volume, "-printf", "%P %U %G\n").stdout.decode(),)
            run("umount", "-n", "--recursive", volume)
        theirs, ours = outcomes
        # Leaves out stderr: under crun 1.8, what is mounted below the volume is missing.
        self.assertEqual([ours[1], ours[3]], [theirs[1], theirs[3]])
        self.assertIn("/n/below/c 5\n/r/below/c 1005\n", ours[2])


NODES = r"""
mknod -m 640 /null c 1 3; mknod /zero c 1 5; mknod /disk b 7 0; mknod /large c 240 70000; mknod /null c 1 3
(umask 027; mknod /masked c 1 3); mkdir -m 2777 /set; chgrp 9 /set; mknod /set/null c 1 3
chown 5:6 /null; chmod 4751 /zero; mv /zero /moved; ln /null /hard; touch -d '2020-01-01 12:00:07' /null
head -c 3 /moved | od -c; echo x > /null && echo written; head -c 1 /disk; rm /masked
tar c -C / moved disk | tar x -C /set; mknod /volume/null c 1 3; mknod /readonly/null c 1 3
stat -c '%n %F %a %u %g %t %T %h' /null /moved /disk /large /set/* /volume/*; stat -c %Y /null
"""


class DeviceNodes(ContainerTest):
    """Tests device nodes that a container makes on file systems of the host."""

    def nodes(self, script, change=None):
        bundle = self.bundle("sh", "-c", script, copy=True)
        bundle.config["process"]["capabilities"] = {
            kind: list(EVERYTHING) for kind in ("bounding", "effective", "permitted")}
        for name in ("volume", "readonly"):
            os.mkdir(f"{bundle.path}/{name}")
            bundle.config["mounts"].append({"destination": f"/{name}", "type": "bind", "source": f"{bundle.path}/{name}",
                                            "options": ["bind", "ro"] if name == "readonly" else ["bind"]})
        bundle.config["root"]["readonly"] = False
        if change:
            change(bundle.config)
        bundle.write()
        return bundle

    def start(self, change=None):
        name = self.container()
        bundle = self.nodes("exec sleep 1000", change)
        subprocess.run([NACRE, "run", "--detach", "--bundle", bundle.path, name], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return name

    def test_they_are_made_as_under_runc(self):
        outcomes = []
        for program in ("runc", NACRE):
            bundle = self.nodes(NODES)
            done = run(program, "run", "--bundle", bundle.path, self.container())
            found = run("find", bundle.path, "-type", "b,c", "-printf", "%P %y %m %U %G\n").stdout.decode()
            disk = os.lstat(f"{bundle.path}/rootfs/large").st_rdev
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode(), sorted(found.splitlines()), disk))
        theirs, ours = outcomes
        self.assertIn("/null character special file 640 5 6 1 3 2\n", theirs[1])
        self.assertEqual(ours, theirs)

    def test_who_may_not(self):
        def without(config):
            for kind in config["process"]["capabilities"].values():
                kind.remove("CAP_MKNOD")

        def in_a_user_namespace(config):
            config["linux"]["namespaces"].append({"type": "user"})
            ids = [{"containerID": 0, "hostID": 0, "size": 1000}]
            config["linux"].update(uidMappings=ids, gidMappings=ids)
        for change in (without, in_a_user_namespace):
            with self.subTest(change=change.__name__):
                name = self.start(change)
                self.assertEqual(node_makers(), [])
                for capability in ([], ["--cap", "CAP_MKNOD"]):
                    done = nacre("exec", *capability, name, "mknod", "/null", "c", "1", "3")
                    self.assertIn(b"/null: Operation not permitted", done.stderr)
                nacre("delete", "--force", name)

    def test_their_maker(self):
        """Checks that the helper can do nothing else and ends with its vmm. If the helper is gone, mknod fails and the
        container goes on."""
        name = self.start()
        (maker,) = node_makers()
        # The helper belongs to the VM and is not one of the container's processes.
        self.assertEqual(json.loads(nacre("ps", "--format", "json", name).stdout), [state(name)["pid"]])
        os.kill(maker, signal.SIGTERM)  # as a service manager sends it to all processes of a service
        with open(f"/proc/{maker}/status", encoding="utf-8") as file:
            status = dict(line.split(":\t", 1) for line in file.read().splitlines())
        # chown, dac_override, fsetid, setgid, setuid, setpcap, mknod
        self.assertEqual([status["CapPrm"], status["CapEff"], status["NoNewPrivs"]],
                         [f"{1 << 0 | 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 27:016x}"] * 2 + ["1"])
        self.assertEqual(len(os.listdir(f"/proc/{maker}/fd")), 2)
        self.assertEqual(nacre("exec", name, "mknod", "/one", "c", "1", "3").returncode, 0)
        os.kill(maker, signal.SIGKILL)
        done = nacre("exec", name, "mknod", "/two", "c", "1", "3")
        self.assertEqual((done.returncode, done.stderr.decode()), (1, "mknod: /two: Input/output error\n"))
        self.assertEqual(nacre("exec", name, "ls", "/one").returncode, 0)


LATER_VIEW = r"""
for i in none rslave rshared rprivate readonly; do
  echo $i: $(ls /$i /$i/early) $(cat /$i/sub/file /$i/sub/deep/file /$i/file); touch /$i/sub/new && rm /$i/sub/new
done 2>&1
while read id parent dev root point options rest; do
  case $point in /none*|/r*) echo $point $options ${rest%%-*};; esac
done < /proc/self/mountinfo | sed 's/:[0-9]*//g' | sort
"""


class LaterMounts(ContainerTest):
    """Tests mounts that the host makes while the container runs."""

    TOP = "/srv/later"

    def start(self, program, root_propagation=None, mounts=()):
        binds = {"none": ["rbind"], "rslave": ["rbind", "rslave"], "rshared": ["rbind", "rshared"],
                 "rprivate": ["rbind", "rprivate"], "readonly": ["rbind", "ro", "rslave"]}
        bundle = self.bundle("sleep", "1000", copy=True)
        bundle.config["mounts"] += [{"destination": f"/{name}", "type": "bind", "source": self.TOP, "options": options}
                                    for name, options in binds.items()]
        bundle.config["mounts"] += mounts
        if root_propagation:
            bundle.config["linux"]["rootfsPropagation"] = root_propagation
        bundle.write()
        name = self.container()
        self.addCleanup(run, program, "delete", "--force", name)
        subprocess.run([program, "run", "--detach", "--bundle", bundle.path, name], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return name

    def make_sources(self):
        """Mounts a shared tmpfs with two mounts below it, which are there before the container is made."""
        os.makedirs(self.TOP, exist_ok=True)
        self.addCleanup(run, "umount", "-n", "--recursive", self.TOP)
        run("mount", "-n", "-t", "tmpfs", "top", self.TOP)
        run("mount", "-n", "--make-shared", self.TOP)
        os.mkdir(f"{self.TOP}/sub")
        with open(f"{self.TOP}/file", "w", encoding="utf-8") as file:
            file.write("covered\n")
        os.mkdir(f"{self.TOP}/early")
        self.mount("early", "early", "-t", "tmpfs", "-o", "nosuid")
        os.mkdir(f"{self.TOP}/early/below")
        self.mount("below", "early/below", "-t", "tmpfs")

    def mount(self, source, place, *options):
        self.assertEqual(run("mount", "-n", *options, source, f"{self.TOP}/{place}").returncode, 0)

    def unmount(self, place):
        self.assertEqual(run("umount", "-n", f"{self.TOP}/{place}").returncode, 0)

    def views(self, program, look, root_propagation=None):
        """Returns what the container sees after each step that the host takes."""
        self.make_sources()
        name = self.start(program, root_propagation)
        seen = [look(name, 0)]
        self.mount("sub", "sub", "-t", "tmpfs", "-o", "nosuid,noexec")
        with open(f"{self.TOP}/sub/file", "w", encoding="utf-8") as file:
            file.write("in sub\n")
        os.mkdir(f"{self.TOP}/sub/deep")
        seen.append(look(name, 1))
        self.mount("deep", "sub/deep", "-t", "tmpfs", "-o", "noatime")
        with open(f"{self.TOP}/sub/deep/file", "w", encoding="utf-8") as file:
            file.write("in deep\n")
        self.mount(f"{self.TOP}/sub/file", "file", "--bind")
        seen.append(look(name, 2))
        self.unmount("file")
        self.unmount("sub/deep")
        self.unmount("early/below")
        seen.append(look(name, 3))
        run("umount", "-n", "--recursive", f"{self.TOP}/sub")
        self.mount("ro", "sub", "-t", "tmpfs", "-o", "ro")
        self.unmount("early")
        seen.append(look(name, 4))
        self.unmount("sub")
        seen.append(look(name, 5))
        run(program, "delete", "--force", name)
        run("umount", "-n", "--recursive", self.TOP)
        return seen

    def test_they_come_and_go_as_under_runc(self):
        self.compare(None)

    def test_with_a_shared_root(self):
        self.compare("shared")

    def compare(self, root_propagation):
        def view(program, name):
            done = run(program, "exec", name, "sh", "-c", LATER_VIEW)
            return done.stdout.decode() + done.stderr.decode()
        theirs = self.views("runc", lambda name, _: view("runc", name), root_propagation)
        self.assertIn("in sub in deep in sub\n", theirs[2])

        def look(name, step):
            # Nacre passes a change on a moment later than the kernel would.
            with contextlib.suppress(AssertionError):
                wait_until(lambda: view(NACRE, name) == theirs[step], "it has come", 30)
            seen = view(NACRE, name)
            self.assertEqual(seen, theirs[step], f"step {step}")
            return seen
        self.views(NACRE, look, root_propagation)

    def test_below_a_tmpfs_of_the_container(self):
        """Checks that the bind keeps the mounts below its source, although the host's side does not see the bind."""
        self.make_sources()
        name = self.start(NACRE, mounts=[
            {"destination": "/t", "type": "tmpfs", "source": "t"},
            {"destination": "/t/b", "type": "bind", "source": self.TOP, "options": ["rbind"]}])
        self.mount("sub", "sub", "-t", "tmpfs")
        wait_until(lambda: nacre("exec", name, "grep", "/rslave/sub ", "/proc/self/mountinfo").returncode == 0, "it has come")
        self.assertEqual(nacre("exec", name, "ls", "/t/b/early").stdout, b"below\n")
        self.assertEqual(nacre("exec", name, "grep", "-c", "/t/b", "/proc/self/mountinfo").stdout, b"3\n")

    def test_quick_changes(self):
        self.make_sources()
        name = self.start(NACRE)
        for number in range(20):
            if number:  # tries again: the mount is busy while somebody looks at it
                wait_until(lambda: run("umount", "-n", f"{self.TOP}/sub").returncode == 0, "unmounted")
            self.mount("sub", "sub", "-t", "tmpfs")
            with open(f"{self.TOP}/sub/file", "w", encoding="utf-8") as file:
                file.write(f"{number}\n")
        wait_until(lambda: nacre("exec", name, "cat", "/rslave/sub/file").stdout == b"19\n", "the last one is there", 30)
        mounts = nacre("exec", name, "grep", "/rslave/sub ", "/proc/self/mountinfo").stdout
        self.assertEqual(len(mounts.splitlines()), 1, mounts)

    def test_one_over_another(self):
        self.make_sources()
        name = self.start(NACRE)
        for number in (1, 2):
            self.mount("sub", "sub", "-t", "tmpfs")
            with open(f"{self.TOP}/sub/file", "w", encoding="utf-8") as file:
                file.write(f"{number}\n")
        read = ("exec", name, "cat", "/rslave/sub/file")
        wait_until(lambda: nacre(*read).stdout == b"2\n", "the upper one is there")
        self.unmount("sub")
        wait_until(lambda: nacre(*read).stdout == b"1\n", "the lower one is there")

    def test_the_vm_ends_with_its_stand_in(self):
        self.make_sources()
        name = self.start(NACRE)
        self.mount("sub", "sub", "-t", "tmpfs")
        grep = ("exec", name, "grep", "/rslave/sub ", "/proc/self/mountinfo")
        wait_until(lambda: nacre(*grep).returncode == 0, "it has come")
        os.kill(state(name)["pid"], signal.SIGKILL)
        wait_until(lambda: not processes("vmm"), "no vmm is left")

    def test_the_host_is_not_kept_from_unmounting(self):
        self.make_sources()
        name = self.start(NACRE)
        loop = run("losetup", "--find", "--show", self.image()).stdout.decode().strip()
        self.addCleanup(run, "losetup", "--detach", loop)
        self.mount(loop, "sub")
        with open(f"{self.TOP}/sub/file", "w", encoding="utf-8") as file:
            file.write("open\n")
        wait_until(lambda: nacre("exec", name, "cat", "/rslave/sub/file").stdout == b"open\n", "it has come")
        reader = subprocess.Popen([NACRE, "exec", name, "sh", "-c", "exec 3</rslave/sub/file; echo; sleep 1000"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(reader.stdout.close)
        self.addCleanup(reader.wait)
        self.addCleanup(nacre, "kill", name, "KILL")
        self.assertEqual(reader.stdout.read(1), b"\n")
        self.unmount("sub")
        # The device is free again.
        wait_until(lambda: run("mkfs.ext4", "-q", "-F", loop).returncode == 0, "the file system is given up")

    def image(self):
        path = tempfile.mktemp(dir="/var/tmp")
        with open(path, "wb") as file:
            file.truncate(16 << 20)
        self.addCleanup(os.unlink, path)
        self.assertEqual(run("mkfs.ext4", "-q", path).returncode, 0)
        return path


class HostFilesystems(ContainerTest):
    """Tests file systems of config.json that only the host can mount."""

    VIEW = ("cat /o/lower /o/both; echo new >/o/new; rm /o/lower; echo x >/d/file; ls /d; cat /r/lower; "
            "touch /r/no; grep -c ' /[odr] ' /proc/self/mountinfo")

    def prepare(self, top):
        self.addCleanup(run, "rm", "-rf", top)
        # The path is longer than fsconfig(2) accepts.
        folders = {name: f"{top}/{'long-' * 40}/{name}" for name in ("lower", "upper", "work")}
        for folder in folders.values():
            os.makedirs(folder)
        for name, text in (("lower/lower", "lower\n"), ("lower/both", "lower\n"), ("upper/both", "upper\n")):
            with open(f"{os.path.dirname(folders['lower'])}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        disk = f"{top}/disk"
        with open(disk, "wb") as file:
            file.truncate(16 << 20)
        self.assertEqual(run("mkfs.ext4", "-q", disk).returncode, 0)
        loop = run("losetup", "--find", "--show", disk).stdout.decode().strip()
        self.addCleanup(run, "losetup", "--detach", loop)
        return folders, loop

    def test_they_are_as_under_runc(self):
        outcomes = []
        for program in ("runc", NACRE):
            folders, loop = self.prepare("/tmp/filesystems")
            overlay = [f"lowerdir={folders['lower']}", f"upperdir={folders['upper']}", f"workdir={folders['work']}"]
            bundle = self.bundle("sh", "-c", self.VIEW, copy=True)
            bundle.config["mounts"] += [
                {"destination": "/o", "type": "overlay", "source": "overlay", "options": overlay + ["nosuid"]},
                {"destination": "/r", "type": "overlay", "source": "overlay",
                 "options": ["ro", f"lowerdir={folders['lower']}:{folders['upper']}"]},
                {"destination": "/d", "type": "ext4", "source": loop, "options": ["noatime", "data=ordered"]}]
            bundle.write()
            # A relative --root starts at the caller's working directory, wherever the stand-in goes.
            root = tempfile.mkdtemp(dir="/tmp")
            self.addCleanup(shutil.rmtree, root)
            done = run(program, "--root", os.path.relpath(root), "run", "--bundle", bundle.path, self.container())
            kept = run("find", folders["upper"], "-printf", "%P %y %s\n").stdout.decode()
            outcomes.append((done.returncode, done.stdout.decode(), done.stderr.decode(), sorted(kept.splitlines())))
            self.assertNotIn("/mount-", run("cat", "/proc/self/mountinfo").stdout.decode())
            self.doCleanups()
            ContainerTest.setUp(self)
        theirs, ours = outcomes
        self.assertIn("new f 4", theirs[3], theirs)
        self.assertEqual(ours, theirs)

    def test_errors_name_the_mount(self):
        for mount, words in (({"type": "ext4", "source": "/nonesuch"}, "ext4: no such file or directory"),
                             ({"type": "nonesuch", "source": "x"}, "nonesuch: no such device"),
                             ({"type": "overlay", "source": "overlay", "options": ["lowerdir=/nonesuch"]}, "overlay: ")):
            with self.subTest(mount=mount):
                bundle = self.bundle("true", copy=True)
                bundle.config["mounts"].append({"destination": "/x", **mount})
                bundle.write()
                done = run(NACRE, "run", "--bundle", bundle.path, self.container())
                index = len(bundle.config["mounts"]) - 1
                self.assert_one_line_error(done, f"mounts[{index}]: ", words)


if __name__ == "__main__":
    main()
