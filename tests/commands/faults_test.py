# SPDX-License-Identifier: Apache-2.0
"""Parts that die, and commands that run at the same time."""

import json
import os
import signal
import subprocess
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

    def test_a_vmm_that_stands_still_is_ended(self):
        self.write("sleep", "60")
        for name in ("a", "b"):
            self.nacre("run", "-d", "-b", self.bundle, name)
            os.kill(self.record(name)["vmm"]["pid"], signal.SIGSTOP)
        ends = [self.start_nacre("kill", "a", "KILL"), self.start_nacre("delete", "--force", "b")]
        self.assertEqual(self.state("a")["status"], "running")
        standin, vmm = (self.record("a")[part]["pid"] for part in ("standin", "vmm"))
        for end in ends:
            self.assertEqual(end.wait(PATIENCE), 0)
        self.assertEqual(self.state("a")["status"], "stopped")
        self.nacre("delete", "a")
        for pid in (standin, vmm):
            self.assert_gone(pid)
        self.assertEqual(os.listdir(self.root), [])

    def test_run_says_that_the_vm_has_ended(self):
        started = os.path.join(self.scratch, "started")  # poststart: the guest has answered
        self.write("sleep", "60", hooks={"poststart": [{"path": "/usr/bin/touch", "args": ["touch", started]}]})
        process = self.start_nacre("run", "-b", self.bundle, "a", stderr=subprocess.PIPE)
        self.wait_until(lambda: os.path.exists(started), "the container runs")
        os.kill(self.record("a")["vmm"]["pid"], signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 128 + signal.SIGKILL, errors)
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertIn(b"the container's VM has ended: vmm was killed by signal 9", errors)
        self.assertEqual(os.listdir(self.root), [])

    def test_exec_says_that_the_vm_has_ended(self):
        self.write("sleep", "60")
        self.hold("exec")
        for options in ((), ("-d",)):
            self.nacre("run", "-d", "-b", self.bundle, "a")
            process = self.start_nacre("exec", *options, "a", "true", stderr=subprocess.PIPE)
            self.wait_until(lambda: self.was_asked("exec"), "the guest was asked")
            os.kill(self.record("a")["vmm"]["pid"], signal.SIGKILL)
            _, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 255)
            self.assertEqual(len(errors.splitlines()), 1, errors)
            self.assertIn(b"the container's VM has ended: vmm was killed by signal 9", errors)
            self.nacre("delete", "a")
            os.unlink(self.requests)
        self.nacre("run", "-d", "-b", self.bundle, "a")
        self.let_go()
        process = self.start_nacre("exec", "a", "sh", "-c", "trap '' USR1; echo; exec sleep 60 >&- 2>&-",
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.read(1), b"\n")
        process.send_signal(signal.SIGUSR1)  # which exec forwards once the guest has answered
        self.wait_until(lambda: self.was_asked("kill"), "exec waits for the end of the process")
        os.kill(self.record("a")["vmm"]["pid"], signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 128 + signal.SIGKILL, errors)
        self.assertIn(b"the container's VM has ended: vmm was killed by signal 9", errors)

    def test_start_says_that_the_vm_has_ended(self):
        self.write("sleep", "60")
        self.hold("start")
        self.create("a")
        process = self.start_nacre("start", "a", stderr=subprocess.PIPE)
        self.wait_until(lambda: self.was_asked("start"), "the guest was asked")
        os.kill(self.record("a")["vmm"]["pid"], signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, len(errors.splitlines())), (1, 1), errors)
        self.assertIn(b"the container's VM has ended: vmm was killed by signal 9", errors)
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

    def hold(self, what):
        """Holds back the answers to requests `what`, or events of an end, of containers made later, until let_go()."""
        self.holds, self.requests = os.path.join(self.scratch, "holds"), os.path.join(self.scratch, "requests")
        os.makedirs(self.holds, exist_ok=True)
        self.environment.update(FAKE_VMM_HOLDS=self.holds, FAKE_VMM_LOG=self.requests)
        with open(os.path.join(self.holds, what), "w"):
            pass

    def let_go(self):
        for name in os.listdir(self.holds):
            os.unlink(os.path.join(self.holds, name))

    def noted(self):
        """Returns the requests to the guest, and between them which were answered."""
        with open(self.requests, "a+") as file:
            file.seek(0)
            return [json.loads(line) for line in file if line.endswith("\n")]

    def was_asked(self, kind):
        return any(message["type"] == kind for message in self.noted())

    def killed(self, command, container):
        """Runs the block while the VM's answer is held back."""
        process = self.start_nacre(command, container)
        self.wait_until(lambda: self.was_asked(command), "the VM was asked")
        process.kill()
        process.wait()
        self.let_go()

    def test_start_killed_while_the_guest_answers(self):
        ran = os.path.join(self.scratch, "ran")
        self.write("sh", "-c", f"touch {ran}; exec sleep 60")
        self.hold("start")
        self.create("a")
        self.killed("start", "a")
        self.wait_until(lambda: os.path.exists(ran), "it runs")
        self.assertEqual(self.state("a")["status"], "running")
        result = self.nacre("delete", "a", check=False)
        self.assertIn(b"that is not stopped: running", result.stderr)
        result = self.nacre("start", "a", check=False)
        self.assertIn(b"cannot start an already running container", result.stderr)

    def test_start_killed_before_the_guest_was_asked(self):
        self.write("sleep", "60")
        self.create("a")
        with open(os.path.join(self.root, "a", "started"), "w"):  # as it then leaves it
            pass
        self.nacre("start", "a")
        self.assertEqual(self.state("a")["status"], "running")

    def test_resume_killed_while_the_guest_answers(self):
        self.write("sleep", "60")
        self.hold("resume")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        self.nacre("pause", "a")
        self.killed("resume", "a")
        self.assertEqual(self.state("a")["status"], "paused")
        result = self.nacre("resume", "a", check=False)
        self.assertIn(b"container not paused", result.stderr)
        self.assertEqual(self.state("a")["status"], "running")

    def test_pause_killed_while_the_guest_answers(self):
        self.write("sleep", "60")
        self.hold("pause")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        self.killed("pause", "a")
        self.nacre("resume", "a")
        self.assertEqual(self.state("a")["status"], "running")

    def test_kill_of_a_process_that_has_ended(self):
        self.write("sh", "-c", "exit 3")
        self.hold("exited")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        pid = self.record("a")["standin"]["pid"]
        # The guest reports the end while it still writes back files. The status is the process's own.
        said = lambda: self.nacre("kill", "a", "TERM", check=False).stderr
        self.wait_until(lambda: b"container not running" in said(), "the process has ended")
        # SIGKILL waits for the stand-in's end, which is the container's. If the VM ended before it has answered, the
        # kill would count as done.
        with tempfile.TemporaryFile() as log:
            kill = self.start_nacre("kill", "a", "KILL", stderr=log)
            answered = {"type": "answered", "kind": "kill", "signal": signal.SIGKILL}
            self.wait_until(lambda: answered in self.noted(), "the guest has answered")
            self.let_go()
            self.assertEqual(kill.wait(PATIENCE), 1)
            log.seek(0)
            self.assertIn(b"container not running", log.read())
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 3)

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
