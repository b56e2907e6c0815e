// Directories of cgroups and the files in them, of either version.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace nacre::runtime {

// "a/../../b" as seen from "/": "/b"; "" for the root.
std::string clean_path(const std::string& path);

// A file's content without the line's end; "" if it cannot be read.
std::string content_of(const std::string& path);

// Errors have runc's words.
Result<void> write_to(const std::string& path, const std::string& text);

// mkdir(2), noted in `made`; one that is there already is as good.
Result<void> make_directory(const std::string& path, std::vector<std::string>& made);

// In the reverse order.
void unmake(const std::vector<std::string>& made);

// Pids, without those of cgroups below; none if there is no such cgroup.
std::vector<pid_t> pids_in(const std::string& directory);

// An error, in runc's words, for a cgroup that others use; none if there is no such cgroup.
Result<void> check_empty(const std::string& directory);

// Calls `remove`, which does as rmdir(2) does, while a cgroup is busy, for two seconds at most: a process leaves its
// cgroup a moment after its end can be seen, and on a busy host a long one. False: it failed, as errno says.
bool remove_patiently(const std::function<bool()>& remove);

// With what is below it, and with patience.
void remove_directory(const std::string& directory);

}  // namespace nacre::runtime
