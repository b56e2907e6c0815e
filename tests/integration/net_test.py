# SPDX-License-Identifier: Apache-2.0
"""Network devices of `vmm`: a guest and a network namespace of the host that talk through a tap."""

import concurrent.futures
import ctypes
import fcntl
import hashlib
import json
import os
import random
import re
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

from support import KERNEL, PATIENCE, VMM, main
from vmm_test import Console, make_initramfs

MIB = 1 << 20
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 2, 0x1000, 0x4000

# Waits until the link is up and prints what the tests look at. The shell that follows does what they type.
SCRIPT = r"""/bin/busybox --install -s /bin
mkdir -p /sys /tmp
mount -t sysfs sys /sys
for link in /sys/class/net/eth*; do
    [ -e $link ] || continue
    echo "link ${link##*/} $(cat $link/address) features $(cat $link/device/features)"
done
exec /bin/busybox sh -i
"""

HOST, GUEST = "10.83.0.1", "10.83.0.2"
# Feature bits of virtio-net (virtio 1.3, 5.1.3): CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF.
OFFLOADS = (0, 1, 7, 11, 15)


class Network:
    """A network namespace that lives as long as a thread. What the thread starts and opens belongs to it."""

    def __init__(self, test):
        def enter():
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "unshare")
        self.thread = concurrent.futures.ThreadPoolExecutor(max_workers=1, initializer=enter)
        test.addCleanup(self.thread.shutdown)

    def do(self, function, *args, **kwargs):
        return self.thread.submit(function, *args, **kwargs).result(PATIENCE)

    def ip(self, *args):
        return self.do(subprocess.run, ["ip", *args], check=True, capture_output=True, timeout=PATIENCE).stdout

    def add_tap(self, name, address=HOST):
        self.ip("tuntap", "add", "dev", name, "mode", "tap")
        self.ip("address", "add", address + "/24", "dev", name)
        self.ip("link", "set", name, "up")

    def counters(self, name):
        """Returns the bytes and packets that the host has received and sent."""
        (link,) = json.loads(self.ip("-s", "-j", "link", "show", name))
        stats = link["stats64"]
        return {way: (stats[way]["bytes"], stats[way]["packets"]) for way in ("rx", "tx")}


class NetTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.network = Network(self)
        self.asked = 0

    def boot(self, *options, script=SCRIPT, pass_fds=()):
        initramfs = make_initramfs(self.folder, script)
        argv = [VMM, "--kernel", KERNEL, "--initrd", initramfs, "--cmdline", "console=ttyS0 panic=-1 quiet", *options]
        console = self.network.do(Console, *argv, pass_fds=pass_fds)
        self.addCleanup(console.process.kill)
        console.expect(b"# ")
        return console

    def links(self, console):
        """Returns address and accepted features of each link of the guest."""
        found = re.findall(rb"link (eth\d+) ([0-9a-f:]+) features ([01]+)", console.output)
        return {name.decode(): (address.decode(), features.decode()) for name, address, features in found}

    def ask(self, console, command):
        """Returns the last word that a command in the guest prints."""
        self.asked += 1
        mark = b"answer-%d-" % self.asked
        console.type(b"echo " + mark + b"$(" + command.encode() + b")-")
        pattern = re.compile(mark + rb"([^$-]*)-")
        while not (found := pattern.search(console.output)):
            size = len(console.output)
            console.output += os.read(console.process.stdout.fileno(), 4096)
            self.assertGreater(len(console.output), size, console.output.decode(errors="replace"))
        return found[1].decode().strip()

    def configure(self, console, link="eth0", address=GUEST):
        self.assertEqual(self.ask(console, f"ip address add {address}/24 dev {link} && ip link set {link} up && echo set"),
                         "set")

    def ping(self, console):
        self.assertEqual(self.ask(console, f"ping -c 3 -W 60 {HOST} >/dev/null && echo yes || echo no"), "yes")

    def transfer_to_host(self, console, size):
        with self.network.do(socket.create_server, (HOST, 0)) as server:
            received = hashlib.sha256()

            def receive():
                connection, _ = server.accept()
                with connection:
                    while data := connection.recv(MIB):
                        received.update(data)
            thread = threading.Thread(target=receive, daemon=True)
            thread.start()
            port = server.getsockname()[1]
            made = f"dd if=/dev/urandom of=/tmp/out bs=65536 count={size >> 16} 2>/dev/null"
            self.assertEqual(self.ask(console, f"{made}; nc {HOST} {port} </tmp/out; echo sent"), "sent")
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
        self.assertEqual(self.ask(console, "sha256sum /tmp/out | cut -c1-64"), received.hexdigest())

    def transfer_to_guest(self, console, size):
        content = random.Random(size).randbytes(size)
        with self.network.do(socket.create_server, (HOST, 0)) as server:
            def send():
                connection, _ = server.accept()
                with connection:
                    connection.sendall(content)
            thread = threading.Thread(target=send, daemon=True)
            thread.start()
            port = server.getsockname()[1]
            found = self.ask(console, f"nc {HOST} {port} </dev/null | sha256sum | cut -c1-64")
            thread.join(PATIENCE)
        self.assertEqual(found, hashlib.sha256(content).hexdigest())

    def check_traffic(self, console, size=MIB):
        self.ping(console)
        self.transfer_to_host(console, size)
        self.transfer_to_guest(console, size)

    def power_off(self, console):
        console.type(b"poweroff -f")
        self.assertEqual(console.end(), 0, console.output)


class Traffic(NetTest):
    def test_ping_and_transfers_both_ways_with_offloads(self):
        self.network.add_tap("t0")
        console = self.boot("--net", "tap=t0,mac=02:00:00:00:00:2a")
        address, features = self.links(console)["eth0"]
        self.assertEqual(address, "02:00:00:00:00:2a")
        for bit in OFFLOADS:
            self.assertEqual(features[bit], "1", f"feature {bit} of {features}")
        self.configure(console)
        self.ping(console)

        # With segmentation left to the host, most frames of a transfer are longer than the MTU.
        def mean_frame(way, transfer):
            before = self.network.counters("t0")[way]
            transfer(console, 4 * MIB)
            after = self.network.counters("t0")[way]
            return (after[0] - before[0]) / (after[1] - before[1])
        self.assertGreater(mean_frame("rx", self.transfer_to_host), 1514)
        self.assertGreater(mean_frame("tx", self.transfer_to_guest), 1514)
        self.power_off(console)

    def test_two_devices_with_addresses_of_their_own(self):
        self.network.add_tap("t0")
        self.network.add_tap("t1", "10.84.0.1")
        console = self.boot("--net", "tap=t0", "--net", "tap=t1")
        addresses = [address for address, _ in self.links(console).values()]
        self.assertEqual(len(set(addresses)), 2, addresses)
        for address in addresses:
            self.assertEqual(int(address.split(":")[0], 16) & 3, 2, address)  # locally administered, of one station
        self.configure(console)
        self.ping(console)
        # A tap that goes takes the carrier of its link along, and no other.
        self.assertEqual(self.ask(console, "ip link set eth1 up; cat /sys/class/net/eth1/carrier"), "1")
        self.network.ip("link", "delete", "t1")
        waits = "while [ $(cat /sys/class/net/eth1/carrier) = 1 ]; do sleep 1; done; echo gone"
        self.assertEqual(self.ask(console, waits), "gone")
        self.ping(console)
        self.power_off(console)

    def test_without_the_option_there_is_no_device(self):
        console = self.boot()
        self.assertEqual(self.links(console), {})
        self.assertEqual(self.ask(console, "ls /sys/bus/platform/devices | grep -c LNRO0005"), "0")
        self.power_off(console)

    def boot_jailed(self, net, pass_fds=()):
        with open(f"{self.folder}/vmm.toml", "w", encoding="ascii") as file:
            file.write(f"[[net]]\n{net}\n[jail]\nenabled = true\n")
        return self.boot("--config", f"{self.folder}/vmm.toml", pass_fds=pass_fds)

    def test_in_the_jail(self):
        self.network.add_tap("t0")
        console = self.boot_jailed('tap = "t0"')
        self.configure(console)
        self.check_traffic(console)
        # A driver that leaves and comes again.
        driver = "/sys/bus/virtio/drivers/virtio_net"
        self.assertEqual(self.ask(console, f"cd {driver}; device=$(ls -d virtio[0-9]*); echo $device >unbind; "
                                           "echo $device >bind; echo bound"), "bound")
        self.configure(console)
        self.check_traffic(console)
        self.power_off(console)

    def test_an_inherited_tap_in_the_jail(self):
        def attach():
            tun = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"t0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
            return tun
        tun = self.network.do(attach)
        self.network.ip("address", "add", HOST + "/24", "dev", "t0")
        self.network.ip("link", "set", "t0", "up")
        console = self.boot_jailed(f'tap_fd = {tun}\nmac = "02:00:00:00:00:2b"', pass_fds=[tun])
        os.close(tun)
        self.assertEqual(self.links(console)["eth0"][0], "02:00:00:00:00:2b")
        self.configure(console)
        self.check_traffic(console)
        self.power_off(console)


class Errors(NetTest):
    def error(self, *options):
        done = self.network.do(subprocess.run, [VMM, "--kernel", KERNEL, *options], capture_output=True, check=False,
                               stdin=subprocess.DEVNULL, timeout=PATIENCE)
        lines = done.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        return done.returncode, lines[0]

    def test_errors_are_one_line(self):
        self.assertEqual(self.error("--net", "tap=nope"), (1, "vmm: net: tap nope does not exist"))
        self.assertEqual(self.error("--net", "tap=lo"), (1, "vmm: net: lo is no tap, or one of several queues"))
        self.assertEqual(self.error("--net", "mac=02:00:00:00:00:01"), (2, "vmm: --net: tap is missing"))
        self.assertEqual(self.error("--net", "tap=t,mac=01:00:00:00:00:01"),
                         (2, "vmm: --net: mac: '01:00:00:00:00:01' is the address of a group"))
        self.assertEqual(self.error("--net", "tap=t", "--net", "tap=t"), (2, "vmm: net[1]: tap t is used twice"))
        self.network.add_tap("t0")
        console = self.boot("--net", "tap=t0")
        self.assertEqual(self.error("--net", "tap=t0"), (1, "vmm: net: tap t0 is in use"))
        self.power_off(console)

    def test_more_devices_than_there_are_places(self):
        options = []
        for i in range(40):
            self.network.ip("tuntap", "add", "dev", f"t{i}", "mode", "tap")
            options += ["--net", f"tap=t{i}"]
        status, line = self.error(*options)
        self.assertEqual(status, 1)
        self.assertRegex(line, r"^vmm: more than \d+ virtio devices$")


if __name__ == "__main__":
    main()
