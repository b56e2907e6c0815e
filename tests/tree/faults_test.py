# SPDX-License-Identifier: Apache-2.0
"""Each test that docs/faults.md names exists."""

import glob
import os
import re
import unittest

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
TEST = re.compile(r"`([\w/-]+): (\w+)`")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def defines(file, name):
    """Returns whether the test file has the test."""
    if file.startswith("lab/"):
        return f"    def {name}(" in read(f"{REPO}/tests/integration/{file[4:].replace('-', '_')}_test.py")
    if name.startswith("test_"):
        return f"    def {name}(" in read(f"{REPO}/tests/commands/{file}_test.py")
    (path,) = [path for top in ("base", "devices", "vmm", "runtime", "guest-init")
               for path in glob.glob(f"{REPO}/{top}/**/{file}_test.cc", recursive=True)]
    return f"TEST_CASE({name})" in read(path)


class Faults(unittest.TestCase):
    def test_the_tests_that_the_page_names_exist(self):
        named = [found for found in TEST.findall(read(f"{REPO}/docs/faults.md")) if found[1] != "NAME"]
        self.assertGreater(len(named), 30)
        self.assertEqual([], [f"{file}: {name}" for file, name in named if not defines(file, name)])


if __name__ == "__main__":
    unittest.main()
