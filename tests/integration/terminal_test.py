# SPDX-License-Identifier: Apache-2.0
"""Terminals: foreground and behind a console socket, for run and exec."""

import array
import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time

from support import NACRE, PATIENCE, ContainerTest, main, nacre, state, wait_until


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Console:
    """The user's side of a terminal: its master."""

    def __init__(self, master):
        self.master = master
        self.seen = b""

    def type(self, text):
        os.write(self.master, text)

    def read(self, seconds):
        """Returns some output, b"" at the end, or None if there is none in time."""
        if not select.select([self.master], [], [], seconds)[0]:
            return None
        try:
            return os.read(self.master, 65536)
        except OSError:  # EIO: the last one who had it open has closed it
            return b""

    def expect(self, pattern):
        """Waits for a match of what has been printed since the last one."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.seen)):
            data = self.read(max(0, deadline - time.monotonic()))
            if not data:
                raise AssertionError(f"no {pattern!r}, {'end' if data == b'' else 'silence'} after {self.seen!r}")
            self.seen += data
        self.seen = self.seen[match.end():]
        return match

    def rest(self):
        while data := self.read(PATIENCE):
            self.seen += data
        return self.seen

    def close(self):
        os.close(self.master)


class ConsoleSocket:
    """A console socket, as conmon and containerd's shim make it."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "console")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()

    def receive(self):
        connection, _ = self.listener.accept()
        with connection:
            fds = array.array("i")
            name, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize))
            fds.frombytes(ancillary[0][2])
        self.listener.close()
        self.directory.cleanup()
        return name, Console(fds[0])


def terminal(config):
    config["process"]["terminal"] = True


class TerminalTest(ContainerTest):
    def in_foreground(self, *argv, rows=24, columns=80):
        """A command with a controlling terminal of its own, as in a window."""
        pid, master = pty.fork()
        if pid == 0:
            try:
                set_size(0, rows, columns)
                os.execv(argv[0], argv)
            finally:
                os._exit(99)
        console = Console(master)
        self.addCleanup(console.close)
        return pid, console

    def foreground_run(self, *args, **size):
        bundle = self.bundle(*args, change=terminal)
        return self.in_foreground(NACRE, "run", "--bundle", bundle.path, self.container(), **size)

    def wait(self, pid):
        ended = []
        wait_until(lambda: ended or ended.extend(s for p, s in [os.waitpid(pid, os.WNOHANG)] if p) or ended, "ended")
        return os.waitstatus_to_exitcode(ended[0])

    def created(self, *args):
        """Starts a container behind a console socket."""
        container, bundle = self.container(), self.bundle(*args, change=terminal)
        console_socket = ConsoleSocket()
        process = subprocess.run([NACRE, "create", "--bundle", bundle.path, "--console-socket", console_socket.path,
                                  container], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
        self.assertEqual(process.returncode, 0)
        name, console = console_socket.receive()
        self.assertRegex(name, rb"^/dev/pts/\d+")
        self.addCleanup(console.close)
        set_size(console.master, 33, 111)
        self.assertEqual(nacre("start", container).returncode, 0)
        return container, console


class Foreground(TerminalTest):
    def test_a_shell_with_job_control(self):
        pid, console = self.foreground_run("sh", rows=31, columns=101)
        console.expect(rb"/ # ")
        console.type(b"stty size; tty; ls -l /dev/console /proc/self/fd/0\n")
        console.expect(rb"31 101\r\n/dev/pts/0\r\n")
        console.expect(rb"/ # ")
        console.type(b"sh -c 'echo on; exec sleep 1000'\n")
        console.expect(rb"\non\r\n")  # a job of its own in the foreground by now
        console.type(b"\x03")  # ^C: the sleep ends, the shell goes on
        console.expect(rb"/ # ")
        console.type(b"echo $?; sh -c 'echo on; exec sleep 1000'\n")
        console.expect(rb"130\r\non\r\n")
        console.type(b"\x1a")  # ^Z
        console.expect(rb"Stopped")
        console.type(b"kill -9 %1; sleep 0.5\n")
        console.expect(rb"/ # ")
        console.type(b"jobs\n")  # a shell with a stopped job would not exit
        console.expect(rb"Killed")
        console.type(b"exit 5\n")
        console.rest()
        self.assertEqual(self.wait(pid), 5)

    def test_the_window_changes_its_size(self):
        pid, console = self.foreground_run("sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done")
        console.expect(rb"ready")
        set_size(console.master, 50, 132)
        console.expect(rb"50 132")
        set_size(console.master, 20, 60)
        console.expect(rb"20 60")
        console.type(b"\x1c")  # ^\ kills the sleeps, and not PID 1, which has no handler for it
        os.kill(pid, signal.SIGKILL)
        self.wait(pid)

    def test_the_users_terminal_is_as_before(self):
        bundle = self.bundle("true", change=terminal)
        pid, master = pty.fork()
        if pid == 0:
            before = termios.tcgetattr(0)
            code = subprocess.run([NACRE, "run", "--bundle", bundle.path, "as-before"], check=False).returncode
            os._exit(code if termios.tcgetattr(0) == before else 98)
        console = Console(master)
        self.addCleanup(console.close)
        console.rest()
        self.assertEqual(self.wait(pid), 0)

    def test_without_a_terminal_it_is_an_error(self):
        bundle = self.bundle("true", change=terminal)
        done = subprocess.run([NACRE, "run", "--bundle", bundle.path, self.container()], stdin=subprocess.DEVNULL,
                              capture_output=True, start_new_session=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"/dev/tty", done.stderr)

    def test_what_is_typed_early_does_not_end_the_input(self):
        pid, console = self.foreground_run("sh", "-c", "read line; echo got it; exit 4")
        console.type(b"\x04")  # to a terminal that is not raw yet an end of file
        time.sleep(3)
        console.type(b"\n")
        console.expect(rb"got it\r\n")
        console.rest()
        self.assertEqual(self.wait(pid), 4)

    def test_redirected_streams_are_the_containers(self):
        """The caller has a terminal, and uses it for nothing."""
        # The end of the input is no hang-up: a terminal has none.
        bundle = self.bundle("sh", "-c", "test -t 0 && test -t 1 && test -t 2 && read line && sleep 1 && "
                                         "echo line $line; exit 6", change=terminal)
        with open(f"{bundle.path}/typed", "wb") as typed:
            typed.write(b"one\n")
        script = f'"$@" <{bundle.path}/typed >{bundle.path}/out 2>{bundle.path}/errors'
        pid, console = self.in_foreground("/bin/sh", "-c", script, "sh", NACRE, "run", "--bundle", bundle.path,
                                          self.container())
        self.assertEqual(console.rest(), b"")
        self.assertEqual(self.wait(pid), 6)
        with open(f"{bundle.path}/out", "rb") as out:
            self.assertEqual(out.read(), b"one\nline one\n")  # the first by the terminal's echo

    def test_a_lot_of_output_arrives_in_order(self):
        pid, console = self.foreground_run("seq", "1", "20000")
        output = console.rest()
        self.assertEqual(self.wait(pid), 0)
        expected = b"".join(b"%d\r\n" % n for n in range(1, 20001))
        self.assertEqual((len(output), output[-100:]), (len(expected), expected[-100:]))
        self.assertEqual(hashlib.sha256(output).digest(), hashlib.sha256(expected).digest())


class Detached(TerminalTest):
    def test_the_socket_gets_the_master(self):
        container, console = self.created("sh")
        console.expect(rb"/ # ")
        console.type(b"stty size; stty -a | grep -o '.onlcr'; test -c /dev/console && echo console\n")
        console.expect(rb"33 111\r\n onlcr\r\nconsole\r\n")
        set_size(console.master, 40, 90)
        console.type(b"sleep 1; stty size\n")
        console.expect(rb"40 90\r\n")
        console.type(b"exit\n")
        console.rest()
        wait_until(lambda: state(container)["status"] == "stopped", "stopped")

    def test_a_hang_up_reaches_the_container(self):
        container, bundle = self.container(), self.bundle("sh", "-c", "trap 'exit 3' HUP; echo ready; while :; do sleep 0.1; done",
                                                          change=terminal)
        console_socket = ConsoleSocket()
        self.assertEqual(subprocess.run([NACRE, "run", "-d", "--bundle", bundle.path, "--console-socket",
                                         console_socket.path, container], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, check=False).returncode, 0)
        _, console = console_socket.receive()
        console.expect(rb"ready")
        console.close()
        wait_until(lambda: state(container)["status"] == "stopped", "stopped by the hang-up")

    def test_socket_and_terminal_must_fit(self):
        bundle = self.bundle("true")
        done = nacre("create", "--bundle", bundle.path, "--console-socket", "/nonesuch", self.container())
        self.assertIn(b"cannot use console socket", done.stderr)
        bundle = self.bundle("true", change=terminal)
        done = nacre("create", "--bundle", bundle.path, self.container())
        self.assertIn(b"cannot allocate tty", done.stderr)
        done = nacre("create", "--bundle", bundle.path, "--console-socket", "/nonesuch", self.container())
        self.assertIn(b"/nonesuch", done.stderr)


class Exec(TerminalTest):
    def test_foreground_and_detached(self):
        container, _ = self.created("sleep", "1000")
        pid, console = self.in_foreground(NACRE, "exec", "-t", container, "sh", rows=22, columns=77)
        console.expect(rb"/ # ")
        console.type(b"stty size; tty; exit 9\n")
        console.expect(rb"22 77\r\n/dev/pts/1\r\n")
        console.rest()
        self.assertEqual(self.wait(pid), 9)

        console_socket = ConsoleSocket()
        done = subprocess.run([NACRE, "exec", "-t", "-d", "--console-socket", console_socket.path, container, "sh"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 0)
        _, console = console_socket.receive()
        self.addCleanup(console.close)
        console.type(b"echo $((6 * 7)); exit\n")
        console.expect(rb"42\r\n")
        console.rest()


if __name__ == "__main__":
    main()
