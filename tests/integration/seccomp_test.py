# SPDX-License-Identifier: Apache-2.0
"""Tests linux.seccomp in the guest: compares what a container sees under a profile with what it sees under runc."""

import json

from support import DEBIAN, NACRE, Bundle, ContainerTest, main, nacre, run

# Makes system calls whose outcome shows the filter, and prints their results and errno as a line of JSON.
PROBE = r"""
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) for arg in args))
    return [min(result, 0), ctypes.get_errno() if result < 0 else 0]
outcome = {name: call(*args) for name, *args in json.loads(sys.argv[1])}
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
outcome["status"] = [status[key].strip() for key in ("Seccomp", "NoNewPrivs")]
print(json.dumps(outcome))
"""

UNAME, SYNC, SCHED_YIELD, PERSONALITY, CLONE3, FUTEX_WAITV = 63, 162, 24, 135, 435, 449
CALLS = [["uname", UNAME, 0], ["sync", SYNC], ["sched_yield", SCHED_YIELD], ["personality 0", PERSONALITY, 0],
         ["personality query", PERSONALITY, 0xffffffff], ["personality 8", PERSONALITY, 8],
         ["clone3", CLONE3, 0, 0], ["futex_waitv", FUTEX_WAITV, 0, 0, 0, 0], ["from the future", 5000]]


def errno_profile(**more):
    """Returns a profile that allows all but a few calls. It refuses those in the various ways that a profile has."""
    return dict({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": ["sync", "no_such_call"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["sched_yield"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18},
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
             "args": [{"index": 0, "op": "SCMP_CMP_NE", "value": 0},
                      {"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]},
        ],
    }, **more)


def names_of_all_calls():
    """Returns the names of all calls below 440. Like docker's allow list, they end at some kernel's newest call."""
    import ctypes
    library = ctypes.CDLL("libseccomp.so.2")
    resolve = library.seccomp_syscall_resolve_num_arch
    resolve.restype = ctypes.c_char_p
    names = [resolve(ctypes.c_uint32(0xc000003e), number) for number in range(440)]
    return [name.decode() for name in names if name]


def allow_list():
    allowed = [name for name in names_of_all_calls() if name not in ("sync", "clone3")]
    return {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}]}


class Seccomp(ContainerTest):
    def outcomes(self, profile, no_new_privileges=True, user=0, command=None):
        """Runs a command under runc and under nacre, and returns (status, stdout) of each."""
        def change(config):
            config["linux"]["seccomp"] = profile
            config["process"]["noNewPrivileges"] = no_new_privileges
            config["process"]["user"] = {"uid": user, "gid": user}
        command = command or ["python3", "-c", PROBE, json.dumps(CALLS)]
        with Bundle(*command, rootfs=DEBIAN, change=change) as bundle:
            theirs = run("runc", "run", "--bundle", bundle.path, self.container())
            ours = nacre("run", "--bundle", bundle.path, self.container())
        self.assertEqual((theirs.stderr, ours.stderr), (b"", b""))
        return (theirs.returncode, theirs.stdout.decode()), (ours.returncode, ours.stdout.decode())

    def assert_same(self, *args, **options):
        theirs, ours = self.outcomes(*args, **options)
        self.assertEqual(ours, theirs)
        return json.loads(ours[1])

    def test_errno_and_arguments(self):
        for no_new_privileges in (True, False):
            with self.subTest(no_new_privileges=no_new_privileges):
                seen = self.assert_same(errno_profile(), no_new_privileges=no_new_privileges, user=1000)
                self.assertEqual(seen["sync"], [-1, 1])
                self.assertEqual(seen["sched_yield"], [-1, 18])
                self.assertEqual(seen["personality 8"], [-1, 95])
                self.assertEqual(seen["personality 0"], [0, 0])
                self.assertEqual(seen["status"], ["2", str(int(no_new_privileges))])

    def test_an_allow_list_answers_enosys_for_what_is_newer(self):
        seen = self.assert_same(allow_list())
        self.assertEqual(seen["sync"], [-1, 1])
        self.assertEqual(seen["clone3"], [-1, 1])
        self.assertEqual(seen["futex_waitv"], [-1, 38])
        self.assertEqual(seen["from the future"], [-1, 38])

    def test_a_filter_that_kills(self):
        profile = errno_profile(syscalls=[{"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"}])
        theirs, ours = self.outcomes(profile, command=["sync"])
        self.assertEqual(ours, theirs)
        self.assertEqual(ours, (128 + 31, ""))

    def test_exec_is_under_the_containers_filter(self):
        def change(config):
            config["linux"]["seccomp"] = errno_profile()
        container, bundle = self.container(), self.bundle("sleep", "1000", rootfs=DEBIAN, change=change)
        # The stand-in goes on running and must not hold our pipes open.
        started = run("sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", NACRE, "run", "--detach", "--bundle", bundle.path,
                      container)
        self.assertEqual(started.returncode, 0)
        done = nacre("exec", container, "python3", "-c", PROBE, json.dumps(CALLS))
        self.assertEqual(done.returncode, 0, done.stderr)
        seen = json.loads(done.stdout)
        self.assertEqual((seen["sync"], seen["sched_yield"]), ([-1, 1], [-1, 18]))
        self.assertEqual(seen["status"][0], "2")

    def test_notify_is_refused_clearly(self):
        def change(config):
            config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW",
                                          "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_NOTIFY"}]}
        with Bundle("true", change=change) as bundle:
            done = nacre("run", "--bundle", bundle.path, self.container())
        self.assert_one_line_error(done, "linux.seccomp.syscalls[0].action", "SCMP_ACT_NOTIFY")


if __name__ == "__main__":
    main()
