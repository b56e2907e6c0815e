# SPDX-License-Identifier: Apache-2.0
"""Commands about a running container: pause, resume, ps, events, update."""

import json
import os
import subprocess

from support import CommandTest, main

CAP_SYS_RESOURCE = 24


class Control(CommandTest):
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
        pid = self.state("a")["pid"]
        self.assertEqual(json.loads(self.nacre("ps", "-f", "json", "a").stdout), [pid])
        with open("/proc/self/status") as file:
            capabilities = int(next(line.split()[1] for line in file if line.startswith("CapEff:")), 16)
        with open(f"/proc/{pid}/cmdline") as file:  # the stand-in's title in the host's ps
            self.assertEqual(file.read() == "sleep\x0060\0", bool(capabilities >> CAP_SYS_RESOURCE & 1))
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
        for args, text in ((["--cpu-period", "x"], b"invalid value for cpu-period"),
                           (["--memory", "1q"], b"invalid size: '1q'"),
                           (["-r", "/nonexistent"], b"no such file"),
                           (["--l3-cache-schema", "x"], b"Intel RDT/CAT")):
            result = self.nacre("update", *args, "a", check=False)
            self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1))
            self.assertIn(text, result.stderr)
        self.nacre("kill", "a", "KILL")
        self.wait_for_status("a", "stopped")
        self.assertIn(b"container not running", self.nacre("update", "--memory", "64m", "a", check=False).stderr)

    def test_update_resizes_the_machine(self):
        self.config["linux"]["resources"] = {"cpu": {"quota": 50000, "period": 100000}, "memory": {"limit": 64 << 20}}
        self.config["annotations"] = {"nacre.vm.max-memory": "1G", "nacre.vm.max-cpus": "4"}
        self.write("sleep", "60")
        log = os.path.join(self.scratch, "requests")
        self.nacre("run", "-d", "-b", self.bundle, "a", env={"FAKE_VMM_LOG": log})

        def resized():
            with open(os.path.join(self.root, "a", "vmm.log")) as file:
                return [line.split()[1:] for line in file if line.startswith("resize ")]

        def cpus_online():
            with open(log) as file:
                return [request.get("cpus") for request in map(json.loads, file) if request["type"] == "update"][-1]

        first = str(106 << 20)  # of its limit
        self.nacre("update", "--memory", "256m", "--cpu-quota", "200000", "a")
        self.assertEqual(resized(), [["memory", str(304 << 20)], ["cpus", "2"]])
        self.assertEqual(cpus_online(), 2)
        self.nacre("update", "--pids-limit", "20", "a")
        self.assertEqual((len(resized()), cpus_online()), (2, None))
        # A smaller size, but never below what the machine booted with.
        self.nacre("update", "--memory", "32m", "--cpu-quota", "50000", "a")
        self.assertEqual((resized()[2:], cpus_online()), ([["memory", first]], 1))
        # A limit that the guest refuses is undone on the host.
        self.nacre("update", "-r", "-", "a", check=False,
                   input=json.dumps({"memory": {"limit": 666}, "unified": {"memory.max": "128M"}}).encode())
        self.assertEqual([value for _, value in resized()[3:]], [str(172 << 20), first])
        # Grows only as far as the machine can.
        grown = self.nacre("update", "--memory", "2g", "--memory-swap", "-1", "--cpuset-cpus", "0-5",
                           "--cpu-quota", "-1", "a")
        self.assertIn(b"and cannot have more than 1024 MiB", grown.stderr)
        self.assertIn(b"should have 6 CPUs, and cannot have more than 4", grown.stderr)
        self.assertEqual((resized()[-2:], cpus_online()), ([["memory", str(1 << 30)], ["cpus", "4"]], 4))


if __name__ == "__main__":
    main()
