// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "guest-init/child/child.h"

namespace nacre::guest {

namespace {

constexpr const char* kMultiplexer = "/dev/pts/ptmx";  // devpts' own; the image may have anything at /dev/ptmx

// Checks that this is devpts' multiplexer: the image could have put anything in its place.
Result<void> check_multiplexer(int fd) {
  struct stat status;
  struct statfs filesystem;
  if (::fstat(fd, &status) < 0 || ::fstatfs(fd, &filesystem) < 0) return fail_errno("stat");
  if (filesystem.f_type != DEVPTS_SUPER_MAGIC || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(5, 2)) {
    return fail("is not a devpts multiplexer", ENODEV);
  }
  return {};
}

Result<void> configure(int slave, const TerminalSpec& spec) {
  winsize size{};
  size.ws_row = spec.rows;
  size.ws_col = spec.columns;
  if (::ioctl(slave, TIOCSWINSZ, &size) < 0) return fail_errno("set the terminal's size");
  if (spec.newlines) return {};
  termios settings;
  if (::tcgetattr(slave, &settings) < 0) return fail_errno("tcgetattr");
  settings.c_oflag &= ~static_cast<tcflag_t>(ONLCR);
  if (::tcsetattr(slave, TCSANOW, &settings) < 0) return fail_errno("tcsetattr");
  return {};
}

}  // namespace

Result<Terminal> open_terminal(const Rootfs& root, const TerminalSpec& spec, uid_t owner) {
  // O_PATH first: opening some other device could have effects.
  Fd found = TRY(root.open(kMultiplexer, O_PATH | O_NOFOLLOW));
  TRY_CONTEXT(check_multiplexer(found.get()), kMultiplexer);
  Terminal terminal;
  terminal.master = TRY(root.open(kMultiplexer, O_RDWR | O_NOCTTY | O_NOFOLLOW));
  TRY_CONTEXT(check_multiplexer(terminal.master.get()), kMultiplexer);
  int locked = 0;
  if (::ioctl(terminal.master.get(), TIOCSPTLCK, &locked) < 0) return fail_errno("unlock a terminal");
  terminal.slave.reset(::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave) return fail_errno("open a terminal");
  if (::fchown(terminal.slave.get(), owner, static_cast<gid_t>(-1)) < 0) return fail_errno("chown a terminal");
  TRY(configure(terminal.slave.get(), spec));
  return terminal;
}

Result<void> bind_console(const Rootfs& root, const Terminal& terminal) {
  // The image may have a link there, over whose target nothing is to be mounted.
  Fd target = TRY(root.make_plain_file("/dev/console"));
  Fd tree(::open_tree(terminal.slave.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!tree) return fail_errno("bind the terminal");
  if (::move_mount(tree.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
    return fail_errno("attach");
  }
  return {};
}

Result<void> take_terminal(const Terminal& terminal) {
  if (::ioctl(terminal.slave.get(), TIOCSCTTY, 0) < 0) return fail_errno("take the terminal");
  for (int number = 0; number < 3; number++) {
    if (::dup2(terminal.slave.get(), number) < 0) return fail_errno("dup2");
  }
  return {};
}

}  // namespace nacre::guest
