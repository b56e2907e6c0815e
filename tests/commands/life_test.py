# SPDX-License-Identifier: Apache-2.0
"""create, start, state, kill, list and delete."""

import json
import os
import signal

from support import CommandTest, alive, main


class Life(CommandTest):
    def test_life(self):
        pid_file = os.path.join(self.scratch, "pid")
        self.write("sleep", "60", annotations={"a.b": "c"})
        # Another user of the directory may have made a link in the place of what is written first.
        victim = os.path.join(self.scratch, "victim")
        with open(victim, "w") as file:
            file.write("untouched")
        os.symlink(victim, os.path.join(self.scratch, ".pid"))
        self.create("--pid-file", pid_file, "a")
        with open(victim) as file:
            self.assertEqual(file.read(), "untouched")
        self.assertFalse(os.path.lexists(os.path.join(self.scratch, ".pid")))
        with open(pid_file) as file:
            pid = file.read()
        self.assertEqual(pid, str(int(pid)))
        state = self.state("a")
        self.assertEqual((state["status"], state["pid"], state["id"]), ("created", int(pid), "a"))
        self.assertEqual(state["bundle"], self.bundle)
        self.assertEqual(state["annotations"], {"a.b": "c"})
        self.nacre("start", "a")
        self.assertEqual(self.state("a")["status"], "running")
        self.assertIn(b"already running", self.nacre("start", "a", check=False).stderr)
        self.assertIn(b"that is not stopped: running", self.nacre("delete", "a", check=False).stderr)
        self.assertEqual(self.nacre("list", "-q").stdout, b"a\n")
        self.assertEqual(json.loads(self.nacre("list", "-f", "json").stdout)[0]["id"], "a")
        self.assertIn(b"running", self.nacre("list").stdout)
        self.nacre("kill", "a")
        # The stand-in is a child of this process by now, and has died by the container's signal.
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(int(pid), 0)[1]), -signal.SIGTERM)
        state = self.state("a")
        self.assertEqual((state["status"], state["pid"]), ("stopped", 0))
        self.assertIn(b"container not running", self.nacre("kill", "a", check=False).stderr)
        self.assertIn(b"has stopped", self.nacre("start", "a", check=False).stderr)
        vmm = self.record("a")["vmm"]["pid"]
        self.nacre("delete", "a")
        self.assertFalse(alive(vmm))
        self.assertIn(b"container does not exist", self.nacre("state", "a", check=False).stderr)

    def test_seccomp_goes_compiled_to_the_guest(self):
        requests = os.path.join(self.scratch, "requests")
        self.environment["FAKE_VMM_LOG"] = requests
        self.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                                           "syscalls": [{"names": ["sync", "nonesuch"], "action": "SCMP_ACT_ERRNO"}]}
        self.write("true")
        self.create("a")
        with open(requests) as file:
            create = json.loads(file.readline())
        self.assertNotIn("seccomp", create["config"]["linux"])
        self.assertEqual(create["seccomp"]["flags"], 2)
        self.assertIn(0x7fff000000000006, create["seccomp"]["program"])
        self.config["linux"]["seccomp"]["syscalls"][0]["action"] = "SCMP_ACT_NOTIFY"
        self.write()
        result = self.nacre("create", "-b", self.bundle, "b", check=False)
        self.assertIn(b"config.json: linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY is not supported", result.stderr)
        self.assertEqual(os.listdir(self.root), ["a"])

    def test_signals_to_the_standin_reach_the_container(self):
        ready = os.path.join(self.scratch, "ready")
        self.write("sh", "-c", f"trap 'exit 3' USR1; echo > {ready}; while :; do sleep 0.05; done")
        self.create("a")
        self.nacre("start", "a")
        self.wait_until(lambda: os.path.exists(ready), "the trap is set")
        pid = self.state("a")["pid"]
        os.kill(pid, signal.SIGUSR1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 3)

    def test_the_standin_keeps_nothing_of_its_caller(self):
        self.write("sleep", "60")
        read, write = os.pipe()
        self.nacre("run", "-d", "-b", self.bundle, "a", pass_fds=(write,))
        os.close(write)
        self.assertEqual(os.read(read, 1), b"")
        os.close(read)
        pid = self.state("a")["pid"]
        null = os.stat("/dev/null").st_rdev
        self.assertEqual([os.stat(f"/proc/{pid}/fd/{fd}").st_rdev for fd in range(3)], [null] * 3)
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        self.assertEqual(os.getsid(pid), pid)

    def test_delete_takes_a_created_container(self):
        self.write("true")
        self.create("a")
        record = self.record("a")
        self.nacre("delete", "a")
        self.assert_gone(record["standin"]["pid"])
        self.assert_gone(record["vmm"]["pid"])

    def test_forced_delete_of_a_running_one(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        self.nacre("delete", "-f", "a")
        self.nacre("delete", "-f", "a")


if __name__ == "__main__":
    main()
