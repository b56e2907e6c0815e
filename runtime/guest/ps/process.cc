// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/ps/process.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/printable.h"

namespace nacre::ps {

namespace {

constexpr size_t kMaxText = 16384;
constexpr int64_t kMax = protocol::ProcessesReply::kMax;

struct StatField {
  size_t number;  // field number in proc(5)
  int64_t Process::* member;
};

constexpr StatField kStatFields[] = {
    {4, &Process::ppid},  {5, &Process::pgrp},       {6, &Process::session},      {7, &Process::tty},
    {8, &Process::tpgid}, {14, &Process::user_time}, {15, &Process::system_time}, {18, &Process::priority},
    {19, &Process::nice}, {20, &Process::threads},   {22, &Process::start_time},  {23, &Process::vsize},
    {24, &Process::rss},  {39, &Process::cpu},
};
constexpr size_t kFirstNumber = 4;
constexpr size_t kLastNumber = 39;

std::unexpected<Error> not_understood(const char* what) {
  return fail(std::string("the guest's answer is not understood: ") + what, EPROTO);
}

// Parses "PID (NAME) STATE NUMBER...". The name may contain anything, so it ends at the last ')'.
Result<void> parse_stat(std::string_view stat, Process& process) {
  size_t open = stat.find(" ("), close = stat.rfind(") ");
  if (open == std::string_view::npos || close == std::string_view::npos || close < open || close + 2 >= stat.size()) {
    return not_understood("stat");
  }
  auto [end, error] = std::from_chars(stat.data(), stat.data() + open, process.pid);
  if (error != std::errc() || end != stat.data() + open || process.pid < 1) return not_understood("pid");
  process.name = printable(stat.substr(open + 2, close - open - 2), '?');
  char state = stat[close + 2];
  process.state = state >= 'A' && state <= 'z' ? state : '?';
  std::array<int64_t, kLastNumber + 1> numbers{};
  const char* at = stat.data() + close + 3;
  const char* last = stat.data() + stat.size();
  for (size_t i = kFirstNumber; i <= kLastNumber; i++) {
    while (at < last && *at == ' ') at++;
    auto [next, failed] = std::from_chars(at, last, numbers[i]);
    if (failed == std::errc::result_out_of_range) {  // unsigned fields, such as rsslim, which no column shows
      numbers[i] = 0;
    } else if (failed != std::errc()) {
      return not_understood("stat");
    }
    at = next;
  }
  for (const StatField& field : kStatFields) process.*field.member = std::clamp(numbers[field.number], -kMax, kMax);
  return {};
}

Result<Process> parse_process(const protocol::ProcessEntry& entry) {
  Process process;
  TRY(parse_stat(entry.stat, process));
  process.ruid = entry.uid.real;
  process.euid = entry.uid.effective;
  process.rgid = entry.gid.real;
  process.egid = entry.gid.effective;
  process.args = printable(std::string_view(entry.args).substr(0, kMaxText), '?');
  return process;
}

}  // namespace

Result<Listing> parse_listing(const protocol::ProcessesReply& reply) {
  Listing listing{.hertz = reply.hertz, .page = reply.page, .uptime = reply.uptime, .memory = reply.memory};
  for (const auto& process : reply.processes) listing.processes.push_back(TRY(parse_process(process)));
  std::ranges::sort(listing.processes, {}, &Process::pid);
  return listing;
}

}  // namespace nacre::ps
