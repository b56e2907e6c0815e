// SPDX-License-Identifier: Apache-2.0
// Runs scenarios of system calls twice, on a plain directory and on a shared one, and compares the results.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "devices/virtio/fs/testing/fs_calls.h"

namespace nacre::virtio::fs {

using Log = std::vector<std::string>;

// Makes the calls of a scenario and notes what each call returned.
class Script {
 public:
  Script(Calls& calls, const std::string& directory) : calls_(calls), directory_(directory) {}

  Calls* operator->() { return &calls_; }
  // Notes the result of a call, if it is to be the same in both runs.
  int64_t number(const std::string& what, int64_t result) {
    log.push_back(what + " = " + (result < 0 ? error_text(static_cast<int>(-result)) : std::to_string(result)));
    return result;
  }
  // Notes whether a call succeeded. This is for descriptors, whose numbers differ between the runs.
  int64_t done(const std::string& what, int64_t result) {
    log.push_back(what + " = " + (result < 0 ? error_text(static_cast<int>(-result)) : "done"));
    return result;
  }
  void text(const std::string& what, const std::string& result) { log.push_back(what + " = " + result); }
  void names(const std::string& what, const std::vector<std::string>& result) {
    log.push_back(what);
    log.insert(log.end(), result.begin(), result.end());
  }
  // Makes a file with this content and closes it.
  void file(const std::string& path, const std::string& content, mode_t mode = 0644);
  // Notes the mode that the file has on the host now.
  void mode(const std::string& path);

  Log log;

 private:
  Calls& calls_;
  std::string directory_;
};

// Checks that GETATTR reports the same attributes for each path as lstat(2) on the host.
void check_attributes(GuestCalls& calls, const std::string& directory);

// Runs the scenario on a plain directory, and through a guest on a shared one. Checks that the calls returned the same,
// that both trees look the same on the host afterwards, and that the server holds nothing once the guest has closed and
// forgotten everything.
void compare(const std::function<void(Script&)>& scenario);

}  // namespace nacre::virtio::fs
