# SPDX-License-Identifier: Apache-2.0
"""The bill of materials of an installation (tools/sbom) is well formed and leaves nothing out.

  sbom_test.py BUILD_DIRECTORY
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
BUILD = os.path.realpath(sys.argv.pop(1))
INSTALLED = {"bin/nacre": "runtime/nacre", "bin/vmm": "vmm/vmm", "lib/nacre/initramfs.cpio": "guest-init/initramfs.cpio"}
# What SPDX 2.3 says that each element has (clauses 6 to 8 and 11).
DOCUMENT = {"spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"}
PACKAGE = {"SPDXID", "name", "downloadLocation", "filesAnalyzed"}
FILE = {"SPDXID", "fileName", "checksums"}
RELATIONSHIP = {"spdxElementId", "relationshipType", "relatedSpdxElement"}


def output(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout


class Materials(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp()
        for path in ("root/bin", "root/lib/nacre", "kernel"):
            os.makedirs(f"{cls.scratch}/{path}")
        for path, target in INSTALLED.items():
            shutil.copy(f"{BUILD}/{target}", f"{cls.scratch}/root/{path}")
        # The kernel takes minutes to build; what counts here is that its files are described.
        config = "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.12.1 Kernel Configuration\n#\n"
        for path, text in (("kernel/config", config), ("root/lib/nacre/vmlinux.config", config),
                           ("root/lib/nacre/vmlinux", "kernel")):
            with open(f"{cls.scratch}/{path}", "w", encoding="utf-8") as file:
                file.write(text)
        cls.text = cls.write()
        cls.document = json.loads(cls.text)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.scratch)

    @classmethod
    def write(cls):
        return output(f"{REPO}/tools/sbom", "--build", BUILD, "--kernel", f"{cls.scratch}/kernel", "--root",
                      f"{cls.scratch}/root")

    def linked(self, name, kind):
        """Returns the names of the packages that a file is linked to."""
        (file,) = [file["SPDXID"] for file in self.document["files"] if file["fileName"] == f"./{name}"]
        names = {package["SPDXID"]: package["name"] for package in self.document["packages"]}
        return {names[entry["relatedSpdxElement"]] for entry in self.document["relationships"]
                if (entry["spdxElementId"], entry["relationshipType"]) == (file, kind)}

    def test_it_has_what_the_standard_asks_for(self):
        document = self.document
        self.assertLessEqual(DOCUMENT, set(document))
        self.assertEqual((document["spdxVersion"], document["SPDXID"]), ("SPDX-2.3", "SPDXRef-DOCUMENT"))
        self.assertRegex(document["creationInfo"]["created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        elements = [document["SPDXID"]]
        for kind, needed in (("packages", PACKAGE), ("files", FILE)):
            for element in document[kind]:
                self.assertLessEqual(needed, set(element))
                self.assertRegex(element["SPDXID"], r"^SPDXRef-[A-Za-z0-9.-]+$")
                elements.append(element["SPDXID"])
        self.assertEqual(len(elements), len(set(elements)))
        for relationship in document["relationships"]:
            self.assertLessEqual(RELATIONSHIP, set(relationship))
            self.assertIn(relationship["spdxElementId"], elements)
            self.assertIn(relationship["relatedSpdxElement"], elements)
        related = {relationship[end] for relationship in document["relationships"] for end in ("spdxElementId",
                                                                                               "relatedSpdxElement")}
        self.assertEqual(set(elements), related, "each element says what it is for")

    def test_each_installed_file_is_there_as_it_is(self):
        found = {file["fileName"]: file["checksums"] for file in self.document["files"]}
        self.assertEqual(set(found), {f"./{path}" for path in (*INSTALLED, "lib/nacre/vmlinux", "lib/nacre/vmlinux.config")})
        for name, checksums in found.items():
            with open(f"{self.scratch}/root/{name}", "rb") as file:
                content = file.read()
            for checksum in checksums:
                self.assertEqual(checksum["checksumValue"],
                                 hashlib.new(checksum["algorithm"].lower(), content).hexdigest(), name)

    def test_a_package_with_files_says_that_it_has_them_all(self):
        """SPDX 2.3, 7.8 and 7.9: the official tool refuses a package that has files and did not look at them."""
        digests = {file["SPDXID"]: checksum["checksumValue"] for file in self.document["files"]
                   for checksum in file["checksums"] if checksum["algorithm"] == "SHA1"}
        contained = {}
        for entry in self.document["relationships"]:
            if entry["relationshipType"] == "CONTAINS" and entry["relatedSpdxElement"] in digests:
                contained.setdefault(entry["spdxElementId"], []).append(digests[entry["relatedSpdxElement"]])
        self.assertEqual(sum(map(len, contained.values())), len(digests), "each file is of one package")
        for package in self.document["packages"]:
            files = contained.get(package["SPDXID"])
            self.assertEqual(package["filesAnalyzed"], files is not None, package["name"])
            code = package.get("packageVerificationCode", {}).get("packageVerificationCodeValue")
            self.assertEqual(code, files and hashlib.sha1("".join(sorted(files)).encode()).hexdigest(), package["name"])

    def test_each_library_of_a_program_is_there(self):
        for path, target in (("bin/nacre", "runtime/nacre"), ("bin/vmm", "vmm/vmm")):
            needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "--dynamic", f"{BUILD}/{target}"))
            self.assertIn("libc.so.6", needed)
            packages = self.linked(path, "DYNAMIC_LINK")
            for library in needed:
                owners = {line.partition(":")[0] for line in output("dpkg-query", "-S", f"*/{library}").splitlines()}
                self.assertTrue(owners & packages, f"{path} needs {library} of {owners}")

    def test_what_is_compiled_in_is_there(self):
        # Libraries that are headers alone, or archives.
        self.assertLessEqual({"nlohmann-json3-dev", "libcli11-dev", "libtomlplusplus-dev", "libstdc++-12-dev"},
                             self.linked("bin/nacre", "STATIC_LINK"))
        self.assertLessEqual({"nlohmann-json3-dev", "libstdc++-12-dev", "libgcc-12-dev", "libc6-dev"},
                             self.linked("lib/nacre/initramfs.cpio", "STATIC_LINK"))
        self.assertNotIn("libboost-test-dev", self.text)  # of the tests

    def test_versions_are_dpkgs(self):
        versions = dict(line.split("\t") for line in output("dpkg-query", "-W", "-f",
                                                             "${Package}\t${Version}\n").splitlines())
        for package in self.document["packages"]:
            if package.get("supplier") == "Organization: Debian" and package["name"] != "linux":
                self.assertEqual(package["versionInfo"], versions[package["name"]])

    def test_the_same_installation_gives_the_same_bytes(self):
        self.assertEqual(self.write(), self.text)


if __name__ == "__main__":
    unittest.main()
