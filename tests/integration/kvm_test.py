# SPDX-License-Identifier: Apache-2.0
"""The kvm suite: hand-made guests of a few instructions, on whatever /dev/kvm the machine has.

They are real ELF kernels to `vmm`, so everything on the way is the real thing, but they execute nothing that a KVM
which only emulates could not.
"""

import os
import struct
import subprocess
import sys
import tempfile
import unittest

from support import VMM, Bundle, nacre

LOAD_ADDRESS = 0x1000000
SKIPPED = 77


def out(port, value):
    """mov dx, port; mov al, value; out dx, al"""
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


POWER_OFF = out(0x600, 0x34)  # SLP_TYP 5, SLP_EN
ACPI_RESET = out(0x602, 1)
KEYBOARD_RESET = out(0x64, 0xfe)
UNDEFINED = b"\x0f\x0b"  # ud2; without an interrupt table that is a triple fault
SPIN = b"\xeb\xfe"


def say(text):
    return b"".join(out(0x3f8, byte) for byte in text)


def elf(code):
    """A kernel: one segment, entered at its start."""
    header = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, LOAD_ADDRESS, 64, 0, 0, 64, 56, 1,
                         0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0x1000, LOAD_ADDRESS, LOAD_ADDRESS, len(code), len(code) + 0x1000, 0x1000)
    return (header + segment).ljust(0x1000, b"\0") + code


class TinyGuest(unittest.TestCase):
    def kernel(self, content):
        file = tempfile.NamedTemporaryFile(suffix=".elf")
        self.addCleanup(file.close)
        file.write(content)
        file.flush()
        return file.name

    def run_guest(self, code, *options, timeout=60):
        return subprocess.run([VMM, "--kernel", self.kernel(elf(code + SPIN)), *options], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)

    def test_power_off_reset_and_triple_fault_are_told_apart(self):
        for name, code, status, text in (("power off", POWER_OFF, 0, b""), ("ACPI reset", ACPI_RESET, 3, b""),
                                         ("keyboard controller reset", KEYBOARD_RESET, 3, b""),
                                         ("triple fault", UNDEFINED, 4, b"triple fault")):
            with self.subTest(end=name):
                done = self.run_guest(code)
                self.assertEqual((done.returncode, done.stdout), (status, b""), done.stderr)
                self.assertIn(text, done.stderr)
                self.assertEqual(done.stderr.count(b"\n"), 1 if text else 0)

    def test_serial_output(self):
        done = self.run_guest(say(b"pearl\n") + POWER_OFF)
        self.assertEqual((done.returncode, done.stdout), (0, b"pearl\n"), done.stderr)

    def test_more_vcpus_wait_for_the_guest(self):
        done = self.run_guest(POWER_OFF, "--cpus", "4")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_spinning_guest_is_ended_by_a_signal(self):
        process = subprocess.Popen([VMM, "--kernel", self.kernel(elf(say(b"x") + SPIN)), "--cpus", "2"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.read(1), b"x")
        process.terminate()
        self.assertEqual(process.wait(timeout=30), 6)

    def test_ports_and_devices_that_are_not_there(self):
        # A byte to each port but those that end the machine: nothing answers, nothing breaks.
        code = b"".join(out(port, 0xff) for port in range(0, 0x600, 7) if not 0x60 <= port <= 0x64)
        done = self.run_guest(code + POWER_OFF, "--no-console")
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)

    def test_garbage_in_every_virtio_register(self):
        # Maps the device window at 1 GiB - 2 MiB (the page directory's last entry), then writes to each register of
        # both devices, four times.
        sweep = b""
        for value in (0xffffffff, 0, 1, 0xffffffff):
            # mov edi, 0x3fe00000; mov ecx, 0x800; mov eax, value; rep of: mov [rdi], eax; add rdi, 4; loop
            sweep += b"\xbf\x00\x00\xe0\x3f\xb9\x00\x08\x00\x00\xb8" + struct.pack("<I", value)
            sweep += b"\x89\x07\x48\x83\xc7\x04\xe2\xf8"
        code = b"\xb8\x83\x00\x00\xd0\x48\x89\x04\x25\xf8\xbf\x00\x00\x0f\x20\xd8\x0f\x22\xd8" + sweep + POWER_OFF
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_guest(code, "--fs", f"tag=t,path={folder}", "--vsock", f"cid=3,uds={folder}/v.sock",
                                  timeout=120)
            self.assertEqual((done.returncode, done.stdout), (0, b""), done.stderr)

    def test_kernels_that_are_none(self):
        good = elf(POWER_OFF)
        for name, content in (("empty", b""), ("zeroes", bytes(8192)), ("cut off", good[:100]),
                              ("segment beyond the file", good[:0x1000]),
                              ("entry outside", good[:24] + struct.pack("<Q", 0x42) + good[32:]),
                              ("wrong machine", good[:18] + b"\x28" + good[19:]),
                              ("segment at the end of the address space",
                               good[:64 + 24] + struct.pack("<Q", (1 << 64) - 4096) + good[64 + 32:])):
            with self.subTest(kernel=name):
                done = subprocess.run([VMM, "--kernel", self.kernel(content)], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout, done.stderr.count(b"\n")), (1, b"", 1), done.stderr)
                self.assertIn(b"kernel ", done.stderr)

    def test_check_answers(self):
        done = subprocess.run([VMM, "check"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
        if done.returncode == 0:
            self.assertEqual(done.stdout, b"this host's KVM can run Linux guests\n")
        else:
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rb"^vmm: this host's KVM cannot run Linux guests: .*\n$")


class NacreHere(unittest.TestCase):
    def test_a_kvm_that_cannot_run_linux_is_said_in_one_line(self):
        if subprocess.run([VMM, "check"], capture_output=True, check=False).returncode == 0:
            self.skipTest("this KVM can run Linux guests")
        if not os.environ.get("NACRE_KERNEL"):
            self.skipTest("no guest kernel: run by tools/test with the lab suite, which builds it")
        with Bundle("true") as bundle:
            done = nacre("run", "--bundle", bundle.path, "kvm-test", timeout=300)
            text = done.stderr.decode()
            self.assertEqual((done.returncode, done.stdout, len(text.splitlines())), (1, b"", 1), text)
            self.assertIn("this host's KVM cannot run Linux guests: ", text)
            self.assertIn("does not exist", nacre("state", "kvm-test").stderr.decode())


def main():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as error:
        print(f"/dev/kvm cannot be used here: {error.strerror}")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
