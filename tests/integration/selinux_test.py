# SPDX-License-Identifier: Apache-2.0
"""SELinux on the host: the container's labels are on the VM and on what the host mounts, as under runc.

The lab has SELinux with Debian's policy for this test (--lsm selinux), and is permissive. That policy has no
container_t; it knows libvirt's types for virtual machines.
"""

import os
import shutil
import subprocess

from support import NACRE, ContainerTest, alive, children, command, detach, main, nacre, run, wait_until

PROCESS = "system_u:system_r:svirt_t:s0:c1,c2"
FILES = "system_u:object_r:svirt_image_t:s0:c1,c2"
ENFORCE = "/sys/fs/selinux/enforce"
LOWER = "/srv/selinux"


def label_of(pid):
    with open(f"/proc/{pid}/attr/current", encoding="ascii") as file:
        return file.read().strip("\n\0")


def label_of_file(path):
    return os.getxattr(path, "security.selinux").decode().strip("\0")


def labelled(config):
    config["process"]["selinuxLabel"] = PROCESS
    config["linux"]["mountLabel"] = FILES
    for kind in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][kind].append("CAP_MKNOD")
    config["mounts"].append({"destination": "/layers", "type": "overlay", "source": "overlay",
                             "options": [f"lowerdir={LOWER}/one:{LOWER}/two"]})


class SELinux(ContainerTest):
    def setUp(self):
        super().setUp()
        for name in ("one", "two"):
            os.makedirs(f"{LOWER}/{name}")
            with open(f"{LOWER}/{name}/{name}", "w", encoding="ascii") as file:
                file.write("content\n")
        self.addCleanup(shutil.rmtree, LOWER)

    def start(self, bundle, program=NACRE):
        """Returns the container's pid, and what the command said."""
        container = self.container()
        if program != NACRE:
            self.addCleanup(run, program, "delete", "--force", container)
        # Not its output as pipes: the container would keep them open.
        with open(f"{bundle.path}/log", "wb") as log:
            done = subprocess.run([program, "run", "--detach", "--pid-file", f"{bundle.path}/pid",
                                   "--bundle", bundle.path, container],
                                  check=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        with open(f"{bundle.path}/log", encoding="utf-8") as log:
            said = log.read()
        self.assertEqual(done.returncode, 0, said)
        with open(f"{bundle.path}/pid", encoding="ascii") as file:
            return container, int(file.read()), said

    def test_labels_are_where_runc_has_them(self):
        _, theirs, _ = self.start(self.bundle("sleep", "1000", copy=True, change=labelled), "runc")
        container, standin, said = self.start(self.bundle("sleep", "1000", copy=True, change=labelled))
        self.assertEqual(said.count("\n"), 1, said)
        self.assertIn("process.selinuxLabel: labels the VM on the host", said)
        self.assertEqual(label_of(theirs), PROCESS)
        (vmm,) = children(standin)
        (nodes,) = children(vmm)
        self.assertEqual((command(vmm), command(nodes)), ("vmm", "vmm-nodes"))
        processes = [standin, vmm, nodes]
        self.assertEqual([label_of(pid) for pid in processes], [PROCESS] * 3)
        for thread in os.listdir(f"/proc/{vmm}/task"):
            with open(f"/proc/{vmm}/task/{thread}/attr/current", encoding="ascii") as file:
                self.assertEqual(file.read().strip("\n\0"), PROCESS, thread)
        for place in ("dev", "layers/one", "layers/two"):
            self.assertEqual(label_of_file(f"/proc/{theirs}/root/{place}"), FILES, place)
            self.assertEqual(label_of_file(f"/proc/{standin}/root/{place}"), FILES, place)
        self.assertEqual(label_of_file(f"/proc/{vmm}/root/fs"), FILES)
        done = nacre("exec", container, "sh", "-c", "cat /layers/one /layers/two; echo a >f && mknod n c 1 3 && rm f n")
        self.assertEqual((done.returncode, done.stdout), (0, b"content\ncontent\n"), done.stderr)
        self.assertEqual(nacre("kill", container, "KILL").returncode, 0)
        wait_until(lambda: not alive(standin) and not alive(vmm), "the container has ended")

    def test_the_label_of_an_exec(self):
        container, _, _ = self.start(self.bundle("sleep", "1000", copy=True, change=labelled))
        other = PROCESS.replace("c1,c2", "c3,c4")
        pid_file = f"/run/{container}.pid"
        self.addCleanup(os.unlink, pid_file)
        for options, label in ((["--process-label", other], other), ([], PROCESS)):
            detach("exec", "--detach", "--pid-file", pid_file, *options, container, "sleep", "1000")
            with open(pid_file, encoding="ascii") as file:
                self.assertEqual(label_of(int(file.read())), label)

    def test_labels_that_the_policy_does_not_know(self):
        for section, field, wrong in (("process", "selinuxLabel", PROCESS.replace("svirt", "nonesuch")),
                                      ("linux", "mountLabel", FILES.replace("svirt", "nonesuch"))):
            bundle = self.bundle("true", copy=True, change=labelled)
            bundle.config[section][field] = wrong
            bundle.write()
            theirs = run("runc", "run", "--bundle", bundle.path, self.container())
            self.assertIn(b"invalid argument", theirs.stderr)
            done = nacre("run", "--bundle", bundle.path, self.container())
            lines = [line for line in done.stderr.decode().splitlines() if "labels the VM" not in line]
            self.assertEqual((done.returncode, done.stdout, len(lines)), (theirs.returncode, b"", 1), done.stderr)
            self.assertIn("invalid argument", lines[0])

    def test_a_label_that_an_enforcing_policy_refuses(self):
        """Debian's policy lets libvirt start svirt_t, and not an administrator."""
        bundle = self.bundle("true", copy=True, change=labelled)
        with open(ENFORCE, "w", encoding="ascii") as file:
            file.write("1")
        try:
            theirs = run("runc", "run", "--bundle", bundle.path, self.container())
            done = nacre("run", "--bundle", bundle.path, self.container())
        finally:
            with open(ENFORCE, "w", encoding="ascii") as file:
                file.write("0")
        self.assertEqual(theirs.returncode, 1, theirs)
        lines = [line for line in done.stderr.decode().splitlines() if "labels the VM" not in line]
        self.assertEqual((done.returncode, done.stdout, len(lines)), (1, b"", 1), done.stderr)
        self.assertIn("permission denied", lines[0])


if __name__ == "__main__":
    main()
