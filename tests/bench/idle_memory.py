# SPDX-License-Identifier: Apache-2.0
"""Measures the memory of vmm and of the stand-in with one idle container (`sleep`), from /proc/PID/smaps.

  tools/bench memory [--json FILE]

`own` is what a process has beside the guest's RAM. For vmm, that is all mappings but the guest's memory, as Firecracker
counts. `private` is clean plus dirty, and `proportional` is PSS. All figures are in KiB.
"""

import argparse
import json
import re
import subprocess
import time

from bundle import NACRE, make_bundle

GUEST_RAM = 64 << 20  # an anonymous mapping this large, and what is mapped into its range, is the guest's memory


def mappings(pid):
    """Returns (start, end, {field: KiB}, inode, path) of each mapping."""
    found, current = [], None
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)", line)
            if head:
                current = (int(head[1], 16), int(head[2], 16), {}, int(head[4]), head[5])
                found.append(current)
            else:
                field = re.match(r"(\w+):\s+(\d+) kB", line)
                if field:
                    current[2][field[1]] = int(field[2])
    return found


def split(pid):
    """Returns the sums for the process's own mappings, and those for the guest's RAM."""
    own, guest = dict.fromkeys(("private", "pss"), 0), dict.fromkeys(("private", "pss"), 0)
    entries = mappings(pid)
    # Guest RAM is one range of address space. The kernel and the initramfs are mapped into the range and split it up.
    ranges = []
    for index, (low, high, _, inode, _) in enumerate(entries):
        large = high - low >= GUEST_RAM and inode == 0
        if large:
            first = index
            while first > 0 and entries[first - 1][1] == entries[first][0] and not entries[first - 1][4].startswith("["):
                first -= 1
            last = index
            while last + 1 < len(entries) and entries[last + 1][0] == entries[last][1] and \
                    re.search(r"vmlinux|initramfs|^$", entries[last + 1][4]):
                last += 1
            ranges.append((entries[first][0], entries[last][1]))
    for low, high, fields, _, _ in entries:
        total = guest if any(a <= low and high <= b for a, b in ranges) else own
        total["private"] += fields.get("Private_Clean", 0) + fields.get("Private_Dirty", 0)
        total["pss"] += fields.get("Pss", 0)
    return own, guest


def only_child(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        (child,) = file.read().split()
    return int(child)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    # Engines grant CAP_MKNOD. `nacre spec` does not.
    bundle = make_bundle("sleep", "1000", capabilities=["CAP_MKNOD"])
    with open("/dev/null", "r+b") as null:
        for argv in (["create", "--bundle", bundle, "bench"], ["start", "bench"]):
            subprocess.run([NACRE, *argv], check=True, stdin=null, stdout=null)
    time.sleep(5)
    stand_in = json.loads(subprocess.run([NACRE, "state", "bench"], check=True, capture_output=True).stdout)["pid"]
    vmm = only_child(stand_in)
    figures = {"stand-in": split(stand_in)[0]}
    figures["vmm, own"], figures["vmm, guest RAM"] = split(vmm)
    figures["vmm-nodes"] = split(only_child(vmm))[0]
    for name, sums in figures.items():
        print(f"{name:16} private {sums['private']:8} KiB   proportional {sums['pss']:8} KiB")
    subprocess.run([NACRE, "delete", "--force", "bench"], check=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"unit": "KiB", "figures": figures}, file, indent=2)


if __name__ == "__main__":
    main()
