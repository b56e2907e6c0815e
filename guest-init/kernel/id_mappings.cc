// SPDX-License-Identifier: Apache-2.0
#include "guest-init/kernel/id_mappings.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace nacre::guest {

namespace {

constexpr int64_t kMaxMappedId = UINT32_MAX;

Result<std::vector<IdRange>> parse_ranges(const JsonField& list) {
  std::vector<IdRange> ranges;
  for (const JsonField& entry : TRY(list.list())) {
    IdRange range{};
    range.inside = static_cast<uint32_t>(TRY(TRY(entry.member("containerID")).integer(0, kMaxMappedId)));
    range.outside = static_cast<uint32_t>(TRY(TRY(entry.member("hostID")).integer(0, kMaxMappedId)));
    range.size = static_cast<uint32_t>(TRY(TRY(entry.member("size")).integer(0, kMaxMappedId)));
    ranges.push_back(range);
  }
  return ranges;
}

// Refuses ranges that do not fit, for example because they overlap.
Result<void> write_map(pid_t pid, const char* name, const std::vector<IdRange>& ranges) {
  std::string text;
  for (const IdRange& range : ranges) {
    text +=
        std::to_string(range.inside) + " " + std::to_string(range.outside) + " " + std::to_string(range.size) + "\n";
  }
  Fd file = TRY(open_file("/proc/" + std::to_string(pid) + "/" + name, O_WRONLY));
  TRY_CONTEXT(write_all(file.get(), text), std::string("write ") + name);  // one write(2): the kernel takes no more
  return {};
}

}  // namespace

std::optional<uint32_t> outside_id(const std::vector<IdRange>& ranges, uint32_t inside) {
  for (const IdRange& range : ranges) {
    if (inside >= range.inside && inside - range.inside < range.size) return range.outside + (inside - range.inside);
  }
  return std::nullopt;
}

Result<std::optional<IdMappings>> parse_mappings(const JsonField& object) {
  IdMappings mappings;
  mappings.uids = TRY(parse_ranges(TRY(object.member("uidMappings"))));
  mappings.gids = TRY(parse_ranges(TRY(object.member("gidMappings"))));
  if (mappings.uids.empty() && mappings.gids.empty()) return std::nullopt;
  return mappings;
}

Result<void> write_mappings(pid_t pid, const IdMappings& mappings) {
  TRY(write_map(pid, "uid_map", mappings.uids));
  return write_map(pid, "gid_map", mappings.gids);
}

Result<Fd> make_user_namespace(const IdMappings& mappings) {
  clone_args args{};
  args.flags = CLONE_NEWUSER;
  args.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &args, sizeof(args));
  if (pid < 0) return fail_errno("make a user namespace");
  if (pid == 0) {
    for (;;) ::pause();
  }
  auto holder = static_cast<pid_t>(pid);
  auto made = [&]() -> Result<Fd> {
    TRY(write_mappings(holder, mappings));
    return open_file("/proc/" + std::to_string(holder) + "/ns/user", O_RDONLY);
  }();
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
  return made;
}

}  // namespace nacre::guest
