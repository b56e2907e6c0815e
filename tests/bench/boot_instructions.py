# SPDX-License-Identifier: Apache-2.0
"""Counts the instructions that `nacre run`, runc and crun take to run /bin/true in a container, without links of the
network and with some.

  tools/bench boot [--runs N] [--json FILE]

In the lab with --icount, the clock advances by 1 ns per executed instruction, in the lab machine and in its guests
alike. So the time for which tasks were busy is a count of instructions. This time is rq_cpu_time, the 7th number of
cpu0's line in /proc/schedstat. All files are in memory, and a first run, which is not counted, warms the caches. The
figures are medians, in 10^6 instructions.
"""

import argparse
import json
import shutil
import statistics
import subprocess

from bundle import NACRE, make_bundle, make_netns


def busy():
    with open("/proc/schedstat", encoding="ascii") as file:
        for line in file:
            if line.startswith("cpu0 "):
                return int(line.split()[7])
    raise SystemExit("no cpu0 in /proc/schedstat")


def measure(argv, runs):
    counts = []
    for run in range(runs + 1):
        before = busy()
        subprocess.run(argv(run), check=True, stdin=subprocess.DEVNULL)
        counts.append((busy() - before) / 1e6)
    return counts[1:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    bundle = make_bundle("/bin/true")
    programs = {"fork and exec of /bin/true": lambda run: ["/bin/true"]}
    for name, path in (("crun run", shutil.which("crun")), ("runc run", shutil.which("runc")), ("nacre run", NACRE)):
        programs[name] = lambda run, path=path: [path, "run", "--bundle", bundle, f"bench-{run}"]
    for links in (1, 2):
        connected = make_bundle("/bin/true", netns=make_netns(links))
        for name, path in (("runc run", shutil.which("runc")), ("nacre run", NACRE)):
            programs[f"{name}, {links} links"] = lambda run, path=path, connected=connected: [
                path, "run", "--bundle", connected, f"bench-{run}"]
    figures = {}
    for name, argv in programs.items():
        counts = measure(argv, options.runs)
        figures[name] = {"median": statistics.median(counts), "lowest": min(counts), "highest": max(counts)}
        print(f"{name:28} {figures[name]['median']:9.1f}  (from {min(counts):.1f} to {max(counts):.1f})", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"unit": "10^6 instructions", "runs": options.runs, "figures": figures}, file, indent=2)


if __name__ == "__main__":
    main()
