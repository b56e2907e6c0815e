# SPDX-License-Identifier: Apache-2.0
"""Bad input to nacre: one line that names the cause, exit 1, nothing left behind."""

import os
import subprocess

from support import NACRE, ContainerTest, main, nacre, state


class BadInput(ContainerTest):
    def attempt(self, bundle, container="bad", **environment):
        return nacre("run", "--bundle", bundle.path, container, env={**os.environ, **environment})

    def test_no_config(self):
        bundle = self.bundle("true")
        os.unlink(f"{bundle.path}/config.json")
        self.assert_one_line_error(self.attempt(bundle), "config.json", "not found")

    def test_broken_json(self):
        bundle = self.bundle("true")
        with open(f"{bundle.path}/config.json", "w", encoding="utf-8") as file:
            file.write('{"ociVersion": "1.0.2", "process": {')
        self.assert_one_line_error(self.attempt(bundle), "config.json")

    def test_wrong_types_name_the_field(self):
        for path, value in (("process.args", "true"), ("process.cwd", 3), ("root.path", ["x"]),
                            ("process.user.uid", -1), ("mounts", {}), ("hostname", 7)):
            with self.subTest(field=path):
                bundle = self.bundle("true")
                *parents, last = path.split(".")
                place = bundle.config
                for parent in parents:
                    place = place[parent]
                place[last] = value
                bundle.write()
                self.assert_one_line_error(self.attempt(bundle), path)

    def test_missing_rootfs(self):
        bundle = self.bundle("true")
        bundle.config["root"]["path"] = "/nonesuch/rootfs"
        bundle.write()
        self.assert_one_line_error(self.attempt(bundle), "/nonesuch/rootfs")

    def test_kernel_that_is_not_a_kernel(self):
        bundle = self.bundle("true")
        self.assert_one_line_error(self.attempt(bundle, NACRE_KERNEL="/etc/passwd"), "/etc/passwd",
                                   "neither an ELF kernel nor a bzImage")
        self.assert_one_line_error(self.attempt(bundle, NACRE_KERNEL="/nonesuch"), "/nonesuch")

    def test_no_dev_kvm(self):
        os.rename("/dev/kvm", "/dev/kvm.away")
        try:
            self.assert_one_line_error(self.attempt(self.bundle("true")), "no /dev/kvm")
        finally:
            os.rename("/dev/kvm.away", "/dev/kvm")

    def test_not_kvm_at_all(self):
        os.rename("/dev/kvm", "/dev/kvm.away")
        os.symlink("/dev/null", "/dev/kvm")
        try:
            self.assert_one_line_error(self.attempt(self.bundle("true")), "/dev/kvm is not KVM")
        finally:
            os.unlink("/dev/kvm")
            os.rename("/dev/kvm.away", "/dev/kvm")

    def test_no_memory_for_the_guest(self):
        def change(config):
            config["annotations"] = {"nacre.vm.memory": "900G"}
        self.assert_one_line_error(self.attempt(self.bundle("true", change=change)), "no memory for the guest")

    def test_id_in_use(self):
        container, bundle = self.container(), self.bundle("sleep", "1000")
        with open("/dev/null", "r+b") as null:
            subprocess.run([NACRE, "create", "--bundle", bundle.path, container], stdin=null, stdout=null, check=True)
        self.assert_one_line_error(self.attempt(bundle, container), container, "already exists")
        self.assertEqual(state(container)["status"], "created", "the container itself is untouched")

    def test_unknown_id(self):
        for command in (["state"], ["start"], ["kill"], ["delete"], ["exec"]):
            with self.subTest(command=command):
                arguments = [*command, "nonesuch"] + (["true"] if command == ["exec"] else [])
                self.assert_one_line_error(nacre(*arguments), "does not exist", status=255 if command == ["exec"] else 1)

    def test_bad_ids(self):
        bundle = self.bundle("true")
        for container in ("a/b", "..", ".", "", "a b", "x\n"):
            with self.subTest(container=container):
                self.assert_one_line_error(self.attempt(bundle, container), "id")


if __name__ == "__main__":
    main()
