# SPDX-License-Identifier: Apache-2.0
"""A guest that lies must not harm the commands or the stand-in."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time

from support import FAKE_VMM, NACRE, PATIENCE, CommandTest, alive, main

HOSTILE_VMM = os.path.join(os.path.dirname(FAKE_VMM), "hostile_vmm.py")


class Hostile(CommandTest):
    def setUp(self):
        super().setUp()
        self.environment["NACRE_VMM"] = HOSTILE_VMM

    def run_one(self, name, how, *args):
        self.environment["FAKE_VMM_HOSTILE"] = how
        self.write(*args)
        with open(os.path.join(self.scratch, "out"), "wb") as out:
            process = self.start_nacre("run", "-d", "-b", self.bundle, name, stdout=out)
            self.assertEqual(process.wait(PATIENCE), 0)
        return self.record(name)["standin"]["pid"]

    def ends_with(self, pid):
        self.assert_gone(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_kill_ends_a_container_whatever_the_guest_answers(self):
        cases = {"a": ("ok",), "b": ("ESRCH",), "c": ("silent",), "d": ("ok", "--all"), "e": ("ESRCH", "--all"),
                 "f": ("slow",)}
        pids = {name: self.run_one(name, f"kill={how[0]}", "sleep", "100") for name, how in cases.items()}
        vmms = [self.record(name)["vmm"]["pid"] for name in cases]
        kills = [self.start_nacre("kill", *how[1:], name, "KILL") for name, how in cases.items()]
        for kill in kills:
            self.assertEqual(kill.wait(PATIENCE), 0)
        for name, pid in pids.items():
            self.assertEqual(self.state(name)["status"], "stopped")
            self.assertEqual(self.ends_with(pid), -signal.SIGKILL)
        for vmm in vmms:
            self.assert_gone(vmm)

    def test_a_guest_that_does_not_read_keeps_the_standin_from_nothing(self):
        stop = os.path.join(self.scratch, "stop")
        script = f"trap '' USR1; while [ ! -e {stop} ]; do sleep 0.1; done; exit 7"
        pid = self.run_one("a", "read=never", "sh", "-c", script)
        # More than a socket holds: each is a message to the guest.
        for _ in range(3000):
            os.kill(pid, signal.SIGUSR1)
            time.sleep(0.0005)
        with open(stop, "w"):
            pass
        self.assertEqual(self.ends_with(pid), 7)

    def test_a_guest_that_does_not_read_hides_nothing_of_the_vms_end(self):
        self.environment["FAKE_VMM_HOSTILE"] = "read=never"
        self.config["process"]["terminal"] = True
        self.write("sh", "-c", "echo begun; exec sleep 100")
        pid, master = pty.fork()
        if pid == 0:
            os.execve(NACRE, [NACRE, "--root", self.root, "run", "-b", self.bundle, "a"], self.environment)
        self.assertIn(b"begun", os.read(master, 100))
        # More than a socket holds: each is a message to the guest.
        for columns in range(2000):
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 24, 80 + columns % 100, 0, 0))
            time.sleep(0.0005)
        os.kill(self.record("a")["vmm"]["pid"], signal.SIGKILL)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 128 + signal.SIGKILL)
        os.close(master)
        self.assertEqual(os.listdir(self.root), [])

    def test_a_vm_that_ends_while_its_container_is_made_says_why(self):
        self.write("true")
        for end, words in (("power_off", "the guest powered itself off"), ("reset", "the guest reset itself"),
                           ("triple_fault", "the guest ended in a triple fault"),
                           ("kvm_failure", "KVM could not run the guest")):
            done = self.nacre("create", "-b", self.bundle, "a", check=False, env={"FAKE_VMM_HOSTILE": f"end={end}"})
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
            self.assertIn(words, done.stderr.decode())
            self.assertEqual(os.listdir(self.root), [])

    def test_a_vm_that_ends_before_the_start_says_why(self):
        self.write("true")
        with open(os.path.join(self.scratch, "log"), "wb") as log:
            process = self.start_nacre("create", "-b", self.bundle, "a", stderr=log, env={"FAKE_VMM_HOSTILE": "end=created"})
            status = process.wait(PATIENCE)
        if status == 0:  # the VM ended just after that
            self.wait_for_status("a", "stopped")
            done = self.nacre("start", "a", check=False)
            self.assertIn(b"cannot start a container that has stopped", done.stderr)
            self.nacre("delete", "a")
        with open(log.name) as said:
            self.assertIn("the guest powered itself off", said.read())
        self.assertEqual(os.listdir(self.root), [])

    def test_ends_that_make_no_sense_are_one_end(self):
        for how, statuses in (("early", {9}), ("strange", {5, 9}), ("twice", {5})):
            pid = self.run_one(how, f"exited={how}", "sh", "-c", "exit 5")
            self.assertIn(self.ends_with(pid), statuses)
            self.assertEqual(self.state(how)["status"], "stopped")
            self.nacre("delete", how)

    def test_the_end_is_heard_after_a_million_kills_for_want_of_memory(self):
        self.assertEqual(self.ends_with(self.run_one("a", "oom=1000000", "sh", "-c", "exit 5")), 5)

    def test_an_answer_that_would_take_much_memory_is_refused(self):
        for how, words in (("many", "the guest's answer"), ("deep", "the guest's answer")):
            self.run_one(how, f"ps={how}", "sleep", "100")
            process = self.start_nacre("ps", how, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            said = process.stderr.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stderr.close()
            self.assertEqual((process.returncode, len(said.splitlines())), (1, 1), said)
            self.assertIn(words, said)
            self.assertLess(usage.ru_maxrss, 64 << 10)  # KiB

    def test_text_of_the_guest_is_fit_for_a_terminal(self):
        self.run_one("a", "kill=text", "sleep", "100")
        log = os.path.join(self.scratch, "log")
        done = self.nacre("--log", log, "--log-format", "json", "kill", "a", "TERM", check=False)
        with open(log) as file:
            logged = json.loads(file.read())["msg"]
        for text in (done.stderr.decode().rstrip("\n"), logged):
            self.assertIn("no  [2J 2J xxx", text)
            self.assertLess(len(text), 5000)
            self.assertTrue(text.isprintable(), text[:100])

    def test_kill_has_worked_if_the_vm_ends_before_it_answers(self):
        for name, number in (("a", "KILL"), ("b", "TERM")):
            pid = self.run_one(name, "kill=ends", "sleep", "100")
            self.nacre("kill", name, number)
            self.assertEqual(self.ends_with(pid), -signal.SIGKILL)

    def join_vm_of(self, pid):
        for namespace in self.config["linux"]["namespaces"]:
            if namespace["type"] == "pid":
                namespace["path"] = f"/proc/{pid}/ns/pid"

    def test_the_last_two_that_leave_a_vm_at_once_end_it(self):
        self.environment["FAKE_VMM_HOLDS"] = holds = os.path.join(self.scratch, "holds")
        self.environment["FAKE_VMM_LOG"] = log = os.path.join(self.scratch, "log")
        os.mkdir(holds)
        first = self.run_one("a", "lifeline=ignored", "sleep", "100")
        self.join_vm_of(first)
        second = self.run_one("b", "lifeline=ignored", "sleep", "100")
        vmm = self.record("a")["vmm"]["pid"]
        for pid in (first, second):
            os.kill(pid, signal.SIGKILL)
            self.assertEqual(self.ends_with(pid), -signal.SIGKILL)
        self.assertTrue(alive(vmm))
        with open(os.path.join(holds, "delete"), "w"):
            pass
        deletes = [self.start_nacre("delete", name) for name in ("a", "b")]

        def both_ask():
            with open(log) as file:
                return sum(json.loads(line)["type"] == "delete" for line in file) == 2

        self.wait_until(both_ask, "both have found the VM shared")
        os.unlink(os.path.join(holds, "delete"))
        for delete in deletes:
            self.assertEqual(delete.wait(PATIENCE), 0)
        self.assertFalse(alive(vmm))
        self.assertEqual(os.listdir(self.root), [])

    def test_kill_ends_one_of_those_in_a_vm_and_then_the_other(self):
        first = self.run_one("a", "kill=ok", "sleep", "100")
        self.join_vm_of(first)
        second = self.run_one("b", "kill=ok", "sleep", "100")
        vmm = self.record("a")["vmm"]["pid"]
        self.assertEqual(self.record("b")["vmm"]["pid"], vmm)
        self.nacre("kill", "b", "KILL")
        self.assertEqual(self.ends_with(second), -signal.SIGKILL)
        self.assertEqual(self.state("b")["status"], "stopped")
        self.assertEqual(self.state("a")["status"], "running")
        self.nacre("kill", "a", "KILL")
        self.assertEqual(self.ends_with(first), -signal.SIGKILL)
        self.assert_gone(vmm)

    def test_an_end_by_a_signal_that_ends_nothing_is_a_kill(self):
        for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGTSTP, signal.SIGWINCH, 65, 200):
            pid = self.run_one(f"c{number}", f"signal={int(number)}", "true")
            self.assertEqual(self.ends_with(pid), -signal.SIGKILL, number)
        for number in (signal.SIGTERM, 34, 64):
            pid = self.run_one(f"c{int(number)}", f"signal={int(number)}", "true")
            self.assertEqual(self.ends_with(pid), -number)
        self.run_one("a", f"signal={int(signal.SIGSTOP)}", "sleep", "100")
        self.assertEqual(self.nacre("exec", "a", "true", check=False).returncode, 128 + signal.SIGKILL)

    def test_output_that_is_never_written_keeps_no_standin(self):
        pid = self.run_one("a", f"sent={1 << 62} flush=silent", "sh", "-c", "exit 3")
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(self.ends_with(pid), 3)

    def test_output_whose_reader_is_slow_is_waited_for(self):
        self.environment["FAKE_VMM_LOG"] = log = os.path.join(self.scratch, "log")
        pid = self.run_one("a", "sent=5 flush=full", "sh", "-c", "exit 3")

        def asked():
            with open(log) as file:
                return file.read().count("PROGRESS\n")

        self.wait_until(lambda: asked() > 7, "vmm was asked again and again")
        self.assertTrue(alive(pid))
        os.kill(pid, signal.SIGTERM)  # read, but the process has ended
        def pending():
            with open(f"/proc/{pid}/status") as file:
                return any(line.startswith("ShdPnd") and int(line.split()[1], 16) for line in file)

        self.wait_until(lambda: not pending(), "the signal is read")
        self.assertTrue(alive(pid))
        os.kill(self.record("a")["vmm"]["pid"], signal.SIGKILL)
        self.assertEqual(self.ends_with(pid), 3)


if __name__ == "__main__":
    main()
