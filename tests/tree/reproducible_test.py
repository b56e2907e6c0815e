# SPDX-License-Identifier: Apache-2.0
"""The programs hold nothing of the place where they were built, so that others can build the same ones.

tools/reproduce builds everything twice and compares; this is what every test run can afford.

  reproducible_test.py SOURCE_DIRECTORY BUILD_DIRECTORY PROGRAM...
"""

import configparser
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = (os.path.realpath(path) for path in sys.argv[1:3])
PROGRAMS = sys.argv[3:]
del sys.argv[1:]
# A part of nacre that is compiled with the compiled header of precompiled/.
PART = "runtime/libruntime-vm.a.p"


def output(*argv, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv[:4])}: {done.stdout[-2000:]}")
    return done.stdout


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

    def test_no_build_id_is_in_a_program(self):
        """It would be a digest of the debug information, too, which is not the same in two builds."""
        for program in PROGRAMS:
            if not program.endswith(".cpio"):
                self.assertNotIn("NT_GNU_BUILD_ID", output("readelf", "--notes", program), program)

    def test_code_is_the_same_from_another_directory(self):
        """With another compiled header, and without what a compiler's cache has."""
        options = configparser.ConfigParser()
        options.read(f"{BUILD}/meson-private/cmd_line.txt")
        with tempfile.TemporaryDirectory() as scratch:
            source = f"{scratch}/another/and/deeper"
            shutil.copytree(SOURCE, source, symlinks=True, ignore=shutil.ignore_patterns(".git", "build*"))
            again = f"{source}/build"
            output("meson", "setup", again, source, *(f"-D{name}={value}" for name, value in options["options"].items()))
            objects = [os.path.relpath(path, BUILD) for path in glob.glob(f"{BUILD}/{PART}/*.o")]
            self.assertTrue(objects)
            output("ninja", "-C", again, *objects, env={**os.environ, "CCACHE_RECACHE": "1"})
            for name in objects:
                code = []
                for build in (BUILD, again):
                    output("objcopy", "--strip-debug", f"{build}/{name}", f"{scratch}/code")
                    with open(f"{scratch}/code", "rb") as file:
                        code.append(file.read())
                self.assertTrue(code[0] == code[1], f"{name} is not compiled alike twice")


if __name__ == "__main__":
    unittest.main()
