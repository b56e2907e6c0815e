# SPDX-License-Identifier: Apache-2.0
"""Standard streams and exit statuses of `nacre run`."""

import hashlib
import os
import socket
import subprocess

from support import DEBIAN, NACRE, PATIENCE, ContainerTest, main, nacre, run, state, wait_until

MIB = 1 << 20


class Stdio(ContainerTest):
    def test_64_mib_through_cat_arrive_unchanged(self):
        data = os.urandom(MIB) * 64
        done = self.run_container("cat", input=data)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(done.stdout), len(data))
        self.assertEqual(hashlib.sha256(done.stdout).digest(), hashlib.sha256(data).digest())
        self.assertEqual(done.stderr, b"")

    def test_stderr_stays_apart(self):
        done = self.run_container("sh", "-c", "echo out; echo err >&2; echo out2; echo err2 >&2")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"out\nout2\n", b"err\nerr2\n"))

    def test_closing_stdin_ends_the_reader(self):
        bundle = self.bundle("sh", "-c", "read line; echo got $line; cat; echo eof")
        process = subprocess.Popen([NACRE, "run", "--bundle", bundle.path, self.container()], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        process.stdin.write(b"first\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"got first\n")
        process.stdin.close()
        self.assertEqual(process.stdout.read(), b"eof\n")
        self.assertEqual(process.wait(), 0)
        process.stdout.close()

    def test_output_into_a_file_is_there_when_run_returns(self):
        path = os.path.join(self.bundle("true").path, "output")
        with open(path, "wb") as file:
            with self.bundle("seq", "1", "200000") as bundle:
                done = subprocess.run([NACRE, "run", "--bundle", bundle.path, self.container()], stdout=file,
                                      stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 0)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"".join(b"%d\n" % n for n in range(1, 200001)))

    def test_a_reader_that_leaves_stops_the_writer(self):
        bundle = self.bundle("yes")
        writer = subprocess.Popen([NACRE, "run", "--bundle", bundle.path, self.container()], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.assertEqual(writer.stdout.read(4), b"y\ny\n")
        writer.stdout.close()
        # The status is that of SIGPIPE, or the one with which busybox's yes exits on EPIPE.
        self.assertIn(writer.wait(timeout=PATIENCE), (1, 141))

    def test_dev_stdout_can_be_opened(self):
        done = self.run_container("sh", "-c", "echo through-dev > /dev/stdout; cat /dev/stdin", input=b"in\n")
        self.assertEqual((done.returncode, done.stdout), (0, b"through-dev\nin\n"), done.stderr)


class PassedDescriptors(ContainerTest):
    """Tests --preserve-fds and LISTEN_FDS, which work as they do in runc."""

    def shell(self, script, *argv, **options):
        # Uses bash, because Debian's sh cannot redirect descriptors above 9.
        return run("bash", "-c", script, "-", *argv, **options)

    def test_they_are_files_and_pipes_under_the_same_numbers(self):
        script = "cat <&3; cat /proc/self/fd/3 >/dev/null; echo to four >&4; seq 1 20000 >&5; ls /proc/self/fd | grep -c ."
        with self.bundle("sh", "-c", script) as bundle:
            for runtime in (NACRE, "runc"):
                with self.subTest(runtime=runtime):
                    done = self.shell('cd "$2"; echo first >in; echo second >>in; exec 3<in 4>out; read -u 3 line; '
                                      '{ "$1" run --preserve-fds 3 --bundle . "$3"; } 5> >(cat >piped); wait $!; '
                                      'cat out; tail -n 1 piped; echo $line',
                                      runtime, bundle.path, self.container())
                    # The container reads on from where bash stopped. ls has 0, 1, 2, those three, and the directory.
                    self.assertEqual(done.stdout, b"second\n7\nto four\n20000\nfirst\n", done.stderr)

    def test_a_socket_goes_both_ways(self):
        ours, theirs = socket.socketpair()
        with self.bundle("sh", "-c", "read line <&3; echo got $line >&3") as bundle, ours, theirs:
            process = subprocess.Popen(["bash", "-c", f'exec "$1" run --preserve-fds 1 --bundle "$2" "$3" 3<&{theirs.fileno()}',
                                        "-", NACRE, bundle.path, self.container()],
                                       pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            ours.sendall(b"hello\n")
            self.assertEqual(process.wait(timeout=PATIENCE), 0)
            self.assertEqual(ours.recv(100), b"got hello\n")

    def test_of_exec(self):
        container = self.container()
        with self.bundle("sleep", "1000") as bundle:
            subprocess.run([NACRE, "run", "--detach", "--bundle", bundle.path, container], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, check=True)
            done = self.shell('"$1" exec --preserve-fds 1 "$2" cat /proc/self/fd/3 3<<<"for exec"', NACRE, container)
            self.assertEqual((done.returncode, done.stdout), (0, b"for exec\n"), done.stderr)

    def test_socket_activation(self):
        with self.bundle("sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3") as bundle:
            done = self.shell('export LISTEN_FDS=1 LISTEN_PID=$$; exec "$1" run --bundle "$2" "$3" 3<<<"activated"',
                              NACRE, bundle.path, self.container())
            self.assertEqual((done.returncode, done.stdout), (0, b"1 1\nactivated\n"), done.stderr)
            # LISTEN_PID names another process, so the descriptor is not passed on.
            done = self.shell('export LISTEN_FDS=1 LISTEN_PID=1; exec "$1" run --bundle "$2" "$3" 3<<<"activated"',
                              NACRE, bundle.path, self.container())
            self.assertEqual(done.stdout, b"\n", done.stderr)

    def test_what_cannot_be_passed_is_an_error(self):
        with self.bundle("true") as bundle:
            for redirections, words in (("", "descriptor 3 is to be passed and is not open"),
                                        ("3</", "descriptor 3: only files, pipes, terminals and stream sockets"),
                                        ("3<>/tmp/both", "open for reading and writing")):
                with self.subTest(redirections=redirections):
                    done = self.shell(f'exec "$1" run --preserve-fds 1 --bundle "$2" "$3" {redirections}', NACRE,
                                      bundle.path, self.container())
                    self.assert_one_line_error(done, words)
            listener = socket.socket(socket.AF_UNIX)
            with listener:
                listener.bind("\0nacre-test")
                listener.listen()
                done = run("bash", "-c", f'exec "$1" run --preserve-fds 1 --bundle "$2" "$3" 3<&{listener.fileno()}', "-",
                           NACRE, bundle.path, self.container(), pass_fds=[listener.fileno()])
                self.assert_one_line_error(done, "descriptor 3: only connected stream sockets")
        os.unlink("/tmp/both")


class Readiness(ContainerTest):
    """Tests what a service manager is told by sd_notify(3)."""

    # Runs in the Debian root filesystem, which has Python: busybox has no program that sends a datagram.
    SCRIPT = ("import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
              "s.connect(os.environ['NOTIFY_SOCKET']); s.send(b'STATUS=nearly'); s.send(b'STATUS=there\\nREADY=1'); "
              "print(os.environ['NOTIFY_SOCKET'])")

    def test_ready_is_passed_on_with_the_pid(self):
        path = "/tmp/notify-test"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            self.addCleanup(os.unlink, path)
            manager.settimeout(PATIENCE)
            with self.bundle("/usr/bin/python3", "-c", self.SCRIPT, rootfs=DEBIAN) as bundle:
                container = self.container()
                environment = {**os.environ, "NOTIFY_SOCKET": path}
                done = run(NACRE, "run", "--pid-file", "/tmp/notify-pid", "--bundle", bundle.path, container,
                           env=environment)
            self.assertEqual((done.returncode, done.stdout), (0, b"/run/notify/notify.sock\n"), done.stderr)
            with open("/tmp/notify-pid", encoding="utf-8") as file:
                self.assertEqual(manager.recv(1000).decode(), f"READY=1\nMAINPID={file.read()}")
            os.unlink("/tmp/notify-pid")
            manager.setblocking(False)
            self.assertRaises(BlockingIOError, manager.recv, 1000)


class ExitStatus(ContainerTest):
    def test_statuses_come_back(self):
        for script, status in (("exit 0", 0), ("exit 7", 7), ("nonesuch", 127), ("/etc/passwd", 126),
                               ("kill -9 $$", 137)):
            with self.subTest(script=script):
                # Uses a second shell, because PID 1 cannot kill itself. `exit` keeps the first from exec'ing it.
                done = self.run_container("sh", "-c", 'sh -c "$1"; exit $?', "-", script)
                self.assertEqual(done.returncode, status, done.stderr)

    def test_killed_from_outside(self):
        container = self.container()
        bundle = self.bundle("sleep", "1000")
        process = subprocess.Popen([NACRE, "run", "--bundle", bundle.path, container], stdin=subprocess.DEVNULL)
        wait_until(lambda: (state(container) or {}).get("status") == "running", "the container runs")
        self.assertEqual(nacre("kill", container, "KILL").returncode, 0)
        self.assertEqual(process.wait(timeout=PATIENCE), 137)

    def test_a_missing_program_is_an_error_as_with_runc(self):
        for program, text in (("nonesuch", "executable file not found in $PATH"),
                              ("/nonesuch", "no such file or directory"), ("/etc/passwd", "permission denied")):
            with self.subTest(program=program):
                bundle = self.bundle(program)
                ours = nacre("run", "--bundle", bundle.path, self.container())
                theirs = run("runc", "run", "--bundle", bundle.path, self.container())
                self.assertEqual(ours.returncode, theirs.returncode)
                self.assertIn(text, ours.stderr.decode())
                self.assertIn(text, theirs.stderr.decode())


if __name__ == "__main__":
    main()
