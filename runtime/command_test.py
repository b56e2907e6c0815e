#!/usr/bin/env python3
"""The nacre command against tests/support/fake_vmm.py: command_test.py NACRE FAKE_VMM

Shows the stand-in, the state directory and the command line. The VM and the guest are fakes.
"""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

NACRE, FAKE_VMM = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PR_SET_CHILD_SUBREAPER = 36


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Test(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="nacre-test-")
        # Longer than an AF_UNIX address.
        self.root = os.path.join(self.scratch, "r" * 120)
        self.bundle = os.path.join(self.scratch, "bundle")
        os.makedirs(os.path.join(self.bundle, "rootfs"))
        self.environment = dict(os.environ, NACRE_VMM=FAKE_VMM, NACRE_KERNEL=NACRE, NACRE_INITRAMFS=NACRE)
        self.nacre("spec", "-b", self.bundle)
        with open(os.path.join(self.bundle, "config.json")) as file:
            self.config = json.load(file)
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False

    def tearDown(self):
        if os.path.isdir(self.root):
            for name in os.listdir(self.root):
                self.nacre("delete", "-f", name, check=False)
            self.assertEqual(os.listdir(self.root), [])
        shutil.rmtree(self.scratch)
        # What a killed fake left of its "containers" is ours by now.
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            for pid in file.read().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)

    def write(self, *args, **changes):
        if args:
            self.config["process"]["args"] = list(args)
        self.config.update(changes)
        with open(os.path.join(self.bundle, "config.json"), "w") as file:
            json.dump(self.config, file)

    def nacre(self, *args, check=True, env=None, **more):
        more.setdefault("stdin", subprocess.DEVNULL) if "input" not in more else None
        # Files, not pipes: a container that lives on keeps them open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            result = subprocess.run([NACRE, "--root", self.root, *args], stdout=out, stderr=err, timeout=60,
                                    env=dict(self.environment, **(env or {})), **more)
            for file in (out, err):
                file.seek(0)
            result.stdout, result.stderr = out.read(), err.read()
        if check:
            self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def start_nacre(self, *args, **more):
        return subprocess.Popen([NACRE, "--root", self.root, *args], env=self.environment, **more)

    def create(self, *args):
        return self.nacre("create", "-b", self.bundle, *args)

    def state(self, name):
        return json.loads(self.nacre("state", name).stdout)

    def wait_for_status(self, name, status):
        for _ in range(500):
            if self.state(name)["status"] == status:
                return
            time.sleep(0.02)
        self.fail(f"{name} is never {status}")

    def record(self, name):
        with open(os.path.join(self.root, name, "state.json")) as file:
            return json.load(file)

    def assert_gone(self, pid):
        for _ in range(500):
            if not alive(pid):
                return
            time.sleep(0.02)
        self.fail(f"process {pid} is still there")

    # --- run

    def test_run_gives_output_and_status(self):
        self.write("sh", "-c", "echo out; echo err >&2; exit 7")
        result = self.nacre("run", "-b", self.bundle, "a", check=False)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (7, b"out\n", b"err\n"))
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

    # --- life

    def test_life(self):
        pid_file = os.path.join(self.scratch, "pid")
        self.write("sleep", "60", annotations={"a.b": "c"})
        self.create("--pid-file", pid_file, "a")
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
        # Orphaned to us, and dead by the container's signal.
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(int(pid), 0)[1]), -signal.SIGTERM)
        state = self.state("a")
        self.assertEqual((state["status"], state["pid"]), ("stopped", 0))
        self.assertIn(b"container not running", self.nacre("kill", "a", check=False).stderr)
        self.assertIn(b"has stopped", self.nacre("start", "a", check=False).stderr)
        vmm = self.record("a")["vmm"]["pid"]
        self.nacre("delete", "a")
        self.assertFalse(alive(vmm))
        self.assertIn(b"container does not exist", self.nacre("state", "a", check=False).stderr)

    def test_signals_to_the_standin_reach_the_container(self):
        self.write("sh", "-c", "trap 'exit 3' USR1; while :; do sleep 0.05; done")
        self.create("a")
        self.nacre("start", "a")
        time.sleep(0.3)
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
        self.assertEqual([os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)], ["/dev/null"] * 3)
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

    # --- exec

    def test_exec(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        running = [self.start_nacre("exec", "a", "sh", "-c", f"echo {i}; exit {i}", stdout=subprocess.PIPE)
                   for i in range(10)]
        for i, process in enumerate(running):
            self.assertEqual(process.communicate(timeout=60)[0], b"%d\n" % i)
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

    def test_exec_ends_with_the_container(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        process = self.start_nacre("exec", "a", "sleep", "60")
        time.sleep(0.5)
        self.nacre("delete", "-f", "a")
        self.assertEqual(process.wait(30), 137)

    # --- pause, ps, events, update

    def test_pause_and_resume(self):
        self.write("sleep", "60")
        self.create("a")
        self.nacre("start", "a")
        self.assertIn(b"container not paused", self.nacre("resume", "a", check=False).stderr)
        self.nacre("pause", "a")
        self.assertEqual(self.state("a")["status"], "paused")
        self.assertEqual(json.loads(self.nacre("list", "-f", "json").stdout)[0]["status"], "paused")
        self.assertIn(b"container not running", self.nacre("pause", "a", check=False).stderr)
        self.assertIn(b"in the paused state", self.nacre("start", "a", check=False).stderr)
        self.assertIn(b"not stopped: paused", self.nacre("delete", "a", check=False).stderr)
        refused = self.nacre("exec", "a", "true", check=False)
        self.assertEqual(refused.returncode, 255)
        self.assertIn(b"cannot exec in a paused container (use --ignore-paused to override)", refused.stderr)
        self.nacre("exec", "--ignore-paused", "a", "true")
        self.nacre("resume", "a")
        self.assertEqual(self.state("a")["status"], "running")
        self.nacre("pause", "a")
        self.nacre("kill", "a", "KILL")
        self.wait_for_status("a", "stopped")
        self.assertIn(b"container not running", self.nacre("pause", "a", check=False).stderr)
        self.assertIn(b"container not paused", self.nacre("resume", "a", check=False).stderr)
        self.nacre("delete", "a")
        self.assertIn(b"container does not exist", self.nacre("pause", "a", check=False).stderr)

    def test_forced_delete_of_a_paused_one(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        self.nacre("pause", "a")
        self.nacre("delete", "-f", "a")

    def test_ps(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        header, line = self.nacre("ps", "a").stdout.decode().splitlines()
        self.assertEqual(header.split(), ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
        self.assertEqual(line.split()[7:], ["sleep", "60"])
        self.assertEqual(self.nacre("ps", "a", "-o", "pid,comm=X").stdout.split()[::2], [b"PID", line.split()[1].encode()])
        self.assertIn(b"%CPU", self.nacre("ps", "-f", "table", "a", "aux").stdout)
        self.assertEqual(json.loads(self.nacre("ps", "-f", "json", "a").stdout), [self.state("a")["pid"]])
        self.assertIn(b"invalid format option", self.nacre("ps", "-f", "xml", "a", check=False).stderr)
        self.assertIn(b"unknown user-defined", self.nacre("ps", "a", "-o", "pid,x", check=False).stderr)
        self.nacre("kill", "a", "KILL")
        self.wait_for_status("a", "stopped")
        self.assertEqual(len(self.nacre("ps", "a").stdout.splitlines()), 1)
        self.assertEqual(self.nacre("ps", "--format", "json", "a").stdout, b"null\n")

    def test_events(self):
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")
        event = json.loads(self.nacre("events", "--stats", "a").stdout)
        self.assertEqual((event["type"], event["id"], event["data"]["memory"]["usage"]["usage"]), ("stats", "a", 4096))
        self.assertIn(b"greater than 0", self.nacre("events", "--interval", "0s", "a", check=False).stderr)
        self.assertIn(b"invalid duration", self.nacre("events", "--interval", "x", "a", check=False).stderr)
        with self.start_nacre("events", "--interval", "100ms", "a", stdout=subprocess.PIPE) as process:
            for _ in range(3):
                self.assertEqual(json.loads(process.stdout.readline())["type"], "stats")
            self.nacre("update", "--memory", "4096", "a")
            lines = [json.loads(process.stdout.readline()) for _ in range(20)]
            self.assertIn({"type": "oom", "id": "a"}, lines)
            self.nacre("kill", "a", "KILL")
            process.stdout.read()
            self.assertEqual(process.wait(30), 0)
        self.wait_for_status("a", "stopped")
        self.assertIn(b"container with id a is not running", self.nacre("events", "a", check=False).stderr)

    def test_update(self):
        self.config["linux"]["resources"] = {"cpu": {"quota": 50000, "period": 100000, "shares": 100}}
        self.write("sleep", "60")
        self.nacre("run", "-d", "-b", self.bundle, "a")

        def updates():
            with open(os.path.join(self.root, "a", "vmm.log")) as log:
                return [json.loads(line.split(" ", 1)[1]) for line in log if line.startswith("update ")]

        self.nacre("update", "--memory", "64m", "--pids-limit", "-1", "a")
        self.assertEqual(updates()[-1], {"memory": {"limit": 64 << 20}, "pids": {"limit": -1}})
        self.nacre("update", "--cpu-quota", "-1", "--memory-swap", "128m", "a")
        self.assertEqual(updates()[-1], {"cpu": {"quota": -1, "period": 100000},
                                         "memory": {"limit": 64 << 20, "swap": 128 << 20}})
        self.nacre("update", "-r", "-", "--memory", "5", "a", input=b'{"cpu": {"shares": 7}, "devices": null}')
        self.assertEqual(updates()[-1], {"cpu": {"shares": 7}})
        with open(os.path.join(self.root, "a", "resources.json")) as file:
            kept = json.load(file)
        self.assertEqual(kept, {"cpu": {"quota": -1, "period": 100000, "shares": 7},
                                "memory": {"limit": 64 << 20, "swap": 128 << 20}, "pids": {"limit": -1}})
        refused = self.nacre("update", "--memory", "666", "a", check=False)
        self.assertEqual((refused.returncode, len(refused.stderr.splitlines())), (1, 1))
        with open(os.path.join(self.root, "a", "resources.json")) as file:
            self.assertEqual(json.load(file), kept)
        grown = self.nacre("update", "--memory", "8g", "--memory-swap", "-1", "--cpuset-cpus", "0-5", "a").stderr
        self.assertIn(b"memory limit 8589934592: the VM has 536870912 bytes and does not grow", grown)
        self.assertIn(b"the VM has 1 CPU", grown)
        self.assertEqual(updates()[-1]["cpu"], {"cpus": "0"})
        for args, text in ((["--cpu-period", "x"], b"invalid value for cpu-period"),
                           (["--memory", "1q"], b"invalid size: '1q'"),
                           (["-r", "/nonexistent"], b"No such file"),
                           (["--l3-cache-schema", "x"], b"Intel RDT/CAT")):
            result = self.nacre("update", *args, "a", check=False)
            self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1))
            self.assertIn(text, result.stderr)
        self.nacre("kill", "a", "KILL")
        self.wait_for_status("a", "stopped")
        self.assertIn(b"container not running", self.nacre("update", "--memory", "64m", "a", check=False).stderr)

    # --- faults

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
        self.nacre("run", "-d", "-b", self.bundle, "a")
        record = self.record("a")
        os.kill(record["vmm"]["pid"], signal.SIGKILL)
        status = os.waitpid(record["standin"]["pid"], 0)[1]
        self.assertEqual(os.waitstatus_to_exitcode(status), -signal.SIGKILL)
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
        self.assertIn(b"/nonexistent/vmm: No such file", result.stderr)
        self.assertEqual(os.listdir(self.root), [])

    def test_create_killed_while_the_vm_boots(self):
        self.write("true")
        self.environment["FAKE_VMM_HANGS"] = "1"
        process = self.start_nacre("create", "-b", self.bundle, "a")
        processes = os.path.join(self.root, "a", "processes")
        while not os.path.exists(processes):
            time.sleep(0.01)
        with open(processes) as file:
            pids = [int(line.split()[0]) for line in file]
        process.kill()
        process.wait()
        for pid in pids:
            self.assert_gone(pid)
        for _ in range(200):
            if not os.listdir(self.root):
                break
            time.sleep(0.02)
        self.assertEqual(os.listdir(self.root), [])

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
            self.assertEqual(sorted(process.wait(60) for process in running), [0, 1, 1, 1, 1, 1])
            log.seek(0)
            self.assertEqual(log.read().count(b"container with given ID already exists"), 5)
        self.assertEqual(self.state("a")["status"], "created")

    # --- bad input

    def test_errors_are_one_line_each(self):
        cases = [("a", {"ociVersion": None}, b"ociVersion: is required"),
                 ("a", {"ociVersion": "2.0.0"}, b"ociVersion: version 2.0.0 is not supported"),
                 ("a", {"root": {"path": "nowhere"}}, b"root.path: invalid rootfs"),
                 ("a", {"mounts": [{"destination": 7}]}, b"mounts[0].destination: must be a string"),
                 ("a/b", {}, b'invalid container ID format: "a/b"'),
                 ("..", {}, b'invalid container ID format: ".."'),
                 ("a", {"hooks": {"prestart": [{"path": "/bin/true"}]}}, b"hooks.prestart: hooks are not supported")]
        good = dict(self.config)
        for name, change, text in cases:
            self.config = dict(good)
            self.write(**change)
            result = self.nacre("create", "-b", self.bundle, name, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(text.replace(b'"', b'\\"'), result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1)
        for text in ("{", "[]", '"', "[" * 100000, ""):
            with open(os.path.join(self.bundle, "config.json"), "w") as file:
                file.write(text)
            result = self.nacre("create", "-b", self.bundle, "a", check=False)
            self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1))
            self.assertIn(b"config.json", result.stderr)
        os.unlink(os.path.join(self.bundle, "config.json"))
        result = self.nacre("create", "-b", self.bundle, "a", check=False)
        self.assertIn(b"JSON specification file config.json not found", result.stderr)

    def test_json_log_of_a_failure_is_one_object(self):
        log = os.path.join(self.scratch, "log")
        self.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
        self.write("missing")
        result = self.nacre("--log", log, "--log-format", "json", "create", "-b", self.bundle, "a", check=False)
        self.assertIn(b"executable file not found", result.stderr)
        with open(log) as file:
            line = json.load(file)
        self.assertEqual(line["level"], "error")
        os.unlink(log)
        self.write("true")
        self.nacre("--log", log, "--log-format", "json", "create", "-b", self.bundle, "a")
        with open(log) as file:
            lines = [json.loads(line) for line in file]
        self.assertIn("linux.seccomp: seccomp not applied by this version", [line["msg"] for line in lines])

    def test_spec_is_runcs(self):
        runc = shutil.which("runc")
        if not runc:
            self.skipTest("no runc here to compare with")
        for flags in ([], ["--rootless"]):
            there = tempfile.mkdtemp(dir=self.scratch)
            subprocess.run([runc, "spec", "-b", there, *flags], check=True)
            with open(os.path.join(there, "config.json")) as file:
                theirs = json.load(file)
            os.unlink(os.path.join(there, "config.json"))
            self.nacre("spec", "-b", there, *flags)
            with open(os.path.join(there, "config.json")) as file:
                ours = json.load(file)
            del theirs["ociVersion"], ours["ociVersion"]
            self.assertEqual(ours, theirs)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
