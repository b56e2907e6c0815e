# SPDX-License-Identifier: Apache-2.0
"""A volume that hangs, as one of a server in the network does that has gone: a FUSE file system with an empty root, which
answers no look-up of a name. Whoever asks for a name cannot even be killed (Linux, fs/fuse/dev.c, request_wait_answer)."""

import ctypes
import os
import stat
import struct
import threading

LOOKUP, FORGET, GETATTR, INIT, INTERRUPT = 1, 2, 3, 26, 36  # include/uapi/linux/fuse.h
ENOSYS = 38
MS_NOSUID_NODEV = 6
MNT_FORCE, MNT_DETACH = 1, 2


class HangingVolume:
    def __init__(self, path):
        self.path = path
        os.makedirs(path, exist_ok=True)
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"hanging", path.encode(), b"fuse", MS_NOSUID_NODEV, options.encode()) < 0:
            raise OSError(ctypes.get_errno(), "mount")
        self.asked = threading.Event()  # a name has been asked for
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                request = os.read(self.device, 1 << 20)
            except OSError:  # ENODEV: unmounted
                return
            _, opcode, unique, _ = struct.unpack_from("IIQQ", request)
            if opcode == LOOKUP:
                self.asked.set()
            elif opcode == INIT:
                self.answer(unique, struct.pack("IIII48x", 7, 31, 0, 0))
            elif opcode == GETATTR:
                attributes = struct.pack("QQQQQQIIIIIIIIII", 1, 0, 0, 0, 0, 0, 0, 0, 0, stat.S_IFDIR | 0o755, 2, 0, 0, 0,
                                         4096, 0)
                self.answer(unique, struct.pack("QII", 3600, 0, 0) + attributes)
            elif opcode not in (FORGET, INTERRUPT):
                self.answer(unique, b"", -ENOSYS)

    def answer(self, unique, body, error=0):
        os.write(self.device, struct.pack("IiQ", 16 + len(body), error, unique) + body)

    def end(self):
        """Gives the volume up: what waits for an answer gets an error. May be called again."""
        if self.device < 0:
            return
        for flags in (MNT_FORCE, MNT_DETACH):  # the first ends the connection
            ctypes.CDLL(None).umount2(self.path.encode(), flags)
        self.thread.join()
        os.close(self.device)
        self.device = -1
