// SPDX-License-Identifier: Apache-2.0
// Checks and parses what the guest reports about processes. The guest is not trusted.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

#include "base/result.h"
#include "guest-init/protocol/messages.h"

namespace nacre::ps {

// The fields of /proc/PID/stat (proc(5)). Times are in clock ticks.
struct Process {
  int64_t pid = 0, ppid = 0, pgrp = 0, session = 0, tty = 0, tpgid = 0;
  char state = '?';
  int64_t user_time = 0, system_time = 0, priority = 0, nice = 0, threads = 0;
  int64_t start_time = 0;  // since the guest's boot
  int64_t vsize = 0;       // bytes
  int64_t rss = 0;         // pages
  int64_t cpu = 0;
  uint32_t ruid = 0, euid = 0, rgid = 0, egid = 0;
  std::string name, args;  // printable
};

struct Listing {
  int64_t hertz = 100;
  int64_t page = 4096;  // bytes
  int64_t uptime = 0;   // milliseconds
  int64_t memory = 0;   // bytes
  std::time_t now = 0;  // the host's time at `uptime`
  std::vector<Process> processes = {};
};

// Checks and parses the texts of the reply.
Result<Listing> parse_listing(const protocol::ProcessesReply& reply);

}  // namespace nacre::ps
