# SPDX-License-Identifier: Apache-2.0
"""Hooks around real containers: when, where and with what they run, side by side with runc."""

import json
import os
import shutil
import tempfile

from support import NACRE, Bundle, ContainerTest, main, nacre, run, state, wait_until

HOST_KINDS = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


def hook(script, **more):
    return dict({"path": "/bin/sh", "args": ["sh", "-c", script]}, **more)


class Hooks(ContainerTest):
    def setUp(self):
        # Not in a place that is watched for what containers leave behind.
        self.notes = tempfile.mkdtemp(dir="/srv" if os.path.isdir("/srv") else None)
        super().setUp()
        self.addCleanup(shutil.rmtree, self.notes)

    def noting_hooks(self):
        """Each notes the state that it gets: on the host beside each other, in the container on its root."""
        hooks = {kind: [hook(f"cat > {self.notes}/{kind}", env=["PATH=/usr/bin:/bin"])] for kind in HOST_KINDS}
        hooks["startContainer"] = [hook("cat > /startContainer; echo $$ $PPID $(id -u) $(hostname) > /where")]
        return hooks

    def noted(self, bundle):
        notes = {}
        for kind in KINDS:
            path = f"{bundle.path}/rootfs/{kind}" if kind == "startContainer" else f"{self.notes}/{kind}"
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    notes[kind] = json.load(file)
                os.unlink(path)
        return notes

    def bundle_with(self, hooks, *command, change=None):
        def both(config):
            config["hooks"] = hooks
            config["annotations"] = {"a.b": "c"}
            if change:
                change(config)
        return self.bundle(*command, copy=True, change=both)

    def create(self, container, bundle):
        # What it leaves behind must not hold our pipes open.
        done = run("sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", NACRE, "create", "--bundle", bundle.path, container)
        self.assertEqual(done.returncode, 0)

    def test_create_container_hooks_begin_in_the_root_filesystem(self):
        hooks = {"createContainer": [hook("echo it > ./from-hook", env=["PATH=/usr/bin:/bin"])]}
        for program in ("runc", NACRE):
            bundle = self.bundle_with(hooks, "cat", "/from-hook")
            done = run(program, "run", "--bundle", bundle.path, self.container())
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"it\n", b""), program)

    def test_what_hooks_are_told_is_what_runc_tells_them(self):
        container, bundle = self.container(), self.bundle_with(self.noting_hooks(), "cat", "/where")
        theirs = run("runc", "run", "--bundle", bundle.path, container)
        self.assertEqual(theirs.returncode, 0, theirs.stderr)
        their_notes = self.noted(bundle)
        ours = nacre("run", "--bundle", bundle.path, container)
        self.assertEqual((ours.returncode, ours.stderr), (0, b""))
        our_notes = self.noted(bundle)
        self.assertEqual(set(our_notes), set(KINDS))
        self.assertEqual(ours.stdout.split()[1:], theirs.stdout.split()[1:], "parent, user and host name in the guest")
        for kind in KINDS:
            with self.subTest(kind=kind):
                # runc gives the version that it implements.
                self.assertEqual(our_notes[kind].pop("ociVersion"), bundle.config["ociVersion"])
                their_notes[kind].pop("ociVersion")
                # runc runs poststart hooks before the start, against the specification.
                statuses = ("running", "created") if kind == "poststart" else (their_notes[kind]["status"],) * 2
                self.assertEqual((our_notes[kind].pop("status"), their_notes[kind].pop("status")), statuses)
                if kind not in ("startContainer", "poststop"):
                    self.assertGreater(our_notes[kind].pop("pid"), 1)
                    their_notes[kind].pop("pid")
                self.assertEqual(our_notes[kind], their_notes[kind])

    def test_each_at_its_time(self):
        container, bundle = self.container(), self.bundle_with(self.noting_hooks(), "sleep", "1000")
        self.create(container, bundle)
        pid = state(container)["pid"]
        notes = self.noted(bundle)
        self.assertEqual({kind: note["pid"] for kind, note in notes.items()}, {kind: pid for kind in HOST_KINDS[:3]})
        self.assertEqual(nacre("start", container).returncode, 0)
        self.assertEqual(set(self.noted(bundle)), {"startContainer", "poststart"})
        os.unlink(f"{bundle.path}/config.json")
        self.assertEqual(nacre("kill", container, "KILL").returncode, 0)
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")
        self.assertEqual(self.noted(bundle), {})
        self.assertEqual(nacre("delete", container).returncode, 0)
        self.assertEqual(set(self.noted(bundle)), {"poststop"})

    def test_hooks_of_the_host_may_prepare_the_root_filesystem(self):
        bundle = self.bundle_with({}, "sh", "-c", "cat /mnt/file /early")
        with open(f"{bundle.path}/early", "w", encoding="utf-8") as file:
            file.write("early\n")
        rootfs = f"{bundle.path}/rootfs"
        os.makedirs(f"{rootfs}/mnt", exist_ok=True)
        bundle.config["hooks"] = {
            "createRuntime": [hook(f"busybox mount -t tmpfs tmpfs {rootfs}/mnt && echo mounted > {rootfs}/mnt/file"),
                              hook(f"cp {bundle.path}/early {rootfs}/early")],
            "poststop": [hook(f"busybox umount {rootfs}/mnt")]}
        bundle.write()
        done = nacre("run", "--bundle", bundle.path, self.container())
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"mounted\nearly\n", b""))

    def test_a_hook_that_fails_before_the_program_runs(self):
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer"):
            with self.subTest(kind=kind):
                hooks = self.noting_hooks()
                hooks[kind].append(hook("echo no such network >&2; exit 3"))
                bundle = self.bundle_with(hooks, "touch", "/ran")
                done = nacre("run", "--bundle", bundle.path, self.container())
                self.assert_one_line_error(done, f"error running {kind} hook #1: exit status 3", "no such network")
                self.assertFalse(os.path.exists(f"{bundle.path}/rootfs/ran"))
                self.assertIn("poststop", self.noted(bundle))

    def test_start_reports_a_hook_of_the_container_and_it_stops(self):
        hooks = {"startContainer": [hook("sleep 1000", timeout=1)]}
        container, bundle = self.container(), self.bundle_with(hooks, "sleep", "1000")
        self.create(container, bundle)
        self.assert_one_line_error(nacre("start", container), "error running startContainer hook #0", "timeout of 1 s")
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")

    def test_a_poststart_hook_that_fails(self):
        hooks = {"poststart": [hook("exit 3")]}
        with Bundle("sleep", "1000", change=lambda config: config.update(hooks=hooks)) as bundle:
            for program in (NACRE, "runc"):
                with self.subTest(program=program):
                    done = run(program, "run", "--bundle", bundle.path, self.container())
                    self.assertEqual(done.returncode, 1)
                    # runc 1.1 does not name the kind.
                    self.assertRegex(done.stderr, rb"error running (poststart )?hook #0.*: exit status 3")

    def test_a_poststop_hook_that_fails_is_a_warning(self):
        hooks = {"poststop": [hook("exit 4")]}
        with Bundle("echo", "fine", change=lambda config: config.update(hooks=hooks)) as bundle:
            done = nacre("run", "--bundle", bundle.path, self.container())
        self.assertEqual((done.returncode, done.stdout), (0, b"fine\n"))
        (line,) = done.stderr.decode().splitlines()
        self.assertIn("error running poststop hook #0: exit status 4", line)


if __name__ == "__main__":
    main()
