# SPDX-License-Identifier: Apache-2.0
"""`nacre run`."""

import json
import os
import signal
import subprocess

from support import CommandTest, main


class Run(CommandTest):
    def test_run_gives_output_and_status(self):
        self.write("sh", "-c", "echo out; echo err >&2; exit 7")
        result = self.nacre("run", "-b", self.bundle, "a", check=False)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (7, b"out\n", b"err\n"))
        self.assertEqual(os.listdir(self.root), [])

    def test_run_with_a_terminal_needs_one_of_its_own(self):
        self.config["process"]["terminal"] = True
        self.write("true")
        result = self.nacre("run", "-b", self.bundle, "a", check=False, start_new_session=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"cannot allocate tty", result.stderr)
        self.assertNotIn(b"open /dev/tty", result.stderr)
        self.assertEqual(os.listdir(self.root), [])

    def test_run_gives_signal(self):
        self.write("sh", "-c", "kill -KILL $$")
        self.assertEqual(self.nacre("run", "-b", self.bundle, "a", check=False).returncode, 137)

    def test_run_moves_stdin(self):
        data = os.urandom(1 << 20)
        self.write("cat")
        self.assertEqual(self.nacre("run", "-b", self.bundle, "a", input=data).stdout, data)

    def test_run_forwards_signals(self):
        self.write("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
        with self.start_nacre("run", "-b", self.bundle, "a", stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 5)

    def test_run_detached_and_keep(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        self.assertEqual(self.state("a")["status"], "running")
        self.nacre("kill", "a", "KILL")
        self.wait_for_status("a", "stopped")
        self.nacre("delete", "a")
        self.write("true")
        self.nacre("run", "--keep", "-b", self.bundle, "b")
        self.assertEqual(self.state("b")["status"], "stopped")

    def test_only_limits_that_need_the_host_are_missed_there(self):
        self.config["linux"]["resources"] = {"pids": {"limit": 50}, "memory": {"limit": 64 << 20},
                                             "cpu": {"shares": 5, "quota": 50000}}
        self.write("true")
        errors = self.nacre("run", "-b", self.bundle, "a").stderr
        if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            self.assertEqual(errors, b"")
        else:
            self.assertRegex(errors, rb"for want of a cgroup on the host: cpu\.weight\"\n$")

    def test_another_configuration_file(self):
        self.write("sh", "-c", "exit 4")
        other = os.path.join(self.scratch, "other.json")
        os.rename(os.path.join(self.bundle, "config.json"), other)
        self.assertEqual(self.nacre("run", "-b", self.bundle, "--config", other, "a", check=False).returncode, 4)
        self.config["process"]["args"] = ["sleep", "60"]
        with open(other, "w") as file:
            json.dump(self.config, file)
        self.nacre("run", "-d", "-b", self.bundle, "-f", os.path.relpath(other), "a")
        self.assertEqual(self.nacre("exec", "a", "echo", "there").stdout, b"there\n")
        missing = self.nacre("run", "-b", self.bundle, "--config", "/nonexistent.json", "b", check=False)
        self.assertIn(b"--config: /nonexistent.json: no such file", missing.stderr)


if __name__ == "__main__":
    main()
