# SPDX-License-Identifier: Apache-2.0
"""Hooks of the host."""

import json
import os
import pty
import signal
import subprocess

from support import NACRE, PATIENCE, CommandTest, alive, main


class Hooks(CommandTest):
    HOST_KINDS = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]

    def hook(self, script, **more):
        return dict({"path": "/bin/sh", "args": ["sh", "-c", script]}, **more)

    def noting_hooks(self):
        """Returns hooks that note their kind and their input."""
        self.notes = os.path.join(self.scratch, "notes")
        return {kind: [self.hook(f'echo "$KIND $(cat)" >> {self.notes}', env=[f"KIND={kind}"])]
                for kind in self.HOST_KINDS}

    def noted(self):
        if not os.path.exists(self.notes):
            return []
        with open(self.notes) as file:
            pairs = [line.split(" ", 1) for line in file]
        return [(kind, json.loads(state)) for kind, state in pairs]

    def test_hooks_run_at_their_time(self):
        hooks = self.noting_hooks()
        hooks["startContainer"] = [self.hook("true")]
        requests = os.path.join(self.scratch, "requests")
        self.environment["FAKE_VMM_LOG"] = requests
        hooks["createRuntime"].append(self.hook(f"test ! -e {requests}"))  # the guest has not been asked for anything
        self.write("sleep", "60", hooks=hooks, annotations={"a": "b"})
        self.create("a")
        pid = self.state("a")["pid"]
        state = {"ociVersion": self.config["ociVersion"], "id": "a", "bundle": self.bundle, "annotations": {"a": "b"}}
        creating = dict(state, status="creating", pid=pid)
        self.assertEqual(self.noted(), [(kind, creating) for kind in self.HOST_KINDS[:3]])
        with open(requests) as file:
            create = json.loads(file.readline())
        self.assertEqual(create["config"]["hooks"], {"startContainer": hooks["startContainer"]})
        self.assertEqual(create["bundle"], self.bundle)
        os.unlink(os.path.join(self.bundle, "config.json"))  # podman's is gone by the time of delete
        self.nacre("start", "a")
        self.assertEqual(self.noted()[3:], [("poststart", dict(state, status="running", pid=pid))])
        self.nacre("kill", "a", "KILL")
        self.wait_for_status("a", "stopped")
        self.assertEqual(len(self.noted()), 4)
        self.nacre("delete", "a")
        self.assertEqual(self.noted()[4:], [("poststop", dict(state, status="stopped"))])

    def test_a_start_that_waits_for_a_hook_in_the_guest_can_be_cut_short(self):
        self.write("sleep", "60", hooks={"startContainer": [self.hook("sleep 1000")]})
        self.environment["FAKE_VMM_LOG"] = log = os.path.join(self.scratch, "log")
        self.environment["FAKE_VMM_HOLDS"] = holds = os.path.join(self.scratch, "holds")
        os.mkdir(holds)
        with open(os.path.join(holds, "start"), "w"):
            pass

        def asked(count):
            if not os.path.exists(log):
                return False
            with open(log) as file:
                return sum(json.loads(line)["type"] == "start" for line in file) == count

        self.create("a")
        for count, command in enumerate((("start", "a"), ("run", "-d", "-b", self.bundle, "b")), 1):
            name = command[-1]
            starting = self.start_nacre(*command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            self.wait_until(lambda count=count: asked(count), "the guest is asked")
            self.assertEqual(self.state(name)["status"], "running")
            self.nacre("delete", "-f", name)
            self.assertEqual(starting.wait(PATIENCE), 1)
            self.assertFalse(os.path.exists(os.path.join(self.root, name)))

    def test_hooks_of_run(self):
        self.write("true", hooks=self.noting_hooks())
        self.nacre("run", "-b", self.bundle, "a")
        self.assertEqual([kind for kind, _ in self.noted()], self.HOST_KINDS)

    def test_a_hook_that_fails_before_the_start_ends_the_container(self):
        for kind in ("prestart", "createRuntime", "createContainer"):
            for command in ("create", "run"):
                with self.subTest(kind=kind, command=command):
                    hooks = self.noting_hooks()
                    hooks[kind].append(self.hook("echo out; echo no such network >&2; exit 3"))
                    self.write("true", hooks=hooks)
                    result = self.nacre(command, "-b", self.bundle, "a", check=False)
                    self.assertEqual(result.returncode, 1)
                    self.assertIn(f"error running {kind} hook #1: exit status 3, stdout: out , stderr: no such network",
                                  result.stderr.decode())
                    self.assertEqual(len(result.stderr.splitlines()), 1)
                    kinds = [noted for noted, _ in self.noted()]
                    self.assertEqual(kinds, self.HOST_KINDS[:self.HOST_KINDS.index(kind) + 1] + ["poststop"])
                    pid = self.noted()[0][1]["pid"]
                    self.assertFalse(alive(pid))
                    self.assertEqual(os.listdir(self.root), [])
                    os.unlink(self.notes)

    def test_a_poststart_hook_that_fails_stops_the_container(self):
        hooks = self.noting_hooks()
        hooks["poststart"].append(self.hook("exit 3"))
        self.write("sleep", "60", hooks=hooks)
        words = b"error running poststart hook #1: exit status 3"
        self.create("a")
        self.assertIn(words, self.nacre("start", "a", check=False).stderr)
        self.assertEqual(self.state("a")["status"], "stopped")
        self.nacre("delete", "a")
        self.assertEqual([kind for kind, _ in self.noted()], self.HOST_KINDS)
        for flags in ([], ["--detach"]):
            result = self.nacre("run", *flags, "-b", self.bundle, "a", check=False)
            self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1), result.stderr)
            self.assertIn(words, result.stderr)
            self.assertEqual(os.listdir(self.root), [])

    def test_a_poststop_hook_that_fails_is_a_warning(self):
        hooks = self.noting_hooks()
        hooks["poststop"].insert(0, self.hook("exit 3"))
        self.write("true", hooks=hooks)
        result = self.nacre("run", "-b", self.bundle, "a")
        self.assertEqual([kind for kind, _ in self.noted()], self.HOST_KINDS)
        (line,) = result.stderr.decode().splitlines()
        self.assertIn("level=warning", line)
        self.assertIn("error running poststop hook #0: exit status 3", line)

    def test_a_hook_has_its_time(self):
        self.write("true", hooks={"createRuntime": [self.hook("exec sleep 1000", timeout=1)]})
        result = self.nacre("create", "-b", self.bundle, "a", check=False)
        self.assertIn(b"ran longer than its timeout of 1 s", result.stderr)

    def test_an_interrupt_of_the_terminal_while_a_hook_runs(self):
        hooks = self.noting_hooks()
        hooks["createRuntime"].append(self.hook(f"echo > {self.scratch}/hook; exec sleep 1000"))
        hooks["poststop"].insert(0, self.hook("sleep 0.2"))
        self.config["process"]["terminal"] = True
        self.write("sleep", "60", hooks=hooks)
        pid, master = pty.fork()
        if pid == 0:
            os.execve(NACRE, [NACRE, "--root", self.root, "run", "-b", self.bundle, "a"], self.environment)
        self.wait_until(lambda: os.path.exists(os.path.join(self.scratch, "hook")), "the hook runs")
        os.write(master, b"\x03")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -signal.SIGINT)
        os.close(master)
        self.assert_gone(self.noted()[0][1]["pid"])
        self.assertEqual([kind for kind, _ in self.noted()], ["prestart", "createRuntime", "poststop"])
        self.assertEqual(os.listdir(self.root), [])

    def test_create_killed_while_a_hook_runs(self):
        hooks = self.noting_hooks()
        hooks["createRuntime"].append(self.hook(f"echo $PPID > {self.scratch}/hook; exec sleep 3"))
        self.write("true", hooks=hooks)
        process = self.start_nacre("create", "-b", self.bundle, "a")
        self.wait_until(lambda: os.path.exists(os.path.join(self.scratch, "hook")), "the hook runs")
        process.kill()
        process.wait()
        self.assert_gone(self.noted()[0][1]["pid"])
        self.assertEqual([kind for kind, _ in self.noted()], ["prestart", "createRuntime", "poststop"])
        self.assertEqual(os.listdir(self.root), [])


if __name__ == "__main__":
    main()
