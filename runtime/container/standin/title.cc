#include "runtime/container/standin/title.h"

#include <sys/prctl.h>

#include <string>

namespace nacre::runtime {

namespace {

constexpr size_t kMaxTitle = 4096;

void set_bound(int which, const char* address) {
  ::prctl(PR_SET_MM, which, address, 0, 0);
}

}  // namespace

void show_command_line(const nlohmann::json& args) {
  // The kernel reads it whenever somebody asks.
  static std::string title;
  title.clear();
  for (const nlohmann::json& argument : args) title += argument.get<std::string>() + '\0';
  if (title.size() > kMaxTitle) title.resize(kMaxTitle);
  const char* begin = title.data();
  const char* end = begin + title.size();
  // At every moment the kernel wants the start below the end. The heap, where the title is, lies below the stack, where
  // the arguments of execve are.
  set_bound(PR_SET_MM_ARG_START, begin);
  set_bound(PR_SET_MM_ARG_END, end);
}

}  // namespace nacre::runtime
