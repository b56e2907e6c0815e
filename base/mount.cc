// SPDX-License-Identifier: Apache-2.0
#include "base/mount.h"

#include <sys/mount.h>
#include <unistd.h>

#include <array>

namespace nacre {

namespace {

// Returns the error in the file system's words if it has any, such as "tmpfs: Bad value for 'size'"; otherwise errno's.
std::unexpected<Error> context_error(int context, const std::string& step) {
  int code = errno;
  std::array<char, 512> text;
  ssize_t n = ::read(context, text.data(), text.size() - 1);
  if (n > 2 && text[1] == ' ') {
    std::string line(text.data() + 2, static_cast<size_t>(n) - 2);
    while (!line.empty() && line.back() == '\n') line.pop_back();
    return fail_errno(step + ": " + line, code);
  }
  return fail_errno(step, code);
}

}  // namespace

Result<Fd> make_filesystem(const std::string& type, const std::string& source, const std::vector<std::string>& options,
                           uint64_t attributes) {
  Fd context(::fsopen(type.c_str(), FSOPEN_CLOEXEC));
  if (!context) return fail_errno("file system " + type);
  if (!source.empty() && ::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", source.c_str(), 0) < 0) {
    return context_error(context.get(), "source " + source);
  }
  for (const std::string& option : options) {
    size_t equals = option.find('=');
    int result = equals == std::string::npos
                     ? ::fsconfig(context.get(), FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0)
                     : ::fsconfig(context.get(), FSCONFIG_SET_STRING, option.substr(0, equals).c_str(),
                                  option.c_str() + equals + 1, 0);
    if (result < 0) return context_error(context.get(), "option " + option);
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) {
    return context_error(context.get(), "create");
  }
  Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount) return context_error(context.get(), "fsmount");
  return mount;
}

Result<Fd> clone_tree(int directory, const std::string& path, bool recursive) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u);
  Fd tree(::open_tree(directory, path.c_str(), flags));
  if (!tree) return fail_errno("bind " + path);
  return tree;
}

}  // namespace nacre
