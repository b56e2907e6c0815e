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
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/mount.h"
#include "base/subprocess.h"
#include "guest-init/kernel/text.h"
#include "guest-init/protocol/proc_files.h"
#include "guest-init/protocol/protocol.h"

namespace nacre::guest {

namespace {

using Json = protocol::Json;

constexpr size_t kMaxText = 4096;
// Of all together, so that the reply stays below a frame even where every byte has to be escaped.
constexpr size_t kMaxAll = 2 << 20;

// A file system that nobody else sees, of the pid namespace that we are in. Not the container's own /proc: that may be
// anything, or absent.
Result<Fd> open_procfs() {
  return make_filesystem("proc", "", {}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

// All but our own, which is none of the container's.
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

template <size_t N>
Json read_files(const Fd& procfs, const std::string& directory, const std::array<std::string_view, N>& names,
                size_t& room) {
  Json files = Json::object();
  for (std::string_view name : names) {
    auto text = read_start(procfs.get(), directory + std::string(name), std::min(room, kMaxText));
    if (!text) continue;
    room -= text->size();
    files[std::string(name)] = std::move(*text);
  }
  return files;
}

Json read_links(const Fd& procfs, const std::string& directory) {
  Json links = Json::object();
  for (std::string_view name : protocol::kNamespaceLinks) {
    std::array<char, 64> target;
    std::string path = directory + std::string(name);
    ssize_t length = ::readlinkat(procfs.get(), path.c_str(), target.data(), target.size());
    if (length > 0) links[std::string(name)] = std::string(target.data(), static_cast<size_t>(length));
  }
  return links;
}

Result<Json> read_all_processes() {
  Fd procfs = TRY(open_procfs());
  size_t room = kMaxAll;
  Json machine = read_files(procfs, "", protocol::kMachineFiles, room);
  Json processes = Json::object();
  for (int pid : list_pids(procfs)) {
    std::string name = std::to_string(pid);
    Json files = read_files(procfs, name + "/", protocol::kProcessFiles, room);
    if (room == 0) break;
    if (!files.contains("stat")) continue;  // it has ended
    processes[name] = {{"files", std::move(files)}, {"namespaces", read_links(procfs, name + "/ns/")}};
  }
  return Json{{"type", "procfs"}, {"machine", std::move(machine)}, {"processes", std::move(processes)}};
}

constexpr int kReply = STDERR_FILENO + 1;

void answer(const Result<Json>& read) {
  Json reply = read ? *read : protocol::error_message(read.error().message(), read.error().code());
  (void)write_all(kReply, reply.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// Only a child can be in the namespace, where the container's processes can stop it before its first step, or try to
// take hold of it. So it has nothing open but the pipe of its reply, and whoever makes it ends it in time.
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
  // A second less than we have ourselves.
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

Json read_proc_files(pid_t pid) {
  auto text = read_inside(pid);
  if (!text) return protocol::error_message(text.error().message(), text.error().code());
  return Json::parse(*text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace nacre::guest
