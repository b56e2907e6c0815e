#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The fake VM speaks as guest-init does: its messages have the fields of the sample messages, with the same types."""
import json
import os
import socket
import sys
import threading
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import fake_vmm  # noqa: E402

with open(os.path.join(ROOT, "guest-init", "protocol", "samples.json")) as file:
    SAMPLES = json.load(file)
# Objects whose member names are free.
OPEN = ("files", "machine", "namespaces")


def sample(name, **changes):
    return {**json.loads(json.dumps(SAMPLES[name])), **changes}


class FakeVm(unittest.TestCase):
    def setUp(self):
        self.client, server = socket.socketpair()
        self.addCleanup(self.client.close)
        self.client.settimeout(60)
        threading.Thread(target=fake_vmm.serve, args=(server,), daemon=True).start()
        self.events = []

    def assert_like(self, value, full, least, where):
        self.assertIs(type(value), type(full), where)
        if isinstance(value, list):
            for i, element in enumerate(value):
                self.assert_like(element, full[0], full[0], f"{where}[{i}]")
        elif isinstance(value, dict) and where.split(".")[-1] in OPEN:
            for name, member in value.items():
                self.assertIsInstance(member, str, f"{where}.{name}")
        elif isinstance(value, dict):
            self.assertLessEqual(set(value), set(full), where)
            self.assertGreaterEqual(set(value), set(least), where)
            for name, member in value.items():
                self.assert_like(member, full[name], least.get(name, full[name]), f"{where}.{name}")

    def assert_sample(self, message, name):
        self.assert_like(message, SAMPLES[name], SAMPLES.get(name + ", least", SAMPLES[name]), name)

    def receive(self):
        message = fake_vmm.receive(self.client)
        kind = "event " if "event " + message["type"] in SAMPLES else "reply "
        self.assert_sample(message, kind + message["type"])
        return message

    def ask(self, request):
        fake_vmm.send(self.client, request)
        while "event " + (message := self.receive())["type"] in SAMPLES:
            self.events.append(message)
        return message

    def event(self):
        return self.events.pop(0) if self.events else self.receive()

    def connect_streams(self, created):
        for port in created["streams"].values():
            arrived, held = fake_vmm.ports[port]
            held.append(os.open("/dev/null", os.O_RDWR))
            arrived.set()

    def test_its_messages_are_like_the_samples(self):
        create = sample("create")
        create["config"]["process"]["args"] = ["sleep", "1000"]
        created = self.ask(create)
        self.assertEqual(created["type"], "created")
        self.connect_streams(created)
        self.assertEqual(self.ask(sample("start"))["type"], "ok")
        execed = sample("exec")
        execed["process"]["args"] = ["sleep", "1000"]
        self.connect_streams(self.ask(execed))
        self.assertEqual(self.ask(sample("release"))["type"], "ok")

        self.assertEqual(len(self.ask(sample("processes"))["processes"]), 2)
        self.assertEqual(self.ask(sample("statistics"))["type"], "statistics")
        for name in ("watch", "update", "pause", "resume"):
            self.assertEqual(self.ask(sample(name))["type"], "ok", name)
        self.assertEqual(self.ask(sample("resume"))["type"], "error")
        oom = sample("update", resources={"memory": {"limit": fake_vmm.OOM_LIMIT}})
        self.assertEqual(self.ask(oom)["type"], "ok")
        self.assertEqual(self.event()["type"], "oom")

        self.assertEqual(self.ask(sample("kill"))["type"], "ok")
        ended = self.event()
        self.assertEqual((ended["type"], ended["exec"], ended["signal"]), ("exited", "exec-1", 15))
        self.assertEqual(self.ask(sample("kill, least"))["type"], "ok")
        ended = self.event()
        self.assertEqual((ended["type"], ended.get("exec"), ended["signal"]), ("exited", None, 9))

    def test_what_it_does_not_know_is_an_error_like_the_sample(self):
        self.assertEqual(self.ask(sample("procfs"))["type"], "error")


if __name__ == "__main__":
    unittest.main()
