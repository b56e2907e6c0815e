# SPDX-License-Identifier: Apache-2.0
"""`features` and `spec`."""

import json
import os
import shutil
import subprocess
import tempfile

from support import CommandTest, main


class Features(CommandTest):
    def features(self):
        return json.loads(self.nacre("features").stdout)

    def accepts(self, **changes):
        """Returns the error of create, or None."""
        self.write("true", **changes)
        result = self.nacre("create", "-b", self.bundle, "a", check=False)
        if result.returncode == 0:
            self.nacre("delete", "a")
            return None
        return result.stderr.decode()

    def test_features_have_runcs_shape(self):
        runc = shutil.which("runc")
        if not runc:
            self.skipTest("no runc here to compare with")
        theirs = json.loads(subprocess.run([runc, "features"], stdout=subprocess.PIPE, check=True).stdout)

        def assert_same_shape(ours, theirs, path):
            self.assertIs(type(ours), type(theirs), path)
            if isinstance(theirs, dict) and path != ".annotations":
                self.assertLessEqual(set(theirs), set(ours), path)
                for key, value in theirs.items():
                    assert_same_shape(ours[key], value, f"{path}.{key}")
            elif isinstance(theirs, list):
                self.assertTrue(all(isinstance(element, str) for element in ours), path)
                self.assertEqual(len(set(ours)), len(ours), path)

        ours = self.features()
        assert_same_shape(ours, theirs, "")
        self.assertEqual(ours["hooks"], theirs["hooks"])
        self.assertEqual(ours["linux"]["capabilities"], theirs["linux"]["capabilities"])
        self.assertIn("ro", ours["mountOptions"])
        self.assertIn("rslave", ours["mountOptions"])
        self.assertIn("idmap", ours["mountOptions"])
        self.assertEqual(ours["potentiallyUnsafeConfigAnnotations"], ["nacre.vm.", "org.systemd.property."])

    def test_features_tell_the_truth(self):
        features = self.features()
        for kind in features["hooks"]:
            self.assertIn(f"hooks.{kind}: must be an array", self.accepts(hooks={kind: 1}))
        self.config["hooks"] = {}
        for version in (features["ociVersionMin"], features["ociVersionMax"]):
            self.assertIsNone(self.accepts(ociVersion=version))
        linux = self.config["linux"]
        linux["namespaces"] = [{"type": kind} for kind in features["linux"]["namespaces"]]
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 1}]
        self.assertIsNone(self.accepts())
        self.assertEqual(set(features["linux"]["namespaces"]),
                         {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"})

    def test_seccomp_features_tell_the_truth(self):
        features = self.features()["linux"]["seccomp"]
        rules = [{"names": ["sync"], "action": action} for action in features["actions"]]
        rules += [{"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": op, "value": 1}]}
                  for op in features["operators"]]
        linux = self.config["linux"]
        for rule in rules:
            linux["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [rule],
                                "architectures": features["archs"], "flags": features["supportedFlags"]}
            self.assertIsNone(self.accepts(linux=linux))
        for flag in set(features["knownFlags"]) - set(features["supportedFlags"]):
            linux["seccomp"]["flags"] = [flag]
            self.assertIn("linux.seccomp.flags[0]", self.accepts(linux=linux))
        self.assertNotIn("SCMP_ACT_NOTIFY", features["actions"])

    def test_spec_is_runcs(self):
        runc = shutil.which("runc")
        if not runc:
            self.skipTest("no runc here to compare with")
        for flags in ([], ["--rootless"]):
            there = tempfile.mkdtemp(dir=self.scratch)
            subprocess.run([runc, "spec", "-b", there, *flags], check=True)
            with open(os.path.join(there, "config.json")) as file:
                theirs = json.load(file)
            os.unlink(os.path.join(there, "config.json"))
            self.nacre("spec", "-b", there, *flags)
            with open(os.path.join(there, "config.json")) as file:
                ours = json.load(file)
            del theirs["ociVersion"], ours["ociVersion"]
            self.assertEqual(ours, theirs)


if __name__ == "__main__":
    main()
