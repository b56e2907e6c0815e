# SPDX-License-Identifier: Apache-2.0
"""podman with nacre as its runtime."""

import json
import os
import subprocess
import unittest
import urllib.request

from support import BUSYBOX, Client, Surroundings, install, machines, main, wait_until

IMAGE = "busybox"
podman = Client("podman", "--cgroup-manager", "cgroupfs", "--runtime", install())


def setUpModule():
    for file in ("/etc/subuid", "/etc/subgid"):  # what --userns=auto hands out
        with open(file, "a", encoding="utf-8") as ids:
            ids.write("containers:1000000:500000\n")
    subprocess.run(f"tar -C {BUSYBOX} -c . | podman import - {IMAGE}", shell=True, check=True, capture_output=True)
    setUpModule.surroundings = Surroundings()


def tearDownModule():
    left = [line for line in podman.text("ps --all --quiet").split()]
    podman("system reset --force")
    if left:
        raise AssertionError(f"containers that a test has left: {left}")
    kinds = setUpModule.surroundings.left_behind()
    kinds.pop("files", None)  # podman's own
    kinds.pop("sockets", None)
    kinds["mounts"] = [path for path in kinds.get("mounts", []) if path != "/run/netns"]
    kinds["links"] = [link for link in kinds.get("links", []) if link != "cni-podman0"]
    own = ("/libpod_parent", "/conmon", "/podman_probe")
    kinds["cgroups"] = [path for path in kinds.get("cgroups", []) if not path.endswith(own)]
    if any(kinds.values()):
        raise AssertionError(f"left behind: {kinds}")


class Run(unittest.TestCase):
    def test_output_and_status(self):
        self.assertEqual(podman.run_once("busybox echo hello"), "hello\n")
        podman.run_once("busybox sh -c", "exit 7", status=7)
        podman.run_once("busybox nosuch", status=127)
        podman.run_once("busybox /etc/passwd", status=126)
        self.assertEqual(podman.run_once("-i busybox cat", input=b"piped"), "piped")

    def test_terminal(self):
        output, status = podman.on_terminal("run --rm -it --network none busybox sh -c", "tty; test -t 0 && exit 5")
        self.assertEqual((output.strip(), status), ("/dev/pts/0", 5))

    def test_options_of_the_process(self):
        show = (
            "hostname; id; ulimit -n; ulimit -Hn; cat /proc/sys/kernel/msgmax; grep CapEff /proc/self/status; echo $A"
        )
        output = podman.run_once(
            "--hostname box --user 12:34 --group-add 56 --ulimit nofile=77:88 --sysctl kernel.msgmax=4096 "
            "--cap-drop all --env A=b busybox sh -c",
            show,
        )
        self.assertEqual(
            output.splitlines(),
            ["box", "uid=12(12) gid=34(34) groups=34(34),56", "77", "88", "4096", "CapEff:\t0000000000000000", "b"],
        )
        output = podman.run_once(
            "--cap-drop all --cap-add net_raw --init busybox sh -c",
            "grep CapEff /proc/self/status; ps -o pid,args | head -n 2 | tail -n 1; cat /sys/fs/cgroup/pids.max",
        )
        lines = output.splitlines()
        self.assertEqual(lines[0], "CapEff:\t0000000000002000")
        self.assertRegex(lines[1], r"^ +1 /run/podman-init -- sh -c")

    def test_file_systems(self):
        podman("volume create data")
        self.addCleanup(podman, "volume", "rm", "data")
        output = podman.run_once(
            "--read-only --tmpfs /t:size=1m,mode=1777 --shm-size 2m -v data:/v busybox sh -c",
            "touch /x; touch /tmp/x && echo tmp; mount | grep -o ' /t type tmpfs.*size=1024k';"
            "stat -c %a /t; df -k /dev/shm | tail -n 1; echo data >/v/file",
        )
        lines = output.splitlines()
        self.assertEqual(lines[0], "tmp")
        self.assertRegex(lines[1], "size=1024k")
        self.assertEqual(lines[2], "1777")
        self.assertRegex(lines[3], r"^shm +2048 .* /dev/shm$")
        # An overlay of podman's: what the container writes goes with it.
        self.assertEqual(podman.run_once("-v data:/v:O busybox sh -c", "cat /v/file; echo more >/v/file; cat /v/file"),
                         "data\nmore\n")
        done = podman("run --rm --network none -v data:/v:ro busybox sh -c", "cat /v/file; echo >/v/file", status=1)
        self.assertEqual(done.stdout, b"data\n")
        self.assertIn(b"Read-only file system", done.stderr)

    def test_limits(self):
        self.assertEqual(
            podman.run_once(
                "--pids-limit 20 --memory 100m --cpus 0.5 busybox sh -c",
                "cd /sys/fs/cgroup; cat pids.max memory.max cpu.max",
            ),
            "20\n104857600\n50000 100000\n",
        )
        done = podman(
            "run --rm --network none --memory 64m busybox sh -c",
            "head -c 200m /dev/zero | tail -c 150m | wc -c; exit 9",
            status=9,
        )
        self.assertEqual(done.stdout, b"0\n", "tail was killed for want of memory")

    def test_user_namespaces(self):
        self.assertRegex(podman.run_once("--userns auto busybox cat /proc/self/uid_map"), r"^ +0 +10\d{5} +\d+\n$")

    def test_groups_of_the_caller(self):
        self.assertEqual(podman.run_once("--group-add keep-groups busybox id -G", extra_groups=[7, 1234]), "0 7 1234\n")

    def test_a_pod_is_one_vm(self):
        # The cgroup that podman 4.3 makes for a pod lets nobody open a device, under runc neither.
        podman("pod create --name pod --share-parent=false --network none --infra-image busybox --infra-command", "sleep 1000")
        self.addCleanup(podman, "pod", "rm", "--force", "--time", "0", "pod")
        podman("run --detach --pod pod --name one busybox sh -c", "echo shared > /dev/shm/file; exec sleep 1000")
        wait_until(lambda: podman.text("exec one ls /dev/shm") == "file\n", "written")
        both = "readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts; hostname; cat /dev/shm/file"
        output = podman.text("run --rm --pod pod busybox sh -c", f"{both}; readlink /proc/self/ns/pid")
        self.assertEqual(output.splitlines()[:4], podman.text("exec one sh -c", both).splitlines())
        self.assertNotIn(podman.text("exec one readlink /proc/self/ns/pid"), output)
        self.assertEqual(len(machines()), 1)
        podman("rm --force --time 0 one")
        self.assertEqual(podman.text("run --rm --pod pod busybox cat /dev/shm/file"), "shared\n")
        self.assertEqual(len(machines()), 1)

    def test_privileged(self):
        output = podman.run_once(
            "--privileged busybox sh -c",
            "grep CapEff /proc/self/status; mount -t tmpfs x /mnt || mkdir /m"
            " && mount -t tmpfs x /m && echo mounted",
        )
        self.assertEqual(output.splitlines()[-1], "mounted")

    def test_twenty_after_another(self):
        for number in range(20):
            self.assertEqual(podman.run_once("busybox echo", str(number)), f"{number}\n")


class Networks(unittest.TestCase):
    """podman's default network, by the CNI plugins bridge, portmap and firewall."""

    def test_a_published_port(self):
        podman("run --detach --name server --publish 127.0.0.1:8080:80 busybox sh -c",
               "mkdir /w; echo published > /w/index.html; exec httpd -f -p 80 -h /w")
        self.addCleanup(podman, "rm --force --time 0 server")
        address = podman.text("inspect --format {{.NetworkSettings.IPAddress}} server").strip()
        script = f"until wget -q -O - http://{address}/; do sleep 0.1; done; ip -4 addr show eth0 | grep -c 'inet 10.88'"
        self.assertEqual(podman.text("run --rm busybox sh -c", script, timeout=60), "published\n1\n")
        with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=20) as reply:  # by the host's NAT
            self.assertEqual(reply.read(), b"published\n")

    def test_containers_of_a_pod_meet_on_localhost(self):
        podman("pod create --name net --share-parent=false --infra-image busybox --infra-command", "sleep 1000")
        self.addCleanup(podman, "pod rm --force --time 0 net")
        podman("run --detach --pod net busybox sh -c", "mkdir /w; echo local > /w/index.html; exec httpd -f -p 80 -h /w")
        script = "until wget -q -O - http://127.0.0.1/; do sleep 0.1; done; hostname -i"
        local, address = podman.text("run --rm --pod net busybox sh -c", script, timeout=60).splitlines()
        self.assertEqual(local, "local")
        self.assertEqual(podman.text("run --rm busybox wget -q -O -", f"http://{address}/"), "local\n")
        self.assertEqual(len(machines()), 1)


class Life(unittest.TestCase):
    """Runs commands on one container."""

    def setUp(self):
        podman(
            "run --detach --name life --network none --health-interval disable --health-cmd",
            "test -e /tmp/well",
            IMAGE,
            "sh",
            "-c",
            "trap 'echo usr1' USR1; while sleep 0.2; do echo tick; done",
        )
        self.addCleanup(podman, "rm", "--force", "--ignore", "--time", "0", "life")

    def status(self):
        return podman.text("inspect --format", "{{.State.Status}}", "life").strip()

    def test_exec(self):
        done = podman("exec --user nobody --env A=b --workdir /tmp life sh -c", "id -u; echo $A; pwd; exit 3", status=3)
        self.assertEqual(done.stdout, b"65534\nb\n/tmp\n")
        podman("exec life nosuch", status=127)
        self.assertEqual(podman.text("exec -i life cat", input=b"in"), "in")
        output, status = podman.on_terminal("exec -it life sh -c", "tty; exit 4")
        self.assertEqual((output.strip(), status), ("/dev/pts/0", 4))

    def test_watching_it(self):
        wait_until(lambda: "tick\ntick\n" in podman.text("logs life"), "its output is in the log")
        self.assertIn("while sleep 0.2; do echo tick; done", podman.text("top life -eo pid,args"))
        # podman's own columns come from the /proc that it finds in the mount namespace of the container's pid.
        header, *processes = podman.text("top life pid ppid user state comm args").splitlines()
        self.assertEqual(header.split(), ["PID", "PPID", "USER", "STATE", "COMMAND", "COMMAND"])
        self.assertIn(["1", "0", "root", "S", "sh"], [line.split()[:5] for line in processes])
        self.assertLessEqual({line.split()[4] for line in processes}, {"sh", "sleep"})
        self.assertIn("while sleep 0.2; do echo tick; done", podman.text("top life"))
        stats = json.loads(podman.text("stats --no-stream --format json life"))[0]
        self.assertGreaterEqual(int(stats["pids"]), 1)
        self.assertNotEqual(stats["mem_usage"].split(" / ")[0], "0B")
        podman("healthcheck run life", status=1)
        podman("exec life touch /tmp/well")
        podman("healthcheck run life")

    def test_files_go_in_and_out(self):
        with open("/tmp/for-the-container", "w", encoding="utf-8") as file:
            file.write("from the host\n")
        podman("cp /tmp/for-the-container life:/root/file")
        self.assertEqual(podman.text("exec life cat /root/file"), "from the host\n")
        podman("exec life sh -c", "echo from the container >/root/other")
        podman("cp life:/root/other /tmp/from-the-container")
        with open("/tmp/from-the-container", encoding="utf-8") as file:
            self.assertEqual(file.read(), "from the container\n")
        os.unlink("/tmp/for-the-container")
        os.unlink("/tmp/from-the-container")

    def test_signals_and_stops(self):
        wait_until(lambda: "tick" in podman.text("logs life"), "the trap is set")
        podman("kill --signal USR1 life")
        wait_until(lambda: "usr1" in podman.text("logs life"), "the trap has run")
        podman("pause life")
        self.assertEqual(self.status(), "paused")
        podman("exec life true", status=255)
        podman("unpause life")
        self.assertEqual(self.status(), "running")
        podman("stop --time 1 life")
        self.assertEqual(podman.text("inspect --format", "{{.State.Status}} {{.State.ExitCode}}", "life"), "exited 137\n")
        podman("start life")
        self.assertEqual(self.status(), "running")
        podman("kill life")
        podman("wait life")
        self.assertEqual(self.status(), "exited")

    def test_update(self):
        podman("update --cpus 0.5 --memory 100m life")
        self.assertEqual(
            podman.text("exec life cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"),
            "104857600\n50000 100000\n",
        )


if __name__ == "__main__":
    main()
