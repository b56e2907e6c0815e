# SPDX-License-Identifier: Apache-2.0
"""`nacre exec`, and the sockets that announce new processes."""

import json
import os
import socket
import subprocess

from support import PATIENCE, CommandTest, main


class Exec(CommandTest):
    def test_exec(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        running = [self.start_nacre("exec", "a", "sh", "-c", f"echo {i}; exit {i}", stdout=subprocess.PIPE)
                   for i in range(10)]
        for i, process in enumerate(running):
            self.assertEqual(process.communicate(timeout=PATIENCE)[0], b"%d\n" % i)
            self.assertEqual(process.returncode, i)
        result = self.nacre("exec", "a", "missing", check=False)
        self.assertEqual(result.returncode, 255)
        self.assertIn(b"executable file not found", result.stderr)
        self.assertEqual(self.nacre("exec", "a", "cat", input=b"bytes").stdout, b"bytes")
        self.assertEqual(self.nacre("exec", "-e", "[a,b]=c", "-e", "d=e", "a", "ls", "-d", "/").stdout, b"/\n")
        pid_file = os.path.join(self.scratch, "pid")
        self.nacre("exec", "-d", "--pid-file", pid_file, "a", "sh", "-c", "sleep 0.3; exit 9")
        with open(pid_file) as file:
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(int(file.read()), 0)[1]), 9)
        with open(os.path.join(self.scratch, "process.json"), "w") as file:
            json.dump(dict(self.config["process"], args=["sh", "-c", "exit 4"]), file)
        self.assertEqual(self.nacre("exec", "-p", file.name, "a", check=False).returncode, 4)

    def test_a_directory_is_no_stdio(self):
        # From a directory of the host, a vmm that has been taken over could open any file of the host.
        self.write("sleep", "60")
        directory = os.open(self.scratch, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, directory)
        result = self.nacre("run", "-b", self.bundle, "a", stdin=directory, check=False)
        self.assertIn(b"stdin: a directory cannot be passed into the VM", result.stderr)
        self.assertEqual((result.returncode, os.listdir(self.root)), (1, []))
        self.nacre("run", "-d", "-b", self.bundle, "a")
        for options in ((), ("-d",)):
            result = self.nacre("exec", *options, "a", "true", stdin=directory, check=False)
            self.assertIn(b"stdin: a directory cannot be passed into the VM", result.stderr)
            self.assertEqual(result.returncode, 255)

    def test_unknown_capability_is_ignored_with_a_warning(self):
        # runc, libcontainer/capabilities: "ignoring unknown or unavailable capabilities".
        self.environment["FAKE_VMM_LOG"] = requests = os.path.join(self.scratch, "requests")
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        done = self.nacre("exec", "--cap", "CAP_NONESUCH", "--cap", "CAP_SYS_TIME", "a", "true")
        self.assertIn(b"ignoring unknown capability CAP_NONESUCH", done.stderr)
        with open(requests) as file:
            [asked] = [json.loads(line) for line in file if '"type": "exec"' in line]
        self.assertIn("CAP_SYS_TIME", asked["process"]["capabilities"]["bounding"])

    def test_processes_keep_the_callers_groups_if_an_annotation_says_so(self):
        # crun(1), run.oci.keep_original_groups: what podman's --group-add keep-groups sets.
        self.environment["FAKE_VMM_LOG"] = requests = os.path.join(self.scratch, "requests")
        self.config["process"]["user"]["additionalGids"] = [5]
        for name, annotations in (("a", {"run.oci.keep_original_groups": "1"}), ("b", {})):
            self.write("sleep", "60", annotations=annotations)
            self.nacre("run", "-d", "-b", self.bundle, name, extra_groups=[7, 1234])
            self.nacre("exec", name, "true", extra_groups=[8])
        with open(requests) as file:
            asked = [json.loads(line) for line in file]
        groups = [(request.get("config") or request)["process"]["user"]["additionalGids"]
                  for request in asked if request["type"] in ("create", "exec")]
        self.assertEqual(groups, [[7, 1234], [8], [5], [5]])

    def test_pidfd_sockets(self):
        path = os.path.join(self.scratch, "pidfds")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()

            def received():
                connection, _ = listener.accept()
                with connection:
                    name, (fd,), _, _ = socket.recv_fds(connection, 100, 1)
                with open(f"/proc/self/fdinfo/{fd}") as file:
                    pid = next(line.split()[1] for line in file if line.startswith("Pid:"))
                os.close(fd)
                return name, int(pid)

            self.write("sleep", "60")
            self.nacre("run", "-d", "-b", self.bundle, "--pidfd-socket", path, "a")
            self.assertEqual(received(), (b"standard", self.state("a")["pid"]))
            pid_file = os.path.join(self.scratch, "exec.pid")
            self.nacre("exec", "-d", "--pidfd-socket", path, "--pid-file", pid_file, "a", "sleep", "60")
            with open(pid_file) as file:
                self.assertEqual(received(), (b"setns", int(file.read())))
        self.assertIn(b"--pidfd-socket", self.nacre("create", "-b", self.bundle, "--pidfd-socket", path, "b",
                                                    check=False).stderr)

    def test_exec_ends_with_the_container(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        process = self.start_nacre("exec", "a", "sh", "-c", "echo on; exec sleep 60", stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"on\n")
        self.nacre("delete", "-f", "a")
        self.assertEqual(process.wait(PATIENCE), 137)
        process.stdout.close()

    def test_an_apparmor_profile_that_cannot_be_applied(self):
        """Whether this machine has AppArmor or not."""
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        for flags in ([], ["-d"]):
            result = self.nacre("exec", *flags, "--apparmor", "nacre-missing", "a", "true", check=False)
            self.assertEqual(result.returncode, 255, result.stderr)
            self.assertIn(b"apparmor failed to apply profile nacre-missing: ", result.stderr)


if __name__ == "__main__":
    main()
