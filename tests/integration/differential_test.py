# SPDX-License-Identifier: Apache-2.0
"""The same bundles under runc and under nacre: what the process sees, and what the caller sees.

By hand, in the lab: differential_test.py [--seed N] [--bundles N] [TEST...]
Random bundles are numbered by their seed: a difference names it, and the field whose variation makes it.
"""

import argparse
import copy
import json
import os
import resource
import subprocess
import sys

import variations
from differential import Bundle, differences, explain, run_both
from support import NACRE, ContainerTest, main, run

ARGUMENTS = argparse.Namespace(seed=1, bundles=16)


def template():
    """What `spec` writes, for one process without a terminal and with all rights of docker's."""
    config = json.loads(run("sh", "-c", "cd $(mktemp -d) && $0 spec && cat config.json && rm -r $PWD", NACRE).stdout)
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/probe"]
    config["root"]["readonly"] = False
    config["hostname"] = "differential"
    return config


class Differential(ContainerTest):
    @classmethod
    def setUpClass(cls):
        cls.template = template()
        os.makedirs("/run/mount", exist_ok=True)  # mount(8) leaves it
        # Go 1.19 raises the soft limit to the hard one, for what it starts as well.
        resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))

    def compare(self, config, what, **options):
        outcomes, found = run_both(config, **options)
        if found:
            words = "".join(f"\n{o.runtime} ({o.status}): {o.errors.strip()[-600:]}" for o in outcomes)
            self.fail(f"{what}:\n{explain(found)}{words}")
        return outcomes

    def change(self, **fields):
        """The template with other fields: "process.cwd" is written process__cwd."""
        config = copy.deepcopy(self.template)
        for name, value in fields.items():
            *parents, last = name.split("__")
            place = config
            for parent in parents:
                place = place.setdefault(parent, {})
            if value is None:
                place.pop(last, None)
            else:
                place[last] = value
        return config

    def with_mount(self, destination, kind, source, *options):
        config = copy.deepcopy(self.template)
        config["mounts"].append({"destination": destination, "type": kind, "source": source, "options": list(options)})
        return config

    # --- what many fields at once do

    def test_random_bundles(self):
        for seed in range(ARGUMENTS.seed, ARGUMENTS.seed + ARGUMENTS.bundles):
            with self.subTest(seed=seed):
                names = variations.choose(seed)
                _, found = run_both(variations.vary(self.template, seed, names))
                if found:
                    print(f"\nseed {seed}: {', '.join(names)}\n{explain(found)}", file=sys.stderr, flush=True)
                    self.fail(f"seed {seed}:\n{explain(found)}\n{self.blame(seed, names)}")

    def blame(self, seed, names):
        """Runs each variation alone, and returns those that make a difference."""
        lines = []
        for name in names:
            config = variations.vary(self.template, seed, [name])
            outcomes, alone = run_both(config)
            if alone:
                lines.append(f"because of {name}: {[path for path, _, _ in alone]}")
                lines.append(f"    {what_changed(self.template, config)}")
                lines += [f"    {o.runtime} ({o.status}): {o.errors.strip()[-300:]}" for o in outcomes if o.status]
        return "\n".join(lines) or f"only together: {', '.join(names)}"

    # --- fields that exclude each other, or the process itself

    def test_bundles(self):
        plain = ["/bin/probe"]
        for what, config in {
            "program in PATH": self.change(process__args=["probe", "a"], process__env=["PATH=/nonesuch:/bin"]),
            "relative program": self.change(process__args=["./probe"], process__cwd="/bin"),
            "relative program with a directory": self.change(process__args=["bin/probe", "stat:/tmp"]),
            "no user, environment, capabilities and limits": self.change(
                process={"args": plain, "cwd": "/"}, hostname=None),
            "no mounts but /proc and /dev": self.change(mounts=self.template["mounts"][:2]),
            "no working directory in a read-only root": self.change(
                process__args=[*plain, "stat:/made/deep", "write:/"], process__cwd="/made/deep", root__readonly=True),
            "closed working directory": self.change(
                process__cwd="/private", process__capabilities={}, process__user={"uid": 1000, "gid": 1000}),
            "masked and read-only": self.change(
                process__args=[*plain, "tree:/hidden", "write:/kept/below", "write:/kept"], root__readonly=True,
                linux__maskedPaths=["/hidden", "/file"], linux__readonlyPaths=["/kept", "/file"]),
            "tmpfs over the root's directories": self.with_mount("/full", "tmpfs", "tmpfs", "tmpcopyup", "ro"),
            "nulls": self.change(process__rlimits=None, linux__seccomp=None, linux__devices=None, mounts=[
                dict(mount, options=mount.get("options")) for mount in self.template["mounts"]]),
        }.items():
            with self.subTest(what):
                self.compare(config, what)

    def test_mounts_below_a_source(self):
        def prepare(path):
            os.mkdir(f"{path}/data/dir/below")
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", f"{path}/data/dir/below"], check=True)
            os.mkdir(f"{path}/data/dir/below/seen")
        for kind in ("bind", "rbind"):
            for attributes in ([], ["rro"]):
                with self.subTest(kind=kind, attributes=attributes):
                    config = self.with_mount("/data", "bind", "BUNDLE/data/dir", kind, *attributes)
                    config["process"]["args"] += ["list:/data/below", "write:/data/below", "write:/data"]
                    self.compare(config, kind, prepare=prepare)

    def test_exit_codes_and_streams(self):
        for what, script in {"status": "exit 42", "signal": "kill -9 $$", "outputs": "echo out; echo err >&2; exit 3",
                             "stdin": "cat; echo end", "descriptors": "ls /proc/self/fd"}.items():
            with self.subTest(what):
                outcomes = self.compare(self.change(process__args=["/bin/sh", "-c", script]), what)
                self.assertEqual(outcomes[0].errors, outcomes[1].errors)

    # --- errors

    def test_errors(self):
        """Both fail with the same code, and with the words that callers look for."""
        def program(*args, **more):
            return self.change(process__args=list(args), **more)
        no_file = "no such file or directory"
        for what, (config, *words) in {
            "program not in PATH": (program("nonesuch"), 'exec: ', "executable file not found in $PATH"),
            "no PATH": (program("sh", process__env=[]), "executable file not found in $PATH"),
            "no program": (program("/nonesuch"), "stat /nonesuch: " + no_file),
            "not executable": (program("/not-executable"), "/not-executable", "permission denied"),
            "a directory": (program("/full"), "/full", "permission denied"),
            "below a file": (program("/file/below"), "not a directory"),
            "closed to the user": (program("/private/program", process__user={"uid": 1000, "gid": 1000}),
                                   "permission denied"),
            "no interpreter": (program("/bad-interpreter"), "exec ", "/bad-interpreter", no_file),
            "no format": (program("/no-format"), "exec format error"),
            "cwd is a file": (program("/bin/true", process__cwd="/file"), "not a directory"),
            "cwd is a loop": (program("/bin/true", process__cwd="/loop"),),
            "no source": (self.with_mount("/x", "bind", "/nonesuch", "bind"), "/nonesuch", no_file),
            "unknown file system": (self.with_mount("/x", "nonesuchfs", "none"), "no such device"),
            "unknown option": (self.with_mount("/x", "tmpfs", "tmpfs", "nonsense=1"), "invalid argument"),
            "bad value of an option": (self.with_mount("/x", "tmpfs", "tmpfs", "size=many"), "invalid argument"),
            "a directory over a file": (self.with_mount("/file", "bind", "data/dir", "bind"), "not a directory"),
            "proc over a link": (self.with_mount("/link", "proc", "proc"), "must be mounted on ordinary directory"),
            "sysfs over a link": (self.with_mount("/dangling", "sysfs", "sysfs"),
                                  "must be mounted on ordinary directory"),
            "inside /proc": (self.with_mount("/proc/version", "bind", "data/file", "bind"),
                             "cannot be mounted because it is inside /proc"),
            "sysctl with a field of its own": (self.change(linux__sysctl={"kernel.hostname": "x"}), "kernel.hostname"),
            "unknown sysctl": (self.change(linux__sysctl={"net.nonesuch": "1"}), no_file),
            "bad value of a sysctl": (self.change(linux__sysctl={"kernel.msgmax": "many"}), "invalid argument"),
            "capability that is not permitted": (self.change(process__capabilities={"effective": ["CAP_KILL"]}),
                                                 "operation not permitted"),
        }.items():
            with self.subTest(what):
                for outcome in self.compare(config, what):
                    for word in words:
                        self.assertIn(word, outcome.errors.replace('\\"', '"'), outcome.runtime)

    def test_both_refuse(self):
        """Bad configurations; the words are each runtime's own, and nacre's name the field."""
        for field, config in {
            "process.args": self.change(process__args=[]),
            "process.cwd": self.change(process__cwd="bin"),
            "process": self.change(process=None),
            "root.path": self.change(root__path="nonesuch"),
            "hostname": self.change(linux__namespaces=[{"type": "mount"}, {"type": "pid"}, {"type": "network"}]),
            "linux.namespaces": self.change(linux__namespaces=[*self.template["linux"]["namespaces"], {"type": "pid"}]),
            "process.env": self.change(process__env=["NAME"]),
            "process.rlimits[0].type": self.change(process__rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
            "process.user.uid": self.change(process__user={"uid": -1, "gid": 0}),
            "process.user.gid": self.change(process__user={"uid": 0, "gid": 1.5}),
            "mounts": self.change(mounts={}),
            "mounts[0].options": self.change(mounts=[{"destination": "/proc", "type": "proc", "options": "ro"}]),
            "linux.maskedPaths": self.change(linux__maskedPaths=[1]),
            "linux.devices": self.change(linux__devices=[{"path": "/dev/x", "type": "x", "major": 1, "minor": 3}]),
            "annotations.a": self.change(annotations={"a": 1}),
            "config.json": '{"ociVersion": "1.0.2", "process": {',
        }.items():
            with self.subTest(field):
                outcomes = self.compare(config, field)
                self.assertEqual(outcomes[0].status, 1, outcomes[0].errors)
                self.assertIn(field, outcomes[1].errors)
                self.assertEqual(len(outcomes[1].errors.splitlines()), 1)

    # --- a container that runs

    def test_exec_and_state(self):
        config = self.change(process__args=["/bin/sleep", "1000"], process__env=["PATH=/bin", "A=1"],
                             process__cwd="/tmp", annotations={"a": "b"}, process__user={"uid": 0, "gid": 7})
        bundles = [Bundle(runtime, config) for runtime in ("runc", "nacre")]
        process = {"args": ["/bin/probe"], "cwd": "/full", "user": {"uid": 5, "gid": 6, "additionalGids": [8]},
                   "env": ["X=y"], "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
                   "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}], "noNewPrivileges": False}
        for bundle in bundles:
            self.addCleanup(bundle.remove)
            name = os.path.basename(bundle.path)
            self.addCleanup(bundle.command, "delete", "--force", name)
            with open(f"{bundle.path}/process.json", "w", encoding="utf-8") as file:
                json.dump(process, file)
            started = bundle.command("run", "--detach", "--bundle", bundle.path, name)
            self.assertEqual(started.status, 0, started.errors)
        self.compare_states(bundles)
        for flags in ([], ["--user", "1000"], ["--user", "1000:77", "--cwd", "/full"], ["--env", "A=2", "--env", "B="],
                      ["--cap", "CAP_NET_RAW", "--cap", "CAP_CHOWN"], ["-g", "5", "-g", "9"],
                      ["--no-new-privs"], ["--user", "1000", "--cap", "CAP_KILL", "--env", "HOME="],
                      ["--process", "process.json"]):
            with self.subTest(flags=flags):
                self.compare_execs(bundles, flags, ["/bin/probe", "write:/tmp", "read:/full/one"])
        for args, *words in ((["nonesuch"], "executable file not found in $PATH"), (["/full"], "permission denied"),
                             (["/nonesuch"], "no such file or directory"),
                             (["sh", "-c", "exit 9"],), (["sh", "-c", "kill -9 $$"],),
                             (["sh", "-c", "echo a; echo b >&2"],)):
            with self.subTest(args=args):
                for outcome in self.compare_execs(bundles, [], args):
                    for word in words:
                        self.assertIn(word, outcome.errors)
        with self.subTest("no directory"):
            for outcome in self.compare_execs(bundles, ["--cwd", "/nonesuch"], ["true"]):
                self.assertIn("set in config.json failed: no such file or directory", outcome.errors)
        with self.subTest("no number"):
            self.compare_execs(bundles, ["--user", "root"], ["true"])

    def compare_execs(self, bundles, flags, args):
        outcomes = [bundle.command("exec", *flags, os.path.basename(bundle.path), *args) for bundle in bundles]
        seen = [outcome.observed() for outcome in outcomes]
        for side in seen:
            for name in ("pid", "session", "group"):  # runc needs some processes more until it is there
                side.get("report", {}).get("process", {}).pop(name, None)
        found = differences(*seen)
        self.assertFalse(found, f"{explain(found)}\n{outcomes[0].errors}\n{outcomes[1].errors}")
        return outcomes

    def compare_states(self, bundles):
        states = []
        for bundle in bundles:
            state = json.loads(bundle.command("state", os.path.basename(bundle.path)).output)
            # The values differ, but they must exist.
            for name in ("created", "pid"):
                state[name] = bool(state[name])
            states.append(state)
        found = differences(*states)
        self.assertFalse(found, explain(found))


def what_changed(before, after):
    changes = [(path, value) for path, _, value in differences(before, after) if not path.startswith("process.args")]
    return json.dumps(changes)[:2000]


def take_arguments():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seed", type=int, default=ARGUMENTS.seed)
    parser.add_argument("--bundles", type=int, default=ARGUMENTS.bundles)
    _, rest = parser.parse_known_args(namespace=ARGUMENTS)
    sys.argv[1:] = rest


if __name__ == "__main__":
    take_arguments()
    main()
