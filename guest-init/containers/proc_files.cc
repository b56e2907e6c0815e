// SPDX-License-Identifier: Apache-2.0
#include "guest-init/containers/proc_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mount.h"
#include "base/subprocess.h"
#include "guest-init/kernel/text.h"
#include "guest-init/protocol/proc_files.h"

namespace nacre::guest {

namespace {

using protocol::Texts;

constexpr size_t kMaxProcFile = 4096;
// Of all together, as they are in the reply.
constexpr size_t kMaxAll = protocol::ProcfsReply::kLimits.bytes - 4096;
constexpr size_t kNameRoom = 32;  // for the name of a file or link, or the number of a process

// Makes a /proc of the calling process's pid namespace that nobody else sees. The container's own /proc may be
// anything, or absent.
Result<Fd> open_procfs() {
  return make_filesystem("proc", "", {}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

// Lists all processes but the calling one, which is not the container's.
std::vector<int> list_pids(const Fd& procfs) {
  std::vector<int> pids;
  auto listed = open_at(procfs.get(), ".", O_RDONLY | O_DIRECTORY);
  if (!listed) return pids;
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(listed->release()), ::closedir);
  if (!directory) return pids;
  while (dirent* entry = ::readdir(directory.get())) {
    if (int pid = std::atoi(entry->d_name); pid > 0 && pid != ::getpid()) pids.push_back(pid);
  }
  return pids;
}

// Takes the text's size from `room`; if it does not fit, `room` becomes 0.
void add(Texts& texts, std::string_view name, std::string text, size_t& room) {
  size_t size = protocol::encoded_size(text) + kNameRoom;
  if (size <= room) texts[std::string(name)] = std::move(text);
  room -= std::min(room, size);
}

template <size_t N>
Texts read_files(const Fd& procfs, const std::string& directory, const std::array<std::string_view, N>& names,
                 size_t& room) {
  Texts files;
  for (std::string_view name : names) {
    auto text = read_start(procfs.get(), directory + std::string(name), kMaxProcFile);
    if (text) add(files, name, std::move(*text), room);
  }
  return files;
}

Texts read_links(const Fd& procfs, const std::string& directory, size_t& room) {
  Texts links;
  for (std::string_view name : protocol::kNamespaceLinks) {
    std::array<char, 64> target;
    std::string path = directory + std::string(name);
    ssize_t length = ::readlinkat(procfs.get(), path.c_str(), target.data(), target.size());
    if (length > 0) add(links, name, std::string(target.data(), static_cast<size_t>(length)), room);
  }
  return links;
}

Result<protocol::ProcfsReply> read_all_processes() {
  Fd procfs = TRY(open_procfs());
  size_t room = kMaxAll;
  protocol::ProcfsReply reply{.machine = read_files(procfs, "", protocol::kMachineFiles, room)};
  for (int pid : list_pids(procfs)) {
    std::string name = std::to_string(pid);
    protocol::ProcessFiles process{.files = read_files(procfs, name + "/", protocol::kProcessFiles, room)};
    if (!process.files.contains("stat")) continue;  // it has ended
    process.namespaces = read_links(procfs, name + "/ns/", room);
    room -= std::min(room, 2 * kNameRoom);
    if (room == 0) break;
    reply.processes[name] = std::move(process);
  }
  return reply;
}

constexpr int kReply = STDERR_FILENO + 1;

void answer(const Result<protocol::ProcfsReply>& read) {
  auto frame =
      protocol::to_frame(read ? protocol::encode(*read) : protocol::encode(protocol::ErrorReply::from(read.error())));
  if (frame) (void)write_all(kReply, *frame);
}

// Reads from inside the container's pid namespace. Only a child can be in there, and the container's processes can stop
// it before its first step, or try to take hold of it. So it has nothing open but the pipe of its reply, and its parent
// ends it in time.
[[noreturn]] void look_from_inside(pid_t pid, int pipe, unsigned seconds) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  auto entered = [pid]() -> Result<void> {
    Fd target = TRY(open_file("/proc/" + std::to_string(pid) + "/ns/pid", O_RDONLY));
    if (::setns(target.get(), CLONE_NEWPID) < 0) return fail_errno("join the container's pid namespace");
    return {};
  }();
  ::dup2(pipe, kReply);
  ::close_range(kReply + 1, ~0u, 0);
  if (!entered) {
    answer(std::unexpected(entered.error()));
    ::_exit(1);
  }
  pid_t child = ::fork();
  if (child == 0) {
    answer(read_all_processes());
    ::_exit(0);
  }
  if (child < 0) answer(fail_errno("fork"));
  ::close(kReply);
  auto pidfd = open_pidfd(child);
  pollfd end{.fd = pidfd ? pidfd->get() : -1, .events = POLLIN, .revents = 0};
  if (pidfd && ::poll(&end, 1, static_cast<int>(seconds) * 1000) == 0) (void)signal_pidfd(pidfd->get(), SIGKILL);
  ::_exit(0);
}

Result<std::string> read_inside(pid_t pid) {
  // A second less than this helper has.
  unsigned seconds = ::alarm(0);
  ::alarm(seconds);
  Pipe pipe = TRY(make_pipe());
  pid_t child = ::fork();
  if (child < 0) return fail_errno("fork");
  if (child == 0) look_from_inside(pid, pipe.write.get(), seconds > 1 ? seconds - 1 : 1);
  pipe.write.reset();
  auto text = read_fd(pipe.read.get());
  TRY(wait_for(child));
  return text;
}

}  // namespace

Result<protocol::ProcfsReply> read_proc_files(pid_t pid) {
  std::string frame = TRY(read_inside(pid));
  protocol::Decoder decoder(protocol::ProcfsReply::kLimits);
  decoder.append(std::as_bytes(std::span(frame)));
  auto message = TRY(decoder.next());
  if (message.is_null()) return fail("the guest could not do this in time", ETIMEDOUT);
  return protocol::decode_reply<protocol::ProcfsReply>(std::move(message));
}

}  // namespace nacre::guest
