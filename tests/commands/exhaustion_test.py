# SPDX-License-Identifier: Apache-2.0
"""A host on which something is used up: one line that says what, and nothing left."""

import re

from support import main
from traced import TracedTest

RUN = ("run", "--bundle")
# Which calls fail if something is used up, and with what. A file system may be full at each of its calls.
USED_UP = {
    "EMFILE": ("too many open files", ["openat", "socket", "socketpair", "pipe2", "pidfd_open", "signalfd4", "open_tree"]),
    "ENOSPC": ("no space left on device", ["openat", "mkdir", "write", "rename", "bind"]),
    "ENOMEM": ("cannot allocate memory", ["clone", "unshare", "mount", "setns", "socketpair"]),
    "EAGAIN": ("resource temporarily unavailable", ["clone"]),
}
LOADED = "error while loading shared libraries"
KIB = 1 << 10
# What nacre and its libraries take, and what the fake VM, an interpreter, takes beyond that.
ADDRESS_SPACE = range(8 << 10, 40 << 10, 512)
MOST_DESCRIPTORS = 40


class Exhaustion(TracedTest):
    def run_with(self, *prefix):
        """Runs a container. Checks that it has run or that one line says why not, and that nothing is left."""
        status = self.run_prefixed(prefix, (*RUN, self.bundle, "a"))
        said = self.said()
        what = " ".join(prefix)
        if LOADED not in said:  # the dynamic loader's failures are its own
            self.assertIn(status, (0, 1), f"{what}: {said}")
            if status == 1:
                # If the first write fails, also that of the error does.
                most = 0 if "inject=write:" in what and "when=1" in what else 1
                self.assertEqual(len(said.splitlines()), most, f"{what}: {said}")
        self.assert_nothing_left(what)
        return status, said

    def test_there_are_few_descriptors(self):
        reasons = set()
        for number in range(4, MOST_DESCRIPTORS):
            status, said = self.run_with("prlimit", f"--nofile={number}:{number}")
            if status:
                reasons.add("too many open files" in said)
        self.assertEqual(reasons, {True})
        self.assertEqual(status, 0)

    def test_there_is_little_memory(self):
        said = ""
        for size in ADDRESS_SPACE:
            said += self.run_with("prlimit", f"--as={size * KIB}:{size * KIB}")[1]
        self.assertIn("out of memory", said)
        self.assertNotIn("bad_alloc", said)

    def test_any_call_fails(self):
        # The children are traced too. vmm is not, because it is not vmm here.
        strace = ["strace", "-f", "--detach-on=execve", "-qq", "-o", self.trace]
        self.run_with(*strace)
        with open(self.trace, encoding="utf-8") as file:
            called = [tuple(re.match(r"(\d+) +(\w*)", line).groups()) for line in file]
        for error, (words, names) in USED_UP.items():
            for name in names:
                most = max(called.count((pid, name)) for pid in {pid for pid, _ in called})
                for count in range(1, most + 1):
                    with self.subTest(error=error, name=name, count=count):
                        status, said = self.run_with(*strace, f"--inject={name}:error={error}:when={count}")
                        if said:
                            self.assertIn(words, said)


if __name__ == "__main__":
    main()
