// SPDX-License-Identifier: Apache-2.0
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
  // Static, because the kernel reads the text whenever somebody looks.
  static std::string title;
  title.clear();
  for (const nlohmann::json& argument : args) title += argument.get<std::string>() + '\0';
  if (title.size() > kMaxTitle) title.resize(kMaxTitle);
  const char* begin = title.data();
  const char* end = begin + title.size();
  // The order matters, because the kernel wants the start below the end at every moment. The title is in the heap,
  // below the stack with the arguments of execve.
  set_bound(PR_SET_MM_ARG_START, begin);
  set_bound(PR_SET_MM_ARG_END, end);
}

}  // namespace nacre::runtime
