// SPDX-License-Identifier: Apache-2.0
// The messages between nacre and guest-init: a struct for each request, reply and event. protocol.h says who sends them
// on which connection.
//
// Each lists its fields once (fields.h), which encode() writes and decode() checks. samples.json has one of each kind.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/fields.h"
#include "guest-init/protocol/frame.h"
#include "guest-init/protocol/network.h"
#include "guest-init/protocol/protocol.h"

namespace nacre::protocol {

inline constexpr int kMaxSignal = 64;  // SIGRTMAX of Linux
inline constexpr int kMaxCpus = 64;

// --- Replies ---

// The request was carried out.
struct Ok {
  static constexpr std::string_view kType = "ok";
  static constexpr Limits kLimits = kSmall;

  static void fields(auto& /*io*/, auto& /*ok*/) {}
};

// The request failed, and nothing was changed unless the request says otherwise.
struct ErrorReply {
  static constexpr std::string_view kType = "error";
  static constexpr size_t kMaxText = 4096;

  std::string message = {};  // for people, for example "container not running"
  int code = 0;              // an errno value; 0 if there is none

  static ErrorReply from(const Error& error);
  static void fields(auto& io, auto& error) {
    io.any_text("message", error.message);
    io.number("code", error.code, 0, 4095);
  }
};

// The ports of one descriptor of a process. 0: the descriptor has no stream in that direction.
struct Ports {
  uint32_t in = 0, out = 0;

  static void fields(auto& io, auto& ports) {
    io.number("in", ports.in, 0, UINT32_MAX);
    io.number("out", ports.out, 0, UINT32_MAX);
  }
};

// The ports of a process's streams. A standard stream that was not asked for has none.
struct StreamPorts {
  std::optional<uint32_t> in = {}, out = {}, err = {};
  std::vector<Ports> passed = {};  // of the descriptors 3 and up

  static void fields(auto& io, auto& ports) {
    io.optional_number("stdin", ports.in, 1, UINT32_MAX);
    io.optional_number("stdout", ports.out, 1, UINT32_MAX);
    io.optional_number("stderr", ports.err, 1, UINT32_MAX);
    io.optional_objects("passed", ports.passed);
  }
};

// A process stands just before execve. For a terminal there are ports for stdin and stdout, its two directions.
struct Created {
  static constexpr std::string_view kType = "created";
  static constexpr Limits kLimits = kSmall;

  int32_t pid = 0;  // in guest-init's pid namespace
  StreamPorts streams = {};
  std::vector<std::string> warnings = {};  // what the container has to do without, a line each

  static void fields(auto& io, auto& created) {
    io.number("pid", created.pid, 1, INT32_MAX);
    io.object("streams", created.streams);
    io.optional_texts("warnings", created.warnings);
  }
};

// How a process ended: by exit(2) with `status`, or by `signal`, which is not 0 then.
struct ExitStatus {
  int status = 0;
  int signal = 0;

  static void fields(auto& io, auto& exit) {
    io.number("status", exit.status, 0, 255);
    io.number("signal", exit.signal, 0, kMaxSignal);
  }
};

struct StateReply {
  static constexpr std::string_view kType = "state";
  static constexpr Limits kLimits = kSmall;

  std::string status = {};              // "created", "running", "paused" or "stopped"
  int32_t pid = 0;                      // 0 if the container has stopped
  std::optional<ExitStatus> exit = {};  // if it has stopped

  static void fields(auto& io, auto& state) {
    io.text("status", state.status);
    io.number("pid", state.pid, 0, INT32_MAX);
    io.optional_object("exit", state.exit);
  }
};

struct Ids {
  uint32_t real = 0, effective = 0;
};
void ids_field(FieldWriter& io, const char* name, const Ids& ids);
void ids_field(FieldReader& io, const char* name, Ids& ids);

struct ProcessEntry {
  std::string stat = {};  // the text of /proc/PID/stat, whose times are in 1/hertz s
  Ids uid = {}, gid = {};
  std::string args = {};  // may be cut short, or empty

  static void fields(auto& io, auto& process) {
    io.any_text("stat", process.stat);
    ids_field(io, "uid", process.uid);
    ids_field(io, "gid", process.gid);
    io.any_text("args", process.args);
  }
};

struct ProcessesReply {
  static constexpr std::string_view kType = "processes";
  static constexpr Limits kLimits = kLarge;
  // Far above what is true, and small enough to be multiplied by a hundred.
  static constexpr int64_t kMax = int64_t{1} << 50;
  static constexpr int64_t kMaxPage = 1 << 16;  // as large as Linux has them; times kMax it still is an int64_t

  int64_t hertz = 0;   // of the times in `stat`
  int64_t page = 0;    // bytes
  int64_t uptime = 0;  // milliseconds
  int64_t memory = 0;  // bytes
  std::vector<ProcessEntry> processes = {};

  static void fields(auto& io, auto& reply) {
    io.number("hertz", reply.hertz, 1, 1'000'000);
    io.number("page", reply.page, 1, kMaxPage);
    io.number("uptime", reply.uptime, 0, kMax);
    io.number("memory", reply.memory, 0, kMax);
    io.objects("processes", reply.processes);
  }
};

struct ProcessFiles {
  Texts files = {};       // kProcessFiles of proc_files.h
  Texts namespaces = {};  // kNamespaceLinks

  static void fields(auto& io, auto& process) {
    io.kernel_texts("files", process.files);
    io.kernel_texts("namespaces", process.namespaces);
  }
};

// A file that cannot be read is left out; a long one is cut.
struct ProcfsReply {
  static constexpr std::string_view kType = "procfs";
  static constexpr Limits kLimits = kLarge;

  Texts machine = {};                                  // kMachineFiles
  std::map<std::string, ProcessFiles> processes = {};  // by pid

  static void fields(auto& io, auto& reply) {
    io.kernel_texts("machine", reply.machine);
    io.named_objects("processes", reply.processes);
  }
};

// Files of the container's cgroup (v2) by their names, as the kernel writes them. Files that do not exist are left out.
struct StatisticsReply {
  static constexpr std::string_view kType = "statistics";
  static constexpr Limits kLimits = kLarge;

  Texts files = {};

  static void fields(auto& io, auto& reply) { io.kernel_texts("files", reply.files); }
};

// --- Parts of requests ---

// What a process can do with a descriptor that it is passed: a pipe, or for both directions a stream socket.
struct Passed {
  bool readable = false, writable = false;
};
void passed_field(FieldWriter& io, const std::vector<Passed>& passed);  // as "r", "w" or "rw"
void passed_field(FieldReader& io, std::vector<Passed>& passed);        // at most kMaxPassed

// The streams that a new process is to have. A stream that is false is /dev/null. If process.terminal is true, the
// three do not count: the process has a terminal.
struct StdioWanted {
  bool in = false, out = false, err = false;
  std::vector<Passed> passed = {};  // descriptors 3 and up
  bool newlines = true;             // false: the terminal leaves "\n" as it is
  // If the host ends either direction of a terminal, the terminal hangs up. If this is false, it does not do so at the
  // end of its input, which was no terminal's then.
  bool hangs_up = true;
};
// Stands among the message's own fields.
void stdio_fields(auto& io, auto& stdio) {
  io.flag("stdin", stdio.in);
  io.flag("stdout", stdio.out);
  io.flag("stderr", stdio.err);
  passed_field(io, stdio.passed);
  io.optional_flag("newlines", stdio.newlines, true);
  io.optional_flag("hangsUp", stdio.hangs_up, true);
}

// linux.seccomp of the configuration, compiled.
struct SeccompProgram {
  std::vector<uint64_t> program = {};  // each the eight bytes of a struct sock_filter as one little-endian number
  uint32_t flags = 0;                  // SECCOMP_FILTER_FLAG_* of seccomp(2)

  static void fields(auto& io, auto& seccomp) {
    io.numbers("program", seccomp.program);
    io.defaulted_number("flags", seccomp.flags, 0, UINT32_MAX);
  }
};

// A mount of the host that is served in the share, or that the host has made since.
struct HostMount {
  std::string path = {};                  // in the share
  std::string source = {};                // what is to be seen there: a path in the share; empty: what is there already
  std::vector<std::string> options = {};  // the mount's attributes in mount(8)'s words

  static void fields(auto& io, auto& mount) {
    io.text("path", mount.path);
    io.optional_text("source", mount.source);
    io.texts("options", mount.options);
  }
};

// --- Requests ---
// `container` is a container's id, and `exec` the name of an exec'ed process in it.

// Builds the container and its first process up to just before execve.
struct Create {
  static constexpr std::string_view kType = "create";
  using Reply = Created;

  std::string container;
  // config.json. `root.path` and the sources of bind mounts are paths in the guest (under kShareMountPoint, or after
  // oci::kInRoot). `hooks` has startContainer alone.
  Json config = {};
  StdioWanted stdio = {};
  // Holds for every process of the container, exec'ed ones as well. linux.seccomp is not in `config` then.
  std::optional<SeccompProgram> seccomp = {};
  std::string bundle = {};                  // what the startContainer hooks are told
  std::vector<HostMount> host_mounts = {};  // the upper before the lower
  // There is to be a datagram socket kNotifyName in kNotifyDirectory/ID for sd_notify(3). A bind mount has to show it
  // to the container.
  bool notify = false;
  // Namespaces of config.linux.namespaces that are those of other containers here: ids by the namespace's type. With a
  // mount namespace among them the container has the other's root filesystem and mounts. If "network" is none of them,
  // a network namespace of the configuration is a new one.
  Texts joins = {};
  std::optional<Network> network = {};  // of the machine, or of the container's own network namespace
  // Keys by index: config.mounts[INDEX] is a tmpfs, and the same one for all containers that name the key.
  Texts shared_mounts = {};

  static void fields(auto& io, auto& create) {
    io.text("container", create.container);
    io.document("config", create.config);
    stdio_fields(io, create.stdio);
    io.optional_object("seccomp", create.seccomp);
    io.optional_text("bundle", create.bundle);
    io.optional_objects("hostMounts", create.host_mounts);
    io.optional_flag("notify", create.notify, false);
    io.optional_named_texts("joins", create.joins);
    io.optional_object("network", create.network);
    io.optional_named_texts("sharedMounts", create.shared_mounts);
  }
};

// Releases the first process. The reply comes once its program runs. First its startContainer hooks run; if one fails,
// that is the error, and the process exits with 1. An execve that fails (ENOEXEC) is not an error of this request: a
// line on the process's stderr says so, and the process exits with 1.
struct Start {
  static constexpr std::string_view kType = "start";
  using Reply = Ok;

  std::string container;

  static void fields(auto& io, auto& start) { io.text("container", start.container); }
};

// Makes another process of a container, up to just before execve. In a paused container that is an error (EBUSY); with
// `ignore_paused` the reply comes when the container is resumed.
struct Exec {
  static constexpr std::string_view kType = "exec";
  using Reply = Created;

  std::string container = {}, exec = {};  // the name is to be unique in the container
  Json process = {};                      // as in config.json
  StdioWanted stdio = {};
  bool ignore_paused = false;
  // A path relative to the container's cgroup. Without it the process is in that cgroup, or, if the container has
  // divided its cgroup, with the first process.
  std::optional<std::string> cgroup = {};

  static void fields(auto& io, auto& exec) {
    io.text("container", exec.container);
    io.text("exec", exec.exec);
    io.document("process", exec.process);
    stdio_fields(io, exec.stdio);
    io.optional_flag("ignorePaused", exec.ignore_paused, false);
    io.optional_text("cgroup", exec.cgroup);
  }
};

// Releases an exec'ed process. The reply comes once its program runs.
struct Release {
  static constexpr std::string_view kType = "release";
  using Reply = Ok;

  std::string container = {}, exec = {};

  static void fields(auto& io, auto& release) {
    io.text("container", release.container);
    io.text("exec", release.exec);
  }
};

// Sets the size of a terminal's window.
struct Resize {
  static constexpr std::string_view kType = "resize";
  using Reply = Ok;

  std::string container;
  std::optional<std::string> exec = {};
  uint16_t rows = 0, columns = 0;

  static void fields(auto& io, auto& resize) {
    io.text("container", resize.container);
    io.optional_text("exec", resize.exec);
    io.number("rows", resize.rows, 0, UINT16_MAX);
    io.number("columns", resize.columns, 0, UINT16_MAX);
  }
};

// Sends a signal to one process, or to all of the container.
struct Kill {
  static constexpr std::string_view kType = "kill";
  using Reply = Ok;

  std::string container;
  std::optional<std::string> exec = {};
  int signal = 0;
  bool all = false;

  static void fields(auto& io, auto& kill) {
    io.text("container", kill.container);
    io.optional_text("exec", kill.exec);
    io.number("signal", kill.signal, 0, kMaxSignal);
    io.flag("all", kill.all);
  }
};

struct State {
  static constexpr std::string_view kType = "state";
  using Reply = StateReply;

  std::string container;

  static void fields(auto& io, auto& state) { io.text("container", state.container); }
};

// Kills and removes a container. The reply comes when nothing of it is left.
struct Delete {
  static constexpr std::string_view kType = "delete";
  using Reply = Ok;

  std::string container;

  static void fields(auto& io, auto& request) { io.text("container", request.container); }
};

// Freezes the container's cgroup. The reply comes once all processes stand still.
struct Pause {
  static constexpr std::string_view kType = "pause";
  using Reply = Ok;

  std::string container;

  static void fields(auto& io, auto& pause) { io.text("container", pause.container); }
};

struct Resume {
  static constexpr std::string_view kType = "resume";
  using Reply = Ok;

  std::string container;

  static void fields(auto& io, auto& resume) { io.text("container", resume.container); }
};

// Lists the processes of the container's cgroup and of the cgroups below it.
struct Processes {
  static constexpr std::string_view kType = "processes";
  using Reply = ProcessesReply;

  std::string container;

  static void fields(auto& io, auto& request) { io.text("container", request.container); }
};

// Reads /proc of the container's pid namespace, as far as proc_files.h names it.
struct Procfs {
  static constexpr std::string_view kType = "procfs";
  using Reply = ProcfsReply;

  std::string container;

  static void fields(auto& io, auto& request) { io.text("container", request.container); }
};

struct Statistics {
  static constexpr std::string_view kType = "statistics";
  using Reply = StatisticsReply;

  std::string container;

  static void fields(auto& io, auto& request) { io.text("container", request.container); }
};

// Asks for Oom events on this connection.
struct Watch {
  static constexpr std::string_view kType = "watch";
  using Reply = Ok;

  std::string container;

  static void fields(auto& io, auto& watch) { io.text("container", watch.container); }
};

// Sets what is in `resources` and not zero or empty. On an error nothing is changed.
struct Update {
  static constexpr std::string_view kType = "update";
  using Reply = Ok;

  std::string container;
  Json resources = Json::object();  // linux.resources of config.json
  std::optional<int> cpus = {};     // how many of the machine's CPUs are to be online

  static void fields(auto& io, auto& update) {
    io.text("container", update.container);
    io.document("resources", update.resources);
    io.optional_number("cpus", update.cpus, 1, kMaxCpus);
  }
};

// Shows in the share what the host has mounted since. The mount appears in those mounts of the container that follow
// the share's.
struct Mount {
  static constexpr std::string_view kType = "mount";
  using Reply = Ok;

  std::string container;
  HostMount mount = {};

  static void fields(auto& io, auto& request) {
    io.text("container", request.container);
    HostMount::fields(io, request.mount);
  }
};

// Takes away what a Mount request has put there.
struct Unmount {
  static constexpr std::string_view kType = "unmount";
  using Reply = Ok;

  std::string container;
  std::string path = {};  // in the share

  static void fields(auto& io, auto& request) {
    io.text("container", request.container);
    io.text("path", request.path);
  }
};

// --- Events ---

// How much of a process's output was put on its streams before the event. Output of processes that live on may follow.
struct Sent {
  uint64_t out = 0, err = 0;
  std::vector<uint64_t> passed = {};  // of the descriptors 3 and up

  static void fields(auto& io, auto& sent) {
    io.number("stdout", sent.out, 0);
    io.number("stderr", sent.err, 0);
    io.optional_numbers("passed", sent.passed);
  }
};

// A process has ended; comes once. For the first process all of the container's processes are gone, and its file
// systems are synced. A process whose output the host does not take is not reported before the output is taken, its
// stream is closed, or its container is deleted.
struct Exited {
  static constexpr std::string_view kType = "exited";

  std::string container;
  std::optional<std::string> exec = {};
  ExitStatus exit = {};
  Sent sent = {};

  static void fields(auto& io, auto& exited) {
    io.text("container", exited.container);
    io.optional_text("exec", exited.exec);
    ExitStatus::fields(io, exited.exit);
    io.object("sent", exited.sent);
  }
};

// The kernel has killed a process because memory was used up. Comes on the connection that created the container and on
// those that watch, before the Exited event of the process that was killed.
struct Oom {
  static constexpr std::string_view kType = "oom";

  std::string container;

  static void fields(auto& io, auto& oom) { io.text("container", oom.container); }
};

// The container has said that it is ready (Create::notify). Comes once, on the connection that created the container.
struct Ready {
  static constexpr std::string_view kType = "ready";

  std::string container;

  static void fields(auto& io, auto& ready) { io.text("container", ready.container); }
};

// --- Encoding ---

inline std::string_view type_of(const Json& message) {
  auto type = message.find("type");
  return type != message.end() && type->is_string() ? std::string_view(type->get_ref<const std::string&>()) : "";
}

template <typename Message>
Json encode(const Message& message) {
  FieldWriter writer;
  Message::fields(writer, message);
  Json json = writer.take();
  json["type"] = Message::kType;
  return json;
}

// What a request has come to, as its reply.
template <typename Reply>
Json encode_outcome(const Result<Reply>& outcome) {
  return outcome ? encode(*outcome) : encode(ErrorReply::from(outcome.error()));
}
inline Json encode_outcome(const Result<void>& outcome) {
  return outcome ? encode(Ok{}) : encode(ErrorReply::from(outcome.error()));
}

// Checks a message that somebody else has sent, whose "type" the caller has looked at.
template <typename Message>
Result<Message> decode(Json json) {
  Message message;
  std::optional<Error> error = {};
  FieldReader reader(json, std::string(Message::kType), error);
  if (!error) Message::fields(reader, message);
  if (error) return std::unexpected(std::move(*error));
  return message;
}

// Fails with what an "error" reply says, or if the message is of another type than `wanted`.
Result<void> check_reply(Json& message, std::string_view wanted);

template <typename Reply>
Result<Reply> decode_reply(Json message) {
  TRY(check_reply(message, Reply::kType));
  return decode<Reply>(std::move(message));
}

}  // namespace nacre::protocol
