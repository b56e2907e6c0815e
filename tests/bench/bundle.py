# SPDX-License-Identifier: Apache-2.0
"""Makes a bundle with the busybox root filesystem on tmpfs, for nacre, runc and crun."""

import json
import os
import subprocess
import tempfile

NACRE = os.environ.get("NACRE_BIN", "nacre")
BUSYBOX = os.environ["NACRE_BUSYBOX_ROOTFS"]


def make_bundle(*args, capabilities=()):
    """Makes a bundle and returns its path. Adds `capabilities` to the default ones."""
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
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)
    return bundle
