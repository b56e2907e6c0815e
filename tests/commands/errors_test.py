# SPDX-License-Identifier: Apache-2.0
"""Bad input, and the errors that report it."""

import json
import os

from support import CommandTest, main


COMMANDS = ["checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps", "restore",
            "resume", "run", "spec", "start", "state", "update"]


class Help(CommandTest):
    def test_help_has_the_form_of_runcs(self):
        for name in ("nacre", *(f"nacre {command}" for command in COMMANDS)):
            for flag in ("-h", "--help"):
                with self.subTest(name=name, flag=flag):
                    lines = self.nacre(*name.split()[1:], flag).stdout.decode().splitlines()
                    self.assertEqual(lines[0], "NAME:")
                    self.assertTrue(lines[1].startswith(f"   {name} - "), lines[1])
                    self.assertTrue(lines[4].startswith(f"   {name} "), lines[4])

    def test_an_unknown_command(self):
        for words in (["foo"], ["foo", "-h"], ["foo", "--bar", "baz"]):
            result = self.nacre(*words, check=False)
            self.assertEqual((result.returncode, result.stdout), (3, b""))
            self.assertIn(b"No help topic for 'foo'", result.stderr)


class Errors(CommandTest):
    def test_errors_are_one_line_each(self):
        cases = [("a", {"ociVersion": None}, b"ociVersion: is required"),
                 ("a", {"ociVersion": "2.0.0"}, b"ociVersion: version 2.0.0 is not supported"),
                 ("a", {"root": {"path": "nowhere"}}, b"root.path: invalid rootfs"),
                 ("a", {"mounts": [{"destination": 7}]}, b"mounts[0].destination: must be a string"),
                 ("a/b", {}, b'invalid container ID format: "a/b"'),
                 ("..", {}, b'invalid container ID format: ".."'),
                 ("a", {"hooks": {"prestart": [{"path": "true"}]}}, b"hooks.prestart[0].path: must be an absolute")]
        good = dict(self.config)
        for name, change, text in cases:
            self.config = dict(good)
            self.write(**change)
            result = self.nacre("create", "-b", self.bundle, name, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertIn(text.replace(b'"', b'\\"'), result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1)
        for text in ("{", "[]", '"', "[" * 100000, ""):
            with open(os.path.join(self.bundle, "config.json"), "w") as file:
                file.write(text)
            result = self.nacre("create", "-b", self.bundle, "a", check=False)
            self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1))
            self.assertIn(b"config.json", result.stderr)
        os.unlink(os.path.join(self.bundle, "config.json"))
        result = self.nacre("create", "-b", self.bundle, "a", check=False)
        self.assertIn(b"JSON specification file config.json not found", result.stderr)

    def test_json_log_of_a_failure_is_one_object(self):
        log = os.path.join(self.scratch, "log")
        self.config["linux"]["netDevices"] = {"eth0": {}}
        self.write("missing")
        result = self.nacre("--log", log, "--log-format", "json", "create", "-b", self.bundle, "a", check=False)
        self.assertIn(b"executable file not found", result.stderr)
        with open(log) as file:
            line = json.load(file)
        self.assertEqual(line["level"], "error")
        os.unlink(log)
        self.write("true")
        self.nacre("--log", log, "--log-format", "json", "create", "-b", self.bundle, "a")
        with open(log) as file:
            lines = [json.loads(line) for line in file]
        self.assertIn("linux.netDevices: not applied by this version", [line["msg"] for line in lines])

    def test_an_apparmor_profile_that_cannot_be_applied(self):
        """Whether this machine has AppArmor or not."""
        self.config["process"]["apparmorProfile"] = "nacre-missing"
        self.write("true")
        result = self.nacre("create", "-b", self.bundle, "a", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"apparmor failed to apply profile nacre-missing: ", result.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.root, "a")))


if __name__ == "__main__":
    main()
