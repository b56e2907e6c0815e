// The conversation between nacre on the host and guest-init in the guest, over vsock.
//
// Framing: a little-endian u32 length (of what follows, at most kMaxFrame), then that many bytes of JSON: one object
// with a "type". Objects of the OCI runtime specification travel as they are. Both ends distrust the other: a frame too
// long, a value of the wrong type or an unknown "type" ends the connection with one logged line, nothing else.
//
// Connections:
//   * The primary one: guest-init connects to (host, kHostPort) when it is ready. vmm joins it to a descriptor of the
//     stand-in of the container that the VM was made for. When it is closed, and so are all others that have created a
//     container, guest-init powers the VM off.
//   * Others: the host connects to (guest, kControlPort), one connection per command or exec, each independent.
//   * Streams: the host connects to (guest, port) for each port that a "created" reply names: raw bytes, one connection
//     per stdio descriptor. stdin carries host to guest, stdout and stderr guest to host; an end of file is the
//     shutdown of that direction. Only the first connection to such a port counts; the port is then closed. Connections
//     to a port that nobody opened within a minute are given up.
//
// Requests (host to guest); each gets one reply on the same connection, in order:
//   create   {container: ID, config: OCI config.json, stdin: bool, stdout: bool, stderr: bool
//             [, seccomp: {program: [INSTRUCTION, ...], flags: N}] [, bundle: PATH]
//             [, hostMounts: [...]] [, passed: ["r"|"w"|"rw", ...]] [, notify: bool]
//             [, joins: {TYPE: ID, ...}] [, sharedMounts: {"N": KEY, ...}]}
//            Builds the container and its first process up to just before execve. `config.root.path` and the sources
//            of bind mounts are paths in the guest (under kShareMountPoint, or after kInRoot). A stream that is false
//            is /dev/null. Where process.terminal is true the three fields do not count: the process has a terminal,
//            and the reply names ports for stdin and stdout, its two directions. newlines: false for a terminal that
//            leaves "\n" as it is; it may be absent. When the host ends either direction, the terminal hangs up; with
//            hangsUp: false, which may be absent too, not when its input ends, which then was no terminal's.
//            `seccomp` is linux.seccomp of the configuration, compiled, which is not in `config` then: 1 to 4096
//            instructions, each the eight bytes of a struct sock_filter as one little-endian number, and the
//            SECCOMP_FILTER_FLAG_* of seccomp(2). It holds for every process of the container, exec'ed ones as well.
//            `hostMounts` (may be absent) is [{path: PATH in the share, options: [WORD, ...]}]: the mounts of the host
//            that are served there, the upper before the lower, with their attributes in mount(8)'s words.
//            `config.hooks` has startContainer alone; `bundle` is for the state that these hooks get.
//            `passed` (may be absent, at most kMaxPassed) are the process's descriptors 3 and up, and what it can do
//            with them: pipes, and for "rw" a stream socket. A port that there is none of is 0.
//            With `notify` there is a datagram socket kNotifyName in kNotifyDirectory/ID, for the container to say how
//            it is (sd_notify(3)); a bind mount has to show it there.
//            `joins` (may be absent) are namespaces of config.linux.namespaces that are those of other containers here,
//            by their type. With a mount namespace among them the container has the other's root filesystem and
//            mounts. Where there are joins and "network" is none of them, a network namespace is a new one.
//            `sharedMounts` (may be absent): config.mounts[N] is a tmpfs, and the same one for all containers that
//            name this key.
//            -> created {pid: N, streams: {stdin: PORT, stdout: PORT, stderr: PORT
//                                          [, passed: [{in: PORT, out: PORT}]]}}
//   start    {container: ID}                     releases the first process  -> ok, once its program runs
//            First its startContainer hooks run; one that fails is an error here, and the process then exits with 1.
//            An execve that fails (ENOEXEC) is none here: a line on the process's stderr says so, and it exits with 1.
//   exec     {container: ID, exec: NAME, process: OCI process, stdin, stdout, stderr [, passed] [, ignorePaused: bool]
//             [, cgroup: PATH]}
//            Like create, for another process; NAME is unique in the container. PATH is relative to the container's
//            cgroup; without it the process is in that, or, where it has been divided, with the first process.
//            -> created
//            In a paused container an error (EBUSY), or with ignorePaused not replied to before it is resumed.
//   release  {container: ID, exec: NAME}         releases an exec'ed process -> ok
//   resize   {container: ID [, exec: NAME], rows: N, columns: N}  the terminal's window -> ok
//   kill     {container: ID, signal: N, all: bool [, exec: NAME]}  -> ok
//   state    {container: ID}  -> state {status: "created"|"running"|"paused"|"stopped", pid: N [, exit: {...}]}
//   delete   {container: ID}                     kills and removes           -> ok
//   pause    {container: ID}                     freezes its cgroup          -> ok, once all stand still
//   resume   {container: ID}                     -> ok
//   processes {container: ID}                    those of its cgroup and the ones below
//            -> processes {hertz: N, page: BYTES, uptime: MS, memory: BYTES,
//                          processes: [{stat: TEXT, uid: [REAL, EFFECTIVE], gid: [REAL, EFFECTIVE], args: TEXT}]}
//            `stat` is /proc/PID/stat, whose times are in 1/hertz s; `args` may be cut short, or empty.
//   procfs   {container: ID}                     /proc of its pid namespace, as far as proc_files.h names it
//            -> procfs {machine: {NAME: TEXT, ...},
//                       processes: {"PID": {files: {NAME: TEXT, ...}, namespaces: {NAME: TEXT, ...}}, ...}}
//            A file that cannot be read is left out; a long one is cut.
//   statistics {container: ID}                   -> statistics {files: {"cpu.stat": TEXT, ...}}
//            Files of its cgroup (v2) as the kernel writes them; ones that do not exist are left out.
//   watch    {container: ID}                     asks for "oom" events on this connection  -> ok
//   update   {container: ID, resources: OCI linux.resources, cpus: N?}
//            cpus: how many of the machine's CPUs are online
//            Sets what is in `resources` and not zero or empty; on an error nothing is changed.  -> ok
//   mount    {container: ID, path, source: PATH in the share, options}  -> ok
//            What the host has mounted since: an entry of `hostMounts`, with what is to be seen there. It appears in
//            the mounts of the container that follow the share's.
//   unmount  {container: ID, path}               what is mounted there       -> ok
// A request that fails is answered by
//   error    {message: TEXT, code: ERRNO}        e.g. ESRCH "container not running"
//
// Events (guest to host), on the connection that created the process, once, after its reply:
//   exited   {container: ID [, exec: NAME], status: N, signal: N,
//             sent: {stdout: BYTES, stderr: BYTES [, passed: [BYTES, ...]]}}
//            status as exit(2) gave it, or signal != 0. `sent`: how much of the process's output was put on its streams
//            before this event; output of processes that live on may follow. For the first process all of the
//            container's processes are gone, and its file systems are synced. A process whose output the host does not
//            take is not reported before that is taken, its stream closed, or its container deleted.
//   oom      {container: ID}      on the connection that created the container, and on those that watch: the kernel has
//            killed a process for want of memory. Comes before the "exited" of what it killed.
//   ready    {container: ID}      on the connection that created the container, once: it has said so (create, `notify`)
// So the connection that created a process is held for as long as the process lives: when it closes, the process is
// killed, since nobody could hear of its end any more.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::protocol {

using Json = nlohmann::json;

inline constexpr uint32_t kHostPort = 1024;     // on the host (CID 2), for the primary connection
inline constexpr uint32_t kControlPort = 1024;  // on the guest
inline constexpr uint32_t kMaxFrame = 16u << 20;
inline constexpr size_t kMaxPassed = 64;  // descriptors of one process

// The virtio-fs tag of a container's VM, and where guest-init mounts it. Below: "rootfs", "mount-0", ...
inline constexpr const char* kShareTag = "nacre";
inline constexpr const char* kShareMountPoint = "/run/nacre/share";
inline constexpr const char* kNotifyDirectory = "/run/nacre/notify";
inline constexpr const char* kNotifyName = "notify.sock";

// One message as a frame.
Result<std::string> encode(const Json& message);

// Takes bytes as they come and gives whole messages.
class Decoder {
 public:
  void append(std::span<const std::byte> bytes);
  // The next message; a null Json when more bytes are needed. An error is final: too long, not JSON, not an object
  // with a string "type", nested deeper than 64.
  Result<Json> next();

 private:
  std::string buffer_;
};

// Fields of a message, with the field's name in the error.
Result<std::string> string_field(const Json& message, std::string_view name);
Result<int64_t> integer_field(const Json& message, std::string_view name, int64_t low, int64_t high);
Result<bool> bool_field(const Json& message, std::string_view name);

// Blocking helpers for the short-lived commands on the host.
Result<void> send(int fd, const Json& message);
Result<Json> receive(int fd);

Json error_message(std::string_view text, int code);

}  // namespace nacre::protocol
