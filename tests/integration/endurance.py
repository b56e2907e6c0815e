# SPDX-License-Identifier: Apache-2.0
"""Runs many containers, one after another and at once, beside one that lives all the time. Nothing may be left behind,
and no memory may grow.

  tools/chaos [--containers N] [--at-once M] [--rounds R] [--json FILE]

A round runs N containers one after another, and then M that all run at the same time. At each tenth of them the one that
lives all the time is used: exec, ps, events, update, pause, a container that joins its VM and leaves it.

What is looked at ten times in a round:

  * private memory of each process that lives all the time, without that of the guest (/proc/PID/smaps);
  * its descriptors, by their kind;
  * the host: memory in use after its caches were dropped, open files, cgroups that linger.

Figures of memory may rise by a fixed sum over the whole run, however many containers there are, because allocators and
the kernel settle at some size. What leaks with each container passes that sum in a long run.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys

from support import NACRE, Bundle, Surroundings, children, command, detach, nacre, read, state, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../bench"))
from idle_memory import split  # noqa: E402

KEEPER = "keeper"
GROWTH_OF_PROCESS = 256  # KiB
GROWTH_OF_HOST = 16 << 10  # KiB
STATUS = 3


def check(right, what):
    if not right:
        raise AssertionError(what)


def ok(*argv, **options):
    done = nacre(*argv, **options)
    check(done.returncode == 0, f"nacre {' '.join(argv)}: status {done.returncode}, {done.stderr.decode()}")
    return done.stdout


def allow_nodes(config):
    """Grants CAP_MKNOD, as engines do: the VM then has a helper on the host."""
    for kind in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][kind].append("CAP_MKNOD")


def join_keeper(config):
    for entry in config["linux"]["namespaces"]:
        if entry["type"] == "ipc":
            entry["path"] = f"/proc/{state(KEEPER)['pid']}/ns/ipc"


class Keeper:
    """The container that lives all the time."""

    def __init__(self):
        self.bundle = Bundle("sleep", "1000000", change=allow_nodes)
        detach("run", "--detach", "--bundle", self.bundle.path, KEEPER)
        stand_in = state(KEEPER)["pid"]
        (vmm,) = children(stand_in)
        self.processes = {"stand-in": stand_in, "vmm": vmm, "vmm-nodes": children(vmm)[0]}
        check(command(self.processes["vmm-nodes"]) == "vmm-nodes", "the helper for device nodes")
        self.guest = Bundle("sh", "-c", "echo joined > /joined; cat /joined", change=join_keeper, copy=True)

    def use(self, number):
        """Runs each command that a long-lived container gets."""
        check(ok("exec", KEEPER, "sh", "-c", "mknod /n c 1 3 && rm /n && echo in") == b"in\n", "exec")
        ok("ps", KEEPER)
        ok("events", "--stats", KEEPER)
        ok("update", "--memory", str(64 + number % 2 << 20), KEEPER)
        ok("pause", KEEPER)
        ok("resume", KEEPER)
        check(ok("run", "--bundle", self.guest.path, f"joins{number}") == b"joined\n", "a container that joins")

    def end(self):
        ok("delete", "--force", KEEPER)
        self.bundle.remove()
        self.guest.remove()


def kinds_of_descriptors(pid):
    kinds = collections.Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            kinds[re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{number}"))] += 1
        except FileNotFoundError:
            pass
    return dict(kinds)


def figures_of_host():
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")
    memory = {line.split(":")[0]: int(line.split()[1]) for line in read("/proc/meminfo").splitlines()}
    lingering = re.search(r"nr_dying_descendants (\d+)", read("/sys/fs/cgroup/cgroup.stat"))
    return {
        "memory": memory["MemTotal"] - memory["MemFree"] - memory["Buffers"] - memory["Cached"] + memory["Shmem"],
        "open files": int(read("/proc/sys/fs/file-nr").split()[0]),
        "lingering cgroups": int(lingering[1]),
    }


class Figures:
    def __init__(self, keeper):
        self.keeper = keeper
        self.memory = {name: [] for name in [*keeper.processes, "host"]}  # KiB
        self.descriptors = {}
        self.host = []
        self.take()

    def take(self):
        for name, pid in self.keeper.processes.items():
            self.memory[name].append(split(pid)[0]["private"])
        self.host.append(figures_of_host())
        self.memory["host"].append(self.host[-1]["memory"])

    def note_descriptors(self):
        now = {name: kinds_of_descriptors(pid) for name, pid in self.keeper.processes.items()}
        check(self.descriptors in ({}, now), f"descriptors were {self.descriptors} and are {now}")
        self.descriptors = now

    def check(self):
        """Checks for growth after the first sample of containers, when all has been used once."""
        for name, sizes in self.memory.items():
            growth = sizes[-1] - sizes[1]
            most = GROWTH_OF_HOST if name == "host" else GROWTH_OF_PROCESS
            check(growth <= most, f"memory of {name} has grown by {growth} KiB: {sizes}")

    def show(self):
        for name, sizes in self.memory.items():
            slope = (sizes[-1] - sizes[1]) / (len(sizes) - 2) if len(sizes) > 2 else 0
            print(f"  {name:10} {sizes[0]:8} KiB at first, {sizes[1]:8} then, {sizes[-1]:8} in the end, "
                  f"{slope:+.1f} a sample", flush=True)
        for name in ("open files", "lingering cgroups"):
            print(f"  {name}: {self.host[0][name]} at first, {self.host[1][name]} then, {self.host[-1][name]} in the end")


def one_after_another(count, samples, keeper, figures):
    with Bundle("sh", "-c", f"echo $((6 * 7)); exit {STATUS}") as bundle:
        stride = max(1, count // samples)
        for number in range(count):
            done = nacre("run", "--bundle", bundle.path, f"one{number}")
            check((done.returncode, done.stdout, done.stderr) == (STATUS, b"42\n", b""), f"container {number}: {done}")
            if (number + 1) % stride == 0:
                keeper.use(number)
                figures.take()
                figures.note_descriptors()


def all_at_once(count):
    """Starts containers at the same time. Each waits for its stdin to end, which it does once all of them run."""
    with Bundle("sh", "-c", f"echo up; cat; exit {STATUS}") as bundle:
        started = [subprocess.Popen([NACRE, "run", "--bundle", bundle.path, f"all{number}"], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for number in range(count)]
        with concurrent.futures.ThreadPoolExecutor(max(1, count)) as pool:
            for number, line in enumerate(pool.map(lambda process: process.stdout.readline(), started)):
                check(line == b"up\n", f"container {number} of {count}: {line}, "
                                       f"{'' if line else started[number].stderr.read().decode()}")
            print(f"  {count} containers run at the same time", flush=True)
            for number, (out, errors) in enumerate(pool.map(lambda process: process.communicate(b"in"), started)):
                status = started[number].returncode
                check((status, out, errors) == (STATUS, b"in", b""), f"container {number}: {status}, {out}, {errors}")


def endure(containers, at_once, rounds=1, samples=10):
    """Takes so many samples in each round. Returns the figures. Raises AssertionError if something grows or is left behind."""
    surroundings = Surroundings()
    keeper = Keeper()
    try:
        keeper.use(0)
        beside = Surroundings()
        figures = Figures(keeper)
        for number in range(rounds):
            one_after_another(containers, samples, keeper, figures)
            all_at_once(at_once)
            figures.take()
            figures.note_descriptors()
            beside.assert_clean()
            print(f"round {number + 1}:", flush=True)
            figures.show()
        figures.check()
    finally:
        nacre("kill", KEEPER, "KILL")
        keeper.end()
    wait_until(lambda: not state(KEEPER), "the keeper is gone")
    surroundings.assert_clean()
    return figures


def main():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--containers", type=int, default=100, metavar="N", help="one after another")
    parser.add_argument("--at-once", type=int, default=20, metavar="M")
    parser.add_argument("--rounds", type=int, default=1, metavar="R")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        figures = endure(options.containers, options.at_once, options.rounds)
    except AssertionError as error:
        sys.exit(f"chaos: {error}")
    total = options.rounds * (options.containers + options.at_once)
    print(f"{total} containers: nothing left behind, no memory has grown")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"memory in KiB": figures.memory, "host": figures.host, "descriptors": figures.descriptors}, file,
                      indent=2)


if __name__ == "__main__":
    main()
