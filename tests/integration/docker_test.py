# SPDX-License-Identifier: Apache-2.0
"""docker with nacre as its default runtime."""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.request

from support import BUSYBOX, Client, install, machines, main, processes, run, wait_until

IMAGE = "busybox"
docker = Client("/usr/bin/docker")  # Debian's, which is of the daemon's version


class Daemon:
    """dockerd and the containerd that it starts."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.log = open(f"{self.directory.name}/log", "wb")
        settings = {
            "runtimes": {"nacre": {"path": install()}},
            "default-runtime": "nacre",
        }
        with open(f"{self.directory.name}/daemon.json", "w", encoding="utf-8") as file:
            json.dump(settings, file)
        self.process = subprocess.Popen(["dockerd", "--config-file", file.name], stdout=self.log, stderr=self.log)
        wait_until(lambda: run(*docker.prefix, "version").returncode == 0, "dockerd answers")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.directory.cleanup()


def setUpModule():
    setUpModule.daemon = Daemon()
    subprocess.run(
        f"tar -C {BUSYBOX} -c . | {docker.prefix[0]} import - {IMAGE}", shell=True, check=True, capture_output=True
    )


def tearDownModule():
    left = docker.text("ps --all --quiet").split()
    setUpModule.daemon.stop()
    if left:
        raise AssertionError(f"containers that a test has left: {left}")
    wait_until(lambda: not processes("vmm"), "no vmm is left")


class Networks(unittest.TestCase):
    """Docker's own bridge, with its NAT and its proxies, and networks that a user makes."""

    def serve(self, *options, text):
        name = docker.text("run --detach", *options, IMAGE, "sh", "-c",
                           f"mkdir /w; echo {text} > /w/index.html; exec httpd -f -p 80 -h /w").strip()
        self.addCleanup(docker, "rm --force", name)
        return name

    def address(self, name, network="bridge"):
        return docker.text("inspect --format", "{{(index .NetworkSettings.Networks \"%s\").IPAddress}}" % network,
                           name).strip()

    def fetch(self, address, port=80):
        def answer():
            try:
                with urllib.request.urlopen(f"http://{address}:{port}/", timeout=20) as reply:
                    answer.text = reply.read().decode()
                    return True
            except (OSError, http.client.HTTPException):
                return False
        wait_until(answer, "an answer", 60)
        return answer.text

    def test_the_bridge(self):
        server = self.serve("--publish", "127.0.0.1:8080:80", text="published")
        address = self.address(server)
        self.assertEqual(self.fetch(address), "published\n")
        self.assertEqual(self.fetch("127.0.0.1", 8080), "published\n")  # by docker-proxy
        # Another container reaches it, by its address and by a published port of the host's.
        out = docker.text("run --rm busybox sh -c", f"ping -c 1 -W 20 {address} >/dev/null; wget -q -O - http://{address}/")
        self.assertEqual(out, "published\n")

    def test_the_same_addresses_as_under_runc(self):
        script = "ip -4 addr show eth0 | grep inet; ip route; cat /sys/class/net/eth0/address /etc/hosts /etc/resolv.conf; hostname -i"
        options = "--rm --hostname box --mac-address 02:42:ac:11:00:99 --add-host other:10.1.2.3 --dns 10.4.5.6 busybox sh -c"
        self.assertEqual(docker.text(f"run {options}", script), docker.text(f"run --runtime runc {options}", script))

    def test_the_network_of_another_container(self):
        server = self.serve(text="shared")
        self.fetch(self.address(server))
        vms = len(machines())
        script = "wget -q -O - http://127.0.0.1/; hostname -i"
        out = docker.text(f"run --rm --network container:{server} busybox sh -c", f"{script}; sleep 1")
        self.assertEqual(out, f"shared\n{self.address(server)}\n")
        self.assertEqual(len(machines()), vms)

    def test_a_user_defined_network(self):
        docker("network create --subnet 172.31.5.0/24 own")
        self.addCleanup(docker, "network rm own")
        server = self.serve("--network", "own", "--ip", "172.31.5.77", text="own")
        self.assertEqual(self.address(server, "own"), "172.31.5.77")
        self.assertEqual(docker.text("run --rm --network own busybox wget -q -O - http://172.31.5.77/"), "own\n")


class Run(unittest.TestCase):
    def test_output_and_status(self):
        self.assertEqual(docker.run_once("busybox echo hello"), "hello\n")
        docker.run_once("busybox sh -c", "exit 7", status=7)
        docker.run_once("busybox nosuch", status=127)
        docker.run_once("busybox /etc/passwd", status=126)
        self.assertEqual(docker.run_once("-i busybox cat", input=b"piped"), "piped")

    def test_terminal(self):
        output, status = docker.on_terminal("run --rm -it --network none busybox sh -c", "tty; test -t 0 && exit 5")
        self.assertEqual((output.strip(), status), ("/dev/pts/0", 5))

    def test_options_of_the_process(self):
        show = (
            "hostname; id -u; id -g; id -G; ulimit -n; ulimit -Hn; cat /proc/sys/kernel/msgmax;"
            "grep -E 'CapEff|NoNewPrivs' /proc/self/status; echo $A"
        )
        output = docker.run_once(
            "--hostname box --user 12:34 --group-add 56 --ulimit nofile=77:88 --sysctl kernel.msgmax=4096 "
            "--cap-drop all --security-opt no-new-privileges --env A=b busybox sh -c",
            show,
        )
        self.assertEqual(
            output.splitlines(),
            ["box", "12", "34", "34 56", "77", "88", "4096", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "b"],
        )
        output = docker.run_once(
            "--cap-drop all --cap-add net_raw --init --pids-limit 20 busybox sh -c",
            "grep CapEff /proc/self/status; ps -o pid,args | head -n 2 | tail -n 1; cat /sys/fs/cgroup/pids.max",
        )
        lines = output.splitlines()
        self.assertEqual((lines[0], lines[2]), ("CapEff:\t0000000000002000", "20"))
        self.assertRegex(lines[1], r"^ +1 /sbin/docker-init -- sh -c")

    def test_file_systems(self):
        self.addCleanup(docker, "volume", "rm", "data")
        output = docker.run_once(
            "--read-only --tmpfs /t:size=1m,mode=1777 --shm-size 2m -v data:/v busybox sh -c",
            "touch /x 2>/dev/null || echo read-only; mount | grep -o ' /t type tmpfs.*size=1024k';"
            "stat -c %a /t; df -k /dev/shm | tail -n 1; echo data >/v/file",
        )
        lines = output.splitlines()
        self.assertEqual(lines[0], "read-only")
        self.assertRegex(lines[1], "size=1024k")
        self.assertEqual(lines[2], "1777")
        self.assertRegex(lines[3], r"^shm +2048 .* /dev/shm$")
        done = docker("run --rm --network none -v data:/v:ro busybox sh -c", "cat /v/file; echo >/v/file", status=1)
        self.assertEqual(done.stdout, b"data\n")
        self.assertIn(b"Read-only file system", done.stderr)

    def test_out_of_memory(self):
        self.addCleanup(docker, "rm", "--force", "oom")
        docker(
            "run --name oom --network none --memory 64m busybox sh -c",
            "head -c 200m /dev/zero | tail -c 150m | wc -c; exit 9",
            status=9,
        )
        self.assertEqual(docker.text("inspect --format", "{{.State.OOMKilled}} {{.State.ExitCode}}", "oom"), "true 9\n")

    def test_containers_in_one_vm(self):
        docker("run --detach --name one --ipc shareable --network none busybox sh -c",
               "echo shared > /dev/shm/file; exec sleep 1000")
        self.addCleanup(docker, "rm", "--force", "one")
        wait_until(lambda: docker.text("exec one ls /dev/shm") == "file\n", "written")
        vms = machines()
        docker("run --detach --name two --ipc container:one --network none busybox sleep 1000")
        self.addCleanup(docker, "rm", "--force", "two")
        self.assertEqual(machines(), vms)
        both = "readlink /proc/self/ns/ipc; cat /dev/shm/file"
        self.assertEqual(docker.text("exec two sh -c", both), docker.text("exec one sh -c", both))
        output = docker.run_once("--pid container:two busybox sh -c", "readlink /proc/self/ns/ipc; ps")
        self.assertIn("sleep 1000", output)
        self.assertNotIn(docker.text("exec two readlink /proc/self/ns/ipc"), output)
        docker("rm --force one")
        self.assertEqual(docker.text("exec two cat /dev/shm/file"), "shared\n")

    def test_privileged(self):
        output = docker.run_once("--privileged busybox sh -c", "mkdir /m && mount -t tmpfs x /m && echo mounted")
        self.assertEqual(output, "mounted\n")

    def test_restart_policy(self):
        docker("run --detach --name again --restart on-failure:2 --network none busybox sh -c", "echo run; exit 5")
        self.addCleanup(docker, "rm", "--force", "again")
        outcome = ("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "again")
        wait_until(lambda: docker.text(*outcome) == "exited 5 2\n", "docker has given up")
        self.assertEqual(docker.text("logs again"), "run\n" * 3)

    def test_build(self):
        with tempfile.TemporaryDirectory() as context:
            with open(f"{context}/Dockerfile", "w", encoding="utf-8") as file:
                file.write(
                    f"FROM {IMAGE}\nRUN uname -r >/kernel && id -u >>/kernel\nRUN cat /kernel\n"
                    "RUN mknod /zero c 1 5\nCMD cat /kernel; head -c 1 /zero | od -A n -b\n"
                )
            docker("build --network none --tag built", context, env={**os.environ, "DOCKER_BUILDKIT": "0"})
        self.addCleanup(docker, "rmi", "built")
        kernel, user, zero = docker.run_once("built").splitlines()
        self.assertTrue(kernel.endswith("-nacre"), "the RUN steps ran in a VM")
        self.assertEqual((user, zero), ("0", " 000"))


class Life(unittest.TestCase):
    """Runs commands on one container."""

    def setUp(self):
        docker(
            "run --detach --name life --network none busybox sh -c",
            "trap 'echo usr1' USR1; while sleep 0.2; do echo tick; done",
        )
        self.addCleanup(docker, "rm", "--force", "life")
        self.addCleanup(self.tell_state)

    def tell_state(self):
        """For whoever reads of a failure."""
        print(docker.text("inspect --format", "{{json .State}}", "life"), end="", file=sys.stderr)

    def status(self):
        return docker.text("inspect --format", "{{.State.Status}}", "life").strip()

    def test_exec(self):
        done = docker("exec --user nobody --env A=b --workdir /tmp life sh -c", "id -u; echo $A; pwd; exit 3", status=3)
        self.assertEqual(done.stdout, b"65534\nb\n/tmp\n")
        docker("exec life nosuch", status=126)  # docker 20.10 says so under runc, too
        self.assertEqual(docker.text("exec -i life cat", input=b"in"), "in")
        output, status = docker.on_terminal("exec -it life sh -c", "tty; exit 4")
        self.assertEqual((output.strip(), status), ("/dev/pts/0", 4))

    def test_watching_it(self):
        wait_until(lambda: "tick\ntick\n" in docker.text("logs life"), "its output is in the log")
        self.assertIn("while sleep 0.2; do echo tick; done", docker.text("top life"))
        stats = json.loads(docker.text("stats --no-stream --format", "{{json .}}", "life"))
        self.assertGreaterEqual(int(stats["PIDs"]), 1)
        self.assertRegex(stats["MemUsage"], r"^[1-9][0-9.]*MiB / ")

    def test_files_go_in_and_out(self):
        with tempfile.TemporaryDirectory() as host:
            with open(f"{host}/in", "w", encoding="utf-8") as file:
                file.write("from the host\n")
            docker("cp", f"{host}/in", "life:/root/file")
            self.assertEqual(docker.text("exec life cat /root/file"), "from the host\n")
            docker("exec life sh -c", "echo from the container >/root/other")
            docker("cp life:/root/other", f"{host}/out")
            with open(f"{host}/out", encoding="utf-8") as file:
                self.assertEqual(file.read(), "from the container\n")

    def test_signals_and_stops(self):
        wait_until(lambda: "tick" in docker.text("logs life"), "the trap is set")
        docker("kill --signal USR1 life")
        wait_until(lambda: "usr1" in docker.text("logs life"), "the trap has run")
        docker("pause life")
        self.assertEqual(self.status(), "paused")
        docker("unpause life")
        self.assertEqual(self.status(), "running")
        docker("stop --time 1 life")
        self.assertEqual(docker.text("inspect --format", "{{.State.Status}} {{.State.ExitCode}}", "life"), "exited 137\n")
        docker("start life")
        self.assertEqual(self.status(), "running")
        docker("kill life")
        docker("wait life")
        self.assertEqual(self.status(), "exited")

    def test_update(self):
        docker("update --cpus 0.5 --memory 100m --memory-swap 200m life")
        self.assertEqual(
            docker.text("exec life cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"),
            "104857600\n50000 100000\n",
        )


if __name__ == "__main__":
    main()
