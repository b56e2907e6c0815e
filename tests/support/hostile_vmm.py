#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the fake VM with a guest, or a vmm, that lies. The words of FAKE_VMM_HOSTILE say how:

  kill=ok, kill=ESRCH, kill=silent   answers each request to kill in this way, and does nothing
  kill=slow                          answers with one byte a second
  kill=text                          refuses, with a long text that a terminal would act on
  kill=ends                          the VM ends with the process, before it has answered
  read=never                         reads one more request after the start, and then none of the stand-in's
  end=reset, end=triple_fault, ...   the VM ends in this way when it is asked for a container
  end=created                        the VM powers off once the container is made
  ps=many, ps=deep                   answers with 5.6 million empty objects, or with a million brackets
  exited=early                       reports an end with status 9 before the container is made
  exited=strange                     reports an end of an exec, and of a container, that nobody asked for
  exited=twice                       reports each end twice
  oom=N                              reports N kills for want of memory before each end
  signal=N                           ends "by" that signal, whatever its process did
  sent=N                             reports that N bytes went to stdout
  lifeline=ignored                   vmm goes on when its stand-ins end
  flush=silent, flush=full           vmm never answers FLUSH; to PROGRESS it says nothing, or that the reader is slow
"""
import ctypes
import json
import os
import struct
import threading
import time

import fake_vmm

HOW = dict(word.split("=") for word in os.environ.get("FAKE_VMM_HOSTILE", "").split())
PR_SET_PDEATHSIG = 1
# vmm's statuses (vmm/api/config.h).
STATUSES = {"power_off": 0, "reset": 3, "triple_fault": 4, "kvm_failure": 5}
FRAME = 16 << 20  # the most that a frame may have
honest_answer, honest_send, honest_receive = fake_vmm.answer, fake_vmm.send, fake_vmm.receive


def frame(body):
    return struct.pack("<I", len(body)) + body


def exited(container, **more):
    return {"type": "exited", "container": container, "status": 9, "signal": 0, "sent": {"stdout": 0, "stderr": 0}, **more}


def answer(sock, request):
    if request["type"] == "create":
        if HOW.get("end") in STATUSES:
            os._exit(STATUSES[HOW["end"]])
        if HOW.get("exited") == "early":
            honest_send(sock, exited(request["container"]))
    if request["type"] == "processes" and "ps" in HOW:
        start = b'{"type":"processes","processes":['
        rest = b"{}" + b",{}" * ((FRAME - len(start) - 4) // 3) if HOW["ps"] == "many" else b"[" * 1_000_000
        sock.sendall(frame(start + rest + b"]}"))
        threading.Event().wait()
    if request["type"] != "kill" or "kill" not in HOW:
        return honest_answer(sock, request)
    if HOW["kill"] == "slow":
        for byte in frame(b'{"type":"ok"}' + b" " * 1000):
            sock.sendall(bytes([byte]))
            time.sleep(1)
    if HOW["kill"] == "ESRCH":
        raise OSError(3, "container not running")
    if HOW["kill"] == "text":
        raise OSError(1, "no\n\x1b[2J\u009b2J\u202e" + "x" * 20000)
    if HOW["kill"] == "silent":
        threading.Event().wait()
    if HOW["kill"] == "ends":
        os._exit(0)
    return {"type": "ok"}


def send(sock, message):
    if message["type"] == "exited":
        message["signal"] = int(HOW.get("signal", message["signal"]))
        message["sent"]["stdout"] = int(HOW.get("sent", 0))
        kills = frame(json.dumps({"type": "oom", "container": message["container"]}).encode())
        sock.sendall(kills * int(HOW.get("oom", 0)))
        if HOW.get("exited") == "strange":
            honest_send(sock, exited("nobody"))
            honest_send(sock, exited(message["container"], exec="nobody"))
        if HOW.get("exited") == "twice":
            honest_send(sock, message)
    honest_send(sock, message)
    if message["type"] == "created" and HOW.get("end") == "created":
        os._exit(0)


def receive(sock):
    first = fake_vmm.processes.get("")
    if HOW.get("read") == "never" and first is not None and first.sock is sock and first.child is not None:
        threading.Event().wait()
    return honest_receive(sock)


def status_channel(sock):
    while True:
        words, _ = fake_vmm.read_line(sock)
        if log := os.environ.get("FAKE_VMM_LOG"):
            with open(log, "a") as file:
                file.write(words[0] + "\n")
        if words[0] == "PROGRESS" and HOW["flush"] == "full":
            sock.sendall(b"WRITTEN 0 full\n")


def resize(sock, config):
    """Serves the machine's control socket, which lets containers join."""
    def serve(client):
        while client.recv(512):
            client.sendall(b"size memory=1 present=1 max_memory=1 cpus=1 max_cpus=1")

    while True:
        threading.Thread(target=serve, args=(sock.accept()[0],), daemon=True).start()


fake_vmm.answer, fake_vmm.send, fake_vmm.receive, fake_vmm.resize = answer, send, receive, resize
if HOW.get("lifeline") == "ignored":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)
    fake_vmm.watch_lifeline = lambda lifeline: None
if "flush" in HOW:
    fake_vmm.status_channel = status_channel
fake_vmm.main()
if HOW.get("lifeline") == "ignored":
    threading.Event().wait()
