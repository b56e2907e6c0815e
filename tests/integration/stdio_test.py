"""Standard streams and exit statuses of `nacre run`."""

import hashlib
import os
import subprocess

from support import NACRE, ContainerTest, main, nacre, run, state, wait_until

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
        # SIGPIPE, or the status that busybox's yes makes of EPIPE.
        self.assertIn(writer.wait(timeout=60), (1, 141))

    def test_dev_stdout_can_be_opened(self):
        done = self.run_container("sh", "-c", "echo through-dev > /dev/stdout; cat /dev/stdin", input=b"in\n")
        self.assertEqual((done.returncode, done.stdout), (0, b"through-dev\nin\n"), done.stderr)


class ExitStatus(ContainerTest):
    def test_statuses_come_back(self):
        for script, status in (("exit 0", 0), ("exit 7", 7), ("nonesuch", 127), ("/etc/passwd", 126),
                               ("kill -9 $$", 137)):
            with self.subTest(script=script):
                # A second shell, for PID 1 cannot kill itself; not as the last command, which a shell becomes.
                done = self.run_container("sh", "-c", 'sh -c "$1"; exit $?', "-", script)
                self.assertEqual(done.returncode, status, done.stderr)

    def test_killed_from_outside(self):
        container = self.container()
        bundle = self.bundle("sleep", "1000")
        process = subprocess.Popen([NACRE, "run", "--bundle", bundle.path, container], stdin=subprocess.DEVNULL)
        wait_until(lambda: (state(container) or {}).get("status") == "running", "the container runs")
        self.assertEqual(nacre("kill", container, "KILL").returncode, 0)
        self.assertEqual(process.wait(timeout=60), 137)

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
