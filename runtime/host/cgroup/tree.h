// SPDX-License-Identifier: Apache-2.0
// Reads, writes, makes and removes directories of cgroups and their files, of either version.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace nacre::runtime {

// Returns the absolute path that a path below "/" means: "/b" for "a/../../b", and "" for the root.
std::string clean_path(const std::string& path);

// Returns a file's content without the final newline, or "" if the file cannot be read.
std::string content_of(const std::string& path);

// Writes `text` to a file. Errors use runc's words.
Result<void> write_to(const std::string& path, const std::string& text);

// Makes a directory with mkdir(2), and adds it to `made`. A directory that exists already is no error.
Result<void> make_directory(const std::string& path, std::vector<std::string>& made);

// Removes directories in the reverse order.
void unmake(const std::vector<std::string>& made);

// Returns the pids in a cgroup, without those of cgroups below. Returns none if there is no such cgroup.
std::vector<pid_t> pids_in(const std::string& directory);

// Fails, in runc's words, if others use the cgroup. Succeeds if there is no such cgroup.
Result<void> check_empty(const std::string& directory);

// Calls `remove`, which behaves like rmdir(2), again while the cgroup is busy, for two seconds at most. A process
// leaves its cgroup a moment after its end can be seen, and later on a busy host. Returns false on a failure, with
// errno set.
bool remove_patiently(const std::function<bool()>& remove);

// Removes a cgroup and the cgroups below it, each with remove_patiently().
void remove_directory(const std::string& directory);

}  // namespace nacre::runtime
