# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: the build refuses every include that the rules do not allow.

Each part of the tree is tried with the flags of one of its own sources: a file that includes a header of a part which is
not allowed does not compile, and a file that includes one of each allowed part does.

  includes_test.py BUILD_DIRECTORY
"""

import glob
import json
import os
import re
import shlex
import subprocess
import sys
import unittest

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
BUILD = sys.argv.pop(1)


def rooms(folder, names, needed):
    """Rooms of one folder: each may include those before it, and what the folder needs."""
    paths = [f"{folder}/{name}" for name in names]
    return {path: needed + paths[:place] for place, path in enumerate(paths)}


VMM_ROOMS = {
    "kvm": [], "boot": [], "arch": ["kvm", "boot"], "selftest": ["arch", "kvm", "boot"], "host": ["kvm"],
    "jail": ["host", "kvm"], "control": [], "machine": ["arch", "kvm", "boot", "control", "host"],
}
# Headers that the build makes, in a directory of its own.
GENERATED = ["standin_filters.h", "version.h", "vmm_filters.h"]
GUEST_ROOMS = ["kernel", "spec", "child", "link", "network", "containers"]

# Each part, and the parts whose headers it may include beside its own. The same arrows are in ARCHITECTURE.md.
RULES = {
    "base": [],
    "devices": ["base"],
    "vmm/api": ["base"],
    **{f"vmm/{room}": ["base", "devices", "vmm/api", *(f"vmm/{other}" for other in others)]
       for room, others in VMM_ROOMS.items()},
    "vmm": ["base", "devices", "vmm/api", *(f"vmm/{room}" for room in VMM_ROOMS)],
    "oci": ["base"],
    "guest-init/protocol": ["base", "oci"],
    **rooms("runtime", ["state", "host", "config", "guest", "vm", "plan", "network", "container", "cmd"],
            ["base", "oci", "guest-init/protocol", "vmm/api"]),
    **rooms("guest-init", GUEST_ROOMS, ["base", "oci", "guest-init/protocol"]),
    "guest-init": ["base", "oci", "guest-init/protocol", *(f"guest-init/{room}" for room in GUEST_ROOMS)],
}


def part_of(path):
    """Returns the part that a source or a header belongs to: of the folders that have it, the innermost."""
    return max((part for part in RULES if path.startswith(part + "/")), key=len, default=None)


def headers():
    """Returns one header of each part."""
    found = {}
    for path in sorted(glob.glob("**/*.h", root_dir=REPO, recursive=True)):
        part = part_of(path)
        # Those of tests belong to no part's interface.
        if part and not re.search(r"(?<!self)test|fixture|fake|guest\.h$", path):
            found.setdefault(part, path)
    return found


def flags():
    """Returns the preprocessor's flags of one source of each part, as its own target compiles it."""
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    found = {}
    for command in commands:
        path = os.path.join(command["directory"], command["file"])
        if re.search(r"-unity[0-9]+\.cpp$", path):  # a unity build's file, which includes sources of one target
            with open(path, encoding="utf-8") as unity:
                path = re.match(r"#include<(.*)>", unity.readline())[1]
        path = os.path.relpath(path, REPO)
        part = part_of(path)
        output = command["output"]
        # Not the tests, which may include what they test, and not the program that is compiled from many parts.
        if part and part not in found and "/lib" in output and ".a.p/" in output:
            found[part] = [word for word in shlex.split(command["command"]) if re.match(r"-(I|std=|D)", word)]
    return found


class Includes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.headers, cls.flags = headers(), flags()

    def compiles(self, part, header):
        """Says whether a source of `part` may include `header`, and if not, that the compiler misses the file."""
        done = subprocess.run(["g++", *self.flags[part], "-x", "c++", "-E", "-o", "/dev/null", "-"], cwd=BUILD,
                              input=f'#include "{header}"\n', stderr=subprocess.PIPE, text=True)
        if done.returncode:
            self.assertIn(f"fatal error: {header}: No such file", done.stderr)
        return done.returncode == 0

    def test_each_part_has_a_rule_a_header_and_a_source(self):
        roots = os.path.join(BUILD, "include-roots")
        parts = {os.path.relpath(link, os.path.join(roots, root)) for root in os.listdir(roots)
                 for link in glob.glob(f"{roots}/{root}/**", recursive=True) if os.path.islink(link)}
        self.assertEqual(set(RULES), parts - {"tests"})
        self.assertEqual(set(RULES), set(self.headers))
        self.assertEqual(set(RULES), set(self.flags))

    def test_the_compiler_refuses_what_no_rule_allows(self):
        for part, allowed in RULES.items():
            for other, header in self.headers.items():
                if other == part:
                    continue
                with self.subTest(part=part, includes=header):
                    self.assertEqual(other in allowed, self.compiles(part, header))

    def test_a_part_may_include_its_own_headers(self):
        for part, header in self.headers.items():
            with self.subTest(part=part):
                self.assertTrue(self.compiles(part, header))

    def test_every_include_has_its_whole_path(self):
        # A path from the file's own folder would be found whatever the rules say.
        wrong = []
        for pattern in ("**/*.cc", "**/*.h"):
            for path in glob.glob(pattern, root_dir=REPO, recursive=True):
                if path.startswith("build") or path.startswith("tools/"):
                    continue
                with open(os.path.join(REPO, path), encoding="utf-8") as file:
                    for included in re.findall(r'^#include "([^"]+)"', file.read(), re.M):
                        if included not in GENERATED and not os.path.exists(os.path.join(REPO, included)):
                            wrong.append(f"{path}: {included}")
        self.assertEqual([], wrong)


if __name__ == "__main__":
    unittest.main()
