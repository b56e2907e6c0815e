#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A FAKE of vmm and guest-init, for tests of the runtime where there is no KVM.

It is started as vmm is (`--config FILE`), speaks guest-init's protocol on the inherited sockets, and runs the
"container's" processes as plain children on the host. It isolates nothing. What a real guest does, the lab tests show.
"""
import array
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tomllib

CONTROL_PORT = 1024
CLONE_NEWNS = 0x20000
lock = threading.Lock()
ports = {}  # port -> (event, [fd])
processes = {}  # "" or exec name -> Process
next_port = 5000
watchers = []  # connections that hear of OOM events
paused = threading.Event()
# Memory limits that have a special meaning in this fake.
REFUSED_LIMIT, OOM_LIMIT = 666, 4096


def receive_exactly(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def receive(sock):
    (length,) = struct.unpack("<I", receive_exactly(sock, 4))
    return json.loads(receive_exactly(sock, length))


def send(sock, message):
    body = json.dumps(message).encode()
    sock.sendall(struct.pack("<I", len(body)) + body)


def hold(what):
    """Waits as long as a test holds back this answer or the event of an end."""
    while os.path.exists(os.path.join(os.environ.get("FAKE_VMM_HOLDS", "/nonexistent"), what)):
        time.sleep(0.01)


class Process:
    def __init__(self, sock, request, spec):
        global next_port
        self.sock, self.request, self.spec, self.child = sock, request, spec, None
        self.streams = {}
        for name in ("stdin", "stdout", "stderr"):
            if request[name]:
                with lock:
                    self.streams[name] = next_port
                    ports[next_port] = (threading.Event(), [])
                    next_port += 1

    def release(self):
        def stdio(name):
            if name not in self.streams:
                return subprocess.DEVNULL
            event, fds = ports[self.streams[name]]
            event.wait(10)
            return fds[0]

        files = {name: stdio(name) for name in ("stdin", "stdout", "stderr")}
        self.child = subprocess.Popen(self.spec["args"], cwd="/", start_new_session=True, **files)
        for fd in files.values():
            if fd >= 0:
                os.close(fd)

    def watch(self):
        threading.Thread(target=self.report, daemon=True).start()

    def report(self):
        code = self.child.wait()
        hold("exited")
        event = {"type": "exited", "container": self.request["container"], "status": max(code, 0),
                 "signal": max(-code, 0), "sent": {"stdout": 0, "stderr": 0}}
        if "exec" in self.request:
            event["exec"] = self.request["exec"]
        send(self.sock, event)  # on the connection that created it


def note(message):
    """Writes a line to the log that a test reads: a request, or that one is answered."""
    if log := os.environ.get("FAKE_VMM_LOG"):
        with open(log, "a") as file:
            file.write(json.dumps(message) + "\n")


def answer(sock, request):
    kind = request["type"]
    name = request.get("exec", "")
    note(request)
    if kind in ("create", "exec"):
        spec = request["config"]["process"] if kind == "create" else request["process"]
        if spec["args"][0] == "missing":
            raise OSError(2, 'exec: "missing": executable file not found in $PATH')
        process = processes[name] = Process(sock, request, spec)
        return {"type": "created", "pid": 1, "streams": process.streams}
    if kind in ("start", "release"):
        if processes[name].child is not None:
            raise OSError(22, "cannot start an already running container")
        return {"type": "ok"}
    if kind == "kill":
        process = processes.get(name)
        if process is None or (process.child is not None and process.child.poll() is not None):
            raise OSError(3, "container not running")
        if process.child is None:
            os._exit(9)
        os.kill(process.child.pid, request["signal"])
        return {"type": "ok"}
    if kind in ("pause", "resume"):
        if kind == "resume" and not paused.is_set():
            raise OSError(22, "container not paused")
        paused.set() if kind == "pause" else paused.clear()
        for process in processes.values():
            if process.child is not None and process.child.poll() is None:
                os.killpg(process.child.pid, signal.SIGSTOP if kind == "pause" else signal.SIGCONT)
        return {"type": "ok"}
    if kind == "processes":
        texts = []
        for process in processes.values():
            if process.child is not None and process.child.poll() is None:
                with open(f"/proc/{process.child.pid}/stat") as file:
                    texts.append((file.read(), " ".join(process.spec["args"])))
        return {"type": "processes", "hertz": 100, "page": 4096, "uptime": int(time.monotonic() * 1000),
                "memory": 1 << 29, "processes": [{"stat": stat, "uid": [0, 0], "gid": [0, 0], "args": args}
                                                 for stat, args in texts]}
    if kind == "statistics":
        return {"type": "statistics", "files": {"memory.current": "4096\n", "memory.max": "max\n"}}
    if kind == "watch":
        watchers.append(sock)
        return {"type": "ok"}
    if kind == "update":
        limit = request["resources"].get("memory", {}).get("limit")
        if limit == REFUSED_LIMIT:
            raise OSError(22, "set memory.max: Invalid argument")
        if limit == OOM_LIMIT:
            for watcher in watchers:
                send(watcher, {"type": "oom", "container": request["container"]})
        print("update", json.dumps(request["resources"]), file=sys.stderr, flush=True)  # for the test: vmm.log
        return {"type": "ok"}
    raise OSError(22, "unknown request " + kind)


def serve(sock):
    try:
        while True:
            request = receive(sock)
            started = None
            try:
                reply = answer(sock, request)
                if request["type"] in ("start", "release"):  # the reply says that the program runs
                    started = processes[request.get("exec", "")]
                    started.release()
            except OSError as error:
                reply = {"type": "error", "message": error.strerror, "code": error.errno}
                started = None
            hold(request["type"])
            send(sock, reply)
            note({"type": "answered", "kind": request["type"], "signal": request.get("signal")})
            if started:  # and its end is told after that
                started.watch()
    except (EOFError, ConnectionError, BrokenPipeError):
        pass


def read_line(sock):
    line, fds = b"", []
    while not line.endswith(b"\n"):
        data, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(64))
        if not data:
            raise EOFError
        line += data
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload)
                fds += received
    return line.decode().split(), fds


def status_channel(sock):
    while True:
        words, _ = read_line(sock)
        sock.sendall(f"OK {words[1]}\n".encode())


def connection(sock):
    try:
        words, fds = read_line(sock)
        port = int(words[1])
        sock.sendall(b"OK 4711\n")
        if port == CONTROL_PORT:
            serve(sock)
            return
        event, held = ports[port]
        held += fds
        event.set()
        status_channel(sock)
    except (EOFError, ConnectionError):
        pass


def resize(sock, config):
    """Serves the machine's control socket. The guest accepts a new size at once."""
    size = {"memory": config["memory"], "present": config["memory"], "max_memory": config["max_memory"],
            "cpus": config["cpus"], "max_cpus": config["max_cpus"]}
    while True:
        client = sock.accept()[0]
        while packet := client.recv(512):
            for name, value in (word.split("=") for word in packet.decode().split()[1:]):
                size[name] = max(size[name], int(value)) if name == "cpus" else int(value)
                print("resize", name, value, file=sys.stderr, flush=True)
            size["present"] = size["memory"]
            client.sendall(("size " + " ".join(f"{name}={value}" for name, value in size.items())).encode())


def watch_lifeline(lifeline):
    os.read(lifeline, 1)
    os._exit(6)


def main():
    with open(sys.argv[sys.argv.index("--config") + 1], "rb") as file:
        config = tomllib.load(file)
    if os.environ.get("FAKE_VMM_FAILS"):
        sys.exit("vmm: cannot open /dev/kvm: No such file or directory")
    if os.environ.get("FAKE_VMM_HANGS"):
        signal.pause()
    if command := os.environ.get("FAKE_VMM_RUNS"):
        subprocess.run(command, shell=True, check=True)
    # As vmm's jail does: the stand-in's mounts, and its root directory, will not stay as they are.
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        sys.exit(f"vmm: mount namespace: {os.strerror(ctypes.get_errno())}")
    vsock = config["vsock"]
    lifeline = config["lifeline_fd"]

    threading.Thread(target=watch_lifeline, args=(lifeline,), daemon=True).start()
    control = socket.socket(fileno=config["control"]["listen_fd"])
    threading.Thread(target=resize, args=(control, config), daemon=True).start()
    listener = socket.socket(fileno=vsock["listen_fd"])

    def accept():
        while True:
            threading.Thread(target=connection, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    serve(socket.socket(fileno=vsock["stream"][0]["fd"]))


if __name__ == "__main__":
    main()
