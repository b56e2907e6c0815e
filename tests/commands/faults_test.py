"""Parts that die, and commands that meet."""

import os
import signal
import tempfile

from support import PATIENCE, CommandTest, main


class Faults(CommandTest):
    def test_killed_standin_takes_vmm(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        record = self.record("a")
        os.kill(record["standin"]["pid"], signal.SIGKILL)
        self.assert_gone(record["vmm"]["pid"])
        self.wait_for_status("a", "stopped")
        self.nacre("delete", "a")

    def test_killed_vmm_ends_the_standin(self):
        self.write("sleep", "60")
        log = os.path.join(self.scratch, "log")
        self.nacre("--log", log, "run", "-d", "-b", self.bundle, "a")
        record = self.record("a")
        os.kill(record["vmm"]["pid"], signal.SIGKILL)
        status = os.waitpid(record["standin"]["pid"], 0)[1]
        self.assertEqual(os.waitstatus_to_exitcode(status), -signal.SIGKILL)
        with open(log) as file:
            self.assertIn("the container's VM has ended: vmm was killed by signal 9", file.read())
        self.assertEqual(self.state("a")["status"], "stopped")
        self.nacre("delete", "a")

    def test_vmm_that_fails_is_the_error(self):
        self.write("true")
        result = self.nacre("run", "-b", self.bundle, "a", check=False, env={"FAKE_VMM_FAILS": "1"})
        self.assertEqual(result.returncode, 1)
        self.assertEqual(len(result.stderr.splitlines()), 1)
        self.assertIn(b"vmm: cannot open /dev/kvm: No such file or directory", result.stderr)
        self.assertEqual(os.listdir(self.root), [])
        result = self.nacre("run", "-b", self.bundle, "a", check=False, env={"NACRE_VMM": "/nonexistent/vmm"})
        self.assertIn(b"/nonexistent/vmm: no such file", result.stderr)
        self.assertEqual(os.listdir(self.root), [])

    def test_create_killed_while_the_vm_boots(self):
        self.write("true")
        self.environment["FAKE_VMM_HANGS"] = "1"
        process = self.start_nacre("create", "-b", self.bundle, "a")
        processes = os.path.join(self.root, "a", "processes")
        self.wait_until(lambda: os.path.exists(processes), "the processes are noted")
        with open(processes) as file:
            pids = [int(line.split()[0]) for line in file.readlines()[:2]]  # the third is the cgroup
        process.kill()
        process.wait()
        for pid in pids:
            self.assert_gone(pid)
        self.wait_until(lambda: not os.listdir(self.root), "the state directory is gone")

    def test_broken_state_file(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        record = self.record("a")
        with open(os.path.join(self.root, "a", "state.json"), "w") as file:
            file.write('{"id":')
        self.assertEqual(self.nacre("state", "a", check=False).returncode, 1)
        self.nacre("delete", "-f", "a")
        self.assert_gone(record["standin"]["pid"])

    def test_two_creates_of_one_id(self):
        self.write("true")
        with tempfile.TemporaryFile() as log:
            running = [self.start_nacre("create", "-b", self.bundle, "a", stderr=log) for _ in range(6)]
            self.assertEqual(sorted(process.wait(PATIENCE) for process in running), [0, 1, 1, 1, 1, 1])
            log.seek(0)
            self.assertEqual(log.read().count(b"container with given ID already exists"), 5)
        self.assertEqual(self.state("a")["status"], "created")


if __name__ == "__main__":
    main()
