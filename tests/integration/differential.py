# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle under runc (or crun) and under nacre, and compares them.

A bundle is made twice from one description. The process in each is the probe (tests/support/probe.cc). The comparison
covers the report of the probe, the exit status, and the files that are left in the bundle.
"""

import dataclasses
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile

from support import BUSYBOX, NACRE, PATIENCE

PROBE = os.path.join(os.path.dirname(os.path.abspath(NACRE)), "..", "tests", "probe")
PROGRAMS = {"runc": "runc", "crun": "crun", "nacre": NACRE}
BUSYBOX_NAMES = ("sh", "sleep", "cat", "true", "false", "echo", "env", "id", "pwd", "ls", "mount", "umount", "kill")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"

# Differences that a VM makes inevitable, and that do not count. Each pattern has to match the whole path of a value.
# neutral_mounts() removes the inevitable differences between mounts.
INEVITABLE = {
    "ociVersion": "the specification that the runtime follows",
    r"report\.dev\.in\.core\..*": "the guest's kernel has no /proc/kcore, and so there is no /dev/core",
    r"report\.answers\.write:/sys/kernel/uevent_seqnum":
        "the container's sysfs is the machine's, so it is the mount that is read-only and not the file system: EACCES",
    r"report\.answers\.(stat|read|write):/proc/sysrq-trigger": "the guest's kernel has no magic system requests",
}
# Paths that the guest's kernel may lack, so that there is nothing to mask or to protect.
OF_THE_KERNEL = ("/proc/kcore", "/proc/sysrq-trigger", "/proc/acpi", "/proc/asound", "/proc/scsi", "/proc/sched_debug",
                 "/proc/timer_stats", "/proc/latency_stats")
# Mount points below the source of an rbind mount, which the guest sees as part of the one virtio-fs.
SERVED_WITH_ANOTHER = ("/data/below",)


def write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def make_rootfs(root):
    for name, mode in {"": 0o755, "bin": 0o755, "etc": 0o755, "root": 0o700, "home": 0o755, "home/user": 0o755,
                       "tmp": 0o1777, "full": 0o2751, "full/inside": 0o750, "private": 0o700, "hidden": 0o755,
                       "kept": 0o755, "kept/below": 0o755, "outside": 0o755}.items():
        os.mkdir(f"{root}/{name}")
        os.chmod(f"{root}/{name}", mode)
    shutil.copy(f"{BUSYBOX}/bin/busybox", f"{root}/bin/busybox")
    for name in BUSYBOX_NAMES:
        os.symlink("busybox", f"{root}/bin/{name}")
    shutil.copy(PROBE, f"{root}/bin/probe")
    os.symlink("/bin/probe", f"{root}/probe")
    write(f"{root}/etc/passwd", PASSWD)
    write(f"{root}/etc/group", "root:x:0:\nuser:x:1000:\nextra:x:77:user\n")
    write(f"{root}/full/one", "first\n", 0o640)
    write(f"{root}/full/inside/two", "second\n", 0o4711)
    os.chown(f"{root}/full/one", 5, 6)
    write(f"{root}/file", "a file\n", 0o604)
    write(f"{root}/hidden/file", "secret\n")
    write(f"{root}/kept/file", "kept\n", 0o666)
    write(f"{root}/not-executable", "#!/bin/sh\n")
    write(f"{root}/bad-interpreter", "#!/nonesuch/interpreter foo bar\n", 0o755)
    write(f"{root}/no-format", "neither a script nor a program\n", 0o755)
    write(f"{root}/private/program", "#!/bin/sh\necho private\n", 0o755)
    os.symlink("/full", f"{root}/link")
    os.symlink("made/by-link", f"{root}/dangling")
    os.symlink("file", f"{root}/file-link")
    os.symlink("../../../../../../outside", f"{root}/outwards")
    os.symlink("loop", f"{root}/loop")


def make_data(path):
    for name in ("", "dir", "dir/sub", "lower", "upper", "work"):
        os.mkdir(f"{path}/{name}")
    os.chmod(f"{path}/dir", 0o775)
    write(f"{path}/dir/one", "data one\n", 0o664)
    write(f"{path}/dir/sub/two", "data two\n", 0o755)
    write(f"{path}/file", "data file\n", 0o666)
    write(f"{path}/lower/low", "lower\n")
    shutil.copy(f"{BUSYBOX}/bin/busybox", f"{path}/dir/suid")
    os.chmod(f"{path}/dir/suid", 0o4755)


def tree(top):
    """Returns type, mode and owner of each file that a container left."""
    found = {}
    for folder, folders, names in os.walk(top):
        for name in [""] if folder == top else []:
            folders.sort()
        for name in folders + names:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            found[os.path.relpath(path, top)] = f"{stat.filemode(info.st_mode)} {info.st_uid}:{info.st_gid}"
    return found


class Bundle:
    """One runtime's copy of a bundle. `config` may use "BUNDLE" as the name of its own directory."""

    def __init__(self, runtime, config, prepare=None):
        self.runtime = runtime
        self.path = tempfile.mkdtemp(prefix=f"differential-{runtime}-")
        make_rootfs(f"{self.path}/rootfs")
        make_data(f"{self.path}/data")
        if prepare:
            prepare(self.path)
        text = config if isinstance(config, str) else json.dumps(config)
        write(f"{self.path}/config.json", text.replace("BUNDLE", self.path))

    def remove(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = [line.split()[4] for line in file]
        for path in reversed(mounts):
            if path.startswith(self.path + "/"):
                subprocess.run(["umount", path], check=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def neutral(self, text):
        return text.replace(self.path, "BUNDLE").replace(os.path.basename(self.path), "NAME")

    def command(self, *argv, **options):
        if "stdin" not in options:
            options.setdefault("input", b"")
        options.setdefault("cwd", self.path)
        # Uses no pipes with --detach: the container would hold them open.
        detached = "--detach" in argv
        options.update({name: subprocess.DEVNULL if detached else subprocess.PIPE for name in ("stdout", "stderr")})
        done = subprocess.run([PROGRAMS[self.runtime], *argv], check=False, timeout=PATIENCE, **options)
        if detached:
            return Outcome(self.runtime, done.returncode, "", "")
        return Outcome(self.runtime, done.returncode, self.neutral(done.stdout.decode(errors="replace")),
                       self.neutral(done.stderr.decode(errors="replace")))

    def left(self):
        return {"rootfs": tree(f"{self.path}/rootfs"), "data": tree(f"{self.path}/data")}


@dataclasses.dataclass
class Outcome:
    runtime: str
    status: int
    output: str
    errors: str

    def observed(self):
        """Returns what of the outcome is compared."""
        seen = {"status": self.status}
        if self.status == 0:
            seen["said"] = bool(self.errors)
        try:
            seen["report"] = neutral_report(json.loads(self.output))
        except ValueError:
            seen["output"] = self.output
        return seen


def neutral_report(report):
    if isinstance(report, dict) and "mounts" in report:
        report["mounts"] = neutral_mounts(report["mounts"])
        # Without a cgroup namespace, this is a path on the host under runc, and a path in the guest under nacre.
        if report["cgroup"] != "0::/\n":
            report["cgroup"] = "a path"
    return report


def neutral_mounts(mounts):
    """Returns the mounts by mount point, without what depends on the host's file systems or on the kernel."""
    found = {}
    for mount in mounts:
        at = mount.pop("at")
        if at in OF_THE_KERNEL or at in SERVED_WITH_ANOTHER:
            continue
        while at in found:
            at += " again"
        # virtio-fs stands for all file systems of the host, so only options and propagation are compared.
        if mount["type"] == "virtiofs" or "NAME" in mount["root"] or "BUNDLE" in mount["root"]:
            mount = {"options": mount["options"], "propagation": mount["propagation"]}
        elif mount["root"] == "/null":
            mount = {"masked": True}  # by a /dev/null that the image cannot have changed
        elif mount["type"] in ("sysfs", "cgroup2"):
            del mount["super"]  # depends on the network namespace, which no VM needs, and on the host's own mount
        else:
            mount["super"] = [word for word in mount["super"] if word != "inode64" and not word.startswith("mode=")]
        if "propagation" in mount:
            mount["propagation"] = [word for word in mount["propagation"] if word != "master"]
        found[at] = dict(mount, order=len(found))
    return found


def flatten(value, path=""):
    if isinstance(value, dict) and value:
        flat = {}
        for key, inner in value.items():
            flat.update(flatten(inner, f"{path}.{key}" if path else key))
        return flat
    return {path: value}


def differences(first, second):
    """Returns [(path, value in the first, value in the second)], without inevitable differences."""
    if first.get("status") != second.get("status"):
        return [("status", first.get("status"), second.get("status"))]
    one, two = flatten(first), flatten(second)
    found = []
    for path in sorted(one.keys() | two.keys()):
        values = one.get(path, "absent"), two.get(path, "absent")
        if values[0] != values[1] and not any(re.fullmatch(pattern, path) for pattern in INEVITABLE):
            found.append((path, *values))
    return found


def run_both(config, prepare=None, oracle="runc", arguments=()):
    """Runs a bundle under `oracle` and under nacre, and returns the two outcomes and the differences."""
    outcomes, seen = [], []
    for runtime in (oracle, "nacre"):
        bundle = Bundle(runtime, config, prepare)
        try:
            name = os.path.basename(bundle.path)
            outcome = bundle.command("run", *arguments, "--bundle", bundle.path, name)
            outcomes.append(outcome)
            seen.append(dict(outcome.observed(), left=bundle.left() if outcome.status == 0 else None))
            bundle.command("delete", "--force", name)
        finally:
            bundle.remove()
    return outcomes, differences(*seen)


def explain(found, names=("runc", "nacre")):
    return "\n".join(f"  {path}\n    {names[0]:6}{json.dumps(one)}\n    {names[1]:6}{json.dumps(two)}"
                     for path, one, two in found)
