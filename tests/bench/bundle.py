# SPDX-License-Identifier: Apache-2.0
"""Makes a bundle with the busybox root filesystem on tmpfs, for nacre, runc and crun."""

import json
import os
import subprocess
import tempfile

NACRE = os.environ.get("NACRE_BIN", "nacre")
BUSYBOX = os.environ["NACRE_BUSYBOX_ROOTFS"]


def make_netns(links):
    """Makes a network namespace with veth links that have addresses, as engines do, and returns its path."""
    name = f"bench{links}"
    commands = [f"ip netns add {name}", f"ip -n {name} link set lo up"]
    for i in range(links):
        outside, inside = f"out{links}.{i}", f"eth{i}"
        commands += [f"ip link add {outside} type veth peer name {inside} netns {name}", f"ip link set {outside} up",
                     f"ip -n {name} link set {inside} up", f"ip -n {name} addr add 10.{links}.{i}.2/24 brd + dev {inside}"]
    commands.append(f"ip -n {name} route add default via 10.{links}.0.1")
    for command in commands:
        subprocess.run(command.split(), check=True)
    return f"/run/netns/{name}"


def make_bundle(*args, capabilities=(), netns=None):
    """Makes a bundle and returns its path. Adds `capabilities` to the default ones. `netns` is a path."""
    bundle = tempfile.mkdtemp(prefix="bench-")
    subprocess.run(["cp", "-a", BUSYBOX, f"{bundle}/rootfs"], check=True)
    subprocess.run([NACRE, "spec", "--bundle", bundle], check=True)
    with open(f"{bundle}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    config["ociVersion"] = "1.0.2"  # older releases of runc and crun refuse a newer one
    config["process"]["terminal"] = False
    config["process"]["args"] = list(args)
    for kind in ("bounding", "effective", "permitted"):
        config["process"]["capabilities"][kind] += capabilities
    if netns:
        for namespace in config["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = netns
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
    return bundle
