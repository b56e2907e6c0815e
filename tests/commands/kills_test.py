# SPDX-License-Identifier: Apache-2.0
"""A command that is killed at any of its system calls: the next `delete --force` leaves nothing.

strace kills the command. The suite tries some of the calls; NACRE_EVERY_CALL=1 in the environment tries all.
"""

import os
import signal

from support import main
from traced import TracedTest

SAMPLES = 40  # of each command's system calls
FIRST = 60  # calls before main(): they belong to the dynamic loader and to libraries


class Kills(TracedTest):
    def setUp(self):
        super().setUp()
        self.write("sleep", "60")

    def steps_of(self, command):
        """Runs a command, and returns some of its system calls: each as its name and how often it has come by then."""
        self.assertEqual(self.run_traced(command), 0)
        steps = self.traced_calls()[FIRST:]
        return steps if os.environ.get("NACRE_EVERY_CALL") else steps[::max(1, len(steps) // SAMPLES)]

    def kill_at_each(self, prepare, command):
        prepare()
        steps = self.steps_of(command)
        self.nacre("delete", "--force", "a")
        self.assert_nothing_left("no call")
        killed = 0
        for name, count in steps:
            prepare()
            status = self.run_traced(command, f"--inject={name}:signal=KILL:when={count}")
            self.assertIn(status, (0, -signal.SIGKILL), f"{name} {count}")
            killed += status != 0
            self.nacre("delete", "--force", "a")
            self.assert_nothing_left(f"{name} {count}")
        # The calls of one run are not quite those of another.
        self.assertGreater(killed, len(steps) * 3 // 4)

    def test_create(self):
        self.kill_at_each(lambda: None, ("create", "--bundle", self.bundle, "a"))

    def test_run(self):
        self.kill_at_each(lambda: None, ("run", "--detach", "--bundle", self.bundle, "a"))

    def test_start(self):
        self.kill_at_each(lambda: self.create("a"), ("start", "a"))

    def test_delete(self):
        self.kill_at_each(lambda: self.create("a"), ("delete", "a"))

    def test_delete_of_a_running_container(self):
        self.kill_at_each(lambda: self.nacre("run", "--detach", "--bundle", self.bundle, "a"), ("delete", "--force", "a"))


if __name__ == "__main__":
    main()
