"""Mounts of containers that come from the host, beside runc where it knows them."""

import os
import shutil
import tempfile

from support import NACRE, ContainerTest, main, run

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
        """Sources that an earlier mount has put there, host paths as destinations, and mount points through links that
        lead nowhere yet, all with a read-only root."""
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
        """runc 1.1 knows no mapped mounts."""
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
            bundle.config["ociVersion"] = "1.0.2"  # crun 1.8 takes no other
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
        # What is mounted below is not there at all under crun 1.8.
        self.assertEqual([ours[1], ours[3]], [theirs[1], theirs[3]])
        self.assertIn("/n/below/c 5\n/r/below/c 1005\n", ours[2])


class HostFilesystems(ContainerTest):
    """File systems that a configuration mounts and that only the host can."""

    VIEW = ("cat /o/lower /o/both; echo new >/o/new; rm /o/lower; echo x >/d/file; ls /d; cat /r/lower; "
            "touch /r/no; grep -c ' /[odr] ' /proc/self/mountinfo")

    def prepare(self, top):
        self.addCleanup(run, "rm", "-rf", top)
        # A path that is longer than fsconfig(2) takes.
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
            # A relative root is one of the working directory, wherever the stand-in goes.
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
