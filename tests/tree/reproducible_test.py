# SPDX-License-Identifier: Apache-2.0
"""The programs hold nothing of the place where they were built, so that others can build the same ones.

tools/reproduce builds everything twice and compares; this is what every test run can afford.

  reproducible_test.py SOURCE_DIRECTORY BUILD_DIRECTORY PROGRAM...
"""

import os
import sys
import unittest

SOURCE, BUILD = (os.path.realpath(path) for path in sys.argv[1:3])
PROGRAMS = sys.argv[3:]
del sys.argv[1:]


class Reproducible(unittest.TestCase):
    def test_no_path_of_the_build_is_in_a_program(self):
        self.assertTrue(PROGRAMS)
        for program in PROGRAMS:
            with open(program, "rb") as file:
                content = file.read()
            for path in (SOURCE, BUILD, os.path.expanduser("~")):
                if path == "/":  # a home that says nothing
                    continue
                with self.subTest(program=os.path.basename(program), path=path):
                    at = content.find(path.encode() + b"/")
                    self.assertEqual(at, -1, content[max(at - 40, 0):at + 120])


if __name__ == "__main__":
    unittest.main()
