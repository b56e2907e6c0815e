// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/ps/table.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace nacre::ps {

namespace {

constexpr int64_t kMinute = 60, kHour = 60 * kMinute, kDay = 24 * kHour;

// Returns the length of UTF-8 text in characters.
size_t length(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string text(int64_t number) {
  return std::to_string(number);
}

std::string two_digits(int64_t number) {
  return (number < 10 ? "0" : "") + text(number);
}

std::string one_decimal(double number) {
  std::array<char, 64> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.1f", number);
  return buffer.data();
}

// Returns the user's name on the host: under runc, ps is the host's program.
std::string user(uint32_t uid) {
  const passwd* entry = ::getpwuid(uid);
  return entry != nullptr ? entry->pw_name : std::to_string(uid);
}

std::string group(uint32_t gid) {
  const ::group* entry = ::getgrgid(gid);
  return entry != nullptr ? entry->gr_name : std::to_string(gid);
}

// Returns the CPU time in seconds.
int64_t cpu_time(const Process& p, const Listing& l) {
  return (p.user_time + p.system_time) / l.hertz;
}

int64_t elapsed(const Process& p, const Listing& l) {
  return std::max<int64_t>(0, l.uptime / 1000 - p.start_time / l.hertz);
}

double cpu_percent(const Process& p, const Listing& l) {
  int64_t seconds = elapsed(p, l);
  double used = static_cast<double>(p.user_time + p.system_time) / static_cast<double>(l.hertz);
  return seconds == 0 ? 0 : used * 100 / static_cast<double>(seconds);
}

double memory_percent(const Process& p, const Listing& l) {
  if (l.memory == 0) return 0;
  return std::min(99.9, static_cast<double>(p.rss) * static_cast<double>(l.page) * 100 / static_cast<double>(l.memory));
}

std::string clock_text(int64_t seconds, bool hours) {
  std::string days = seconds >= kDay ? text(seconds / kDay) + "-" : "";
  bool show_hours = hours || seconds >= kHour;
  return days + (show_hours ? two_digits(seconds % kDay / kHour) + ":" : "") + two_digits(seconds % kHour / kMinute) +
         ":" + two_digits(seconds % kMinute);
}

std::string minutes(int64_t seconds) {
  return text(seconds / kMinute) + ":" + two_digits(seconds % kMinute);
}

std::string time_text(std::time_t time, const char* format) {
  std::tm local{};
  ::localtime_r(&time, &local);
  std::array<char, 64> buffer{};
  std::strftime(buffer.data(), buffer.size(), format, &local);
  return buffer.data();
}

// Returns the hour of the start; the day, if it was another day; or the year, if it was another year.
std::string start(const Process& p, const Listing& l) {
  std::time_t started = l.now - elapsed(p, l);
  std::tm then{}, now{};
  ::localtime_r(&started, &then);
  ::localtime_r(&l.now, &now);
  if (then.tm_year != now.tm_year) return time_text(started, "%Y");
  return time_text(started, then.tm_yday == now.tm_yday ? "%H:%M" : "%b%d");
}

// Returns the kernel's name (devices.txt) of a terminal's device number (proc(5)).
std::string tty(const Process& p) {
  int64_t major = p.tty >> 8 & 0xff, minor = (p.tty & 0xff) | (p.tty >> 12 & 0xfff00);
  constexpr int64_t kFirstPty = 136, kLastPty = 143, kVirtual = 4, kFirstSerial = 64, kOwn = 5, kHvc = 229;
  if (major >= kFirstPty && major <= kLastPty) return "pts/" + text(minor + (major - kFirstPty) * 256);
  if (major == kVirtual) return minor < kFirstSerial ? "tty" + text(minor) : "ttyS" + text(minor - kFirstSerial);
  if (major == kOwn && minor == 1) return "console";
  if (major == kHvc) return "hvc" + text(minor);
  return "?";
}

std::string stat(const Process& p) {
  std::string flags(1, p.state);
  if (p.nice != 0) flags += p.nice < 0 ? '<' : 'N';
  if (p.session == p.pid) flags += 's';
  if (p.threads > 1) flags += 'l';
  if (p.tpgid > 0 && p.tpgid == p.pgrp) flags += '+';
  return flags;
}

std::string name(const Process& p) {
  return p.state == 'Z' ? p.name + " <defunct>" : p.name;
}

std::string args(const Process& p) {
  if (p.state == 'Z') return "[" + p.name + "] <defunct>";
  return p.args.empty() ? "[" + p.name + "]" : p.args;
}

using P = const Process&;
using L = const Listing&;

// The columns, as in ps(1), "standard format specifiers".
constexpr ColumnKind kColumns[] = {
    {"%cpu", "%CPU", true, 4, [](P p, L l) { return one_decimal(cpu_percent(p, l)); }},
    {"%mem", "%MEM", true, 4, [](P p, L l) { return one_decimal(memory_percent(p, l)); }},
    {"args", "COMMAND", false, 27, [](P p, L) { return args(p); }},
    {"bsdstart", "START", true, 6, [](P p, L l) { return start(p, l); }},
    {"bsdtime", "TIME", true, 6, [](P p, L l) { return minutes(cpu_time(p, l)); }},
    {"c", "C", true, 2, [](P p, L l) { return text(static_cast<int64_t>(std::min(99.0, cpu_percent(p, l)))); }},
    {"cmd", "CMD", false, 27, [](P p, L) { return args(p); }},
    {"comm", "COMMAND", false, 15, [](P p, L) { return name(p); }},
    {"command", "COMMAND", false, 27, [](P p, L) { return args(p); }},
    {"cputime", "TIME", true, 8, [](P p, L l) { return clock_text(cpu_time(p, l), true); }},
    {"egid", "EGID", true, 5, [](P p, L) { return text(p.egid); }},
    {"egroup", "EGROUP", false, 8, [](P p, L) { return group(p.egid); }},
    {"etime", "ELAPSED", true, 11, [](P p, L l) { return clock_text(elapsed(p, l), false); }},
    {"etimes", "ELAPSED", true, 7, [](P p, L l) { return text(elapsed(p, l)); }},
    {"euid", "EUID", true, 5, [](P p, L) { return text(p.euid); }},
    {"euser", "EUSER", false, 8, [](P p, L) { return user(p.euid); }},
    {"gid", "GID", true, 5, [](P p, L) { return text(p.egid); }},
    {"group", "GROUP", false, 8, [](P p, L) { return group(p.egid); }},
    {"lstart", "STARTED", true, 24, [](P p, L l) { return time_text(l.now - elapsed(p, l), "%a %b %e %H:%M:%S %Y"); }},
    {"ni", "NI", true, 3, [](P p, L) { return text(p.nice); }},
    {"nice", "NI", true, 3, [](P p, L) { return text(p.nice); }},
    {"nlwp", "NLWP", true, 4, [](P p, L) { return text(p.threads); }},
    {"pcpu", "%CPU", true, 4, [](P p, L l) { return one_decimal(cpu_percent(p, l)); }},
    {"pgid", "PGID", true, 7, [](P p, L) { return text(p.pgrp); }},
    {"pgrp", "PGRP", true, 7, [](P p, L) { return text(p.pgrp); }},
    {"pid", "PID", true, 7, [](P p, L) { return text(p.pid); }},
    {"pmem", "%MEM", true, 4, [](P p, L l) { return one_decimal(memory_percent(p, l)); }},
    {"ppid", "PPID", true, 7, [](P p, L) { return text(p.ppid); }},
    {"pri", "PRI", true, 3, [](P p, L) { return text(39 - p.priority); }},
    {"psr", "PSR", true, 3, [](P p, L) { return text(p.cpu); }},
    {"rgid", "RGID", true, 5, [](P p, L) { return text(p.rgid); }},
    {"rgroup", "RGROUP", false, 8, [](P p, L) { return group(p.rgid); }},
    {"rss", "RSS", true, 5, [](P p, L l) { return text(p.rss * (l.page / 1024)); }},
    {"rssize", "RSS", true, 5, [](P p, L l) { return text(p.rss * (l.page / 1024)); }},
    {"ruid", "RUID", true, 5, [](P p, L) { return text(p.ruid); }},
    {"ruser", "RUSER", false, 8, [](P p, L) { return user(p.ruid); }},
    {"s", "S", false, 1, [](P p, L) { return std::string(1, p.state); }},
    {"sess", "SESS", true, 7, [](P p, L) { return text(p.session); }},
    {"sid", "SID", true, 7, [](P p, L) { return text(p.session); }},
    {"start", "STARTED", true, 8,
     [](P p, L l) { return time_text(l.now - elapsed(p, l), elapsed(p, l) < kDay ? "%H:%M:%S" : "%b %d"); }},
    {"start_time", "START", true, 5, [](P p, L l) { return start(p, l); }},
    {"stat", "STAT", false, 4, [](P p, L) { return stat(p); }},
    {"state", "S", false, 1, [](P p, L) { return std::string(1, p.state); }},
    {"stime", "STIME", true, 5, [](P p, L l) { return start(p, l); }},
    {"sz", "SZ", true, 5, [](P p, L l) { return text(p.vsize / l.page); }},
    {"thcount", "THCNT", true, 5, [](P p, L) { return text(p.threads); }},
    {"time", "TIME", true, 8, [](P p, L l) { return clock_text(cpu_time(p, l), true); }},
    {"tname", "TTY", false, 8, [](P p, L) { return tty(p); }},
    {"tt", "TT", false, 8, [](P p, L) { return tty(p); }},
    {"tty", "TT", false, 8, [](P p, L) { return tty(p); }},
    {"ucmd", "CMD", false, 15, [](P p, L) { return name(p); }},
    {"ucomm", "COMMAND", false, 15, [](P p, L) { return name(p); }},
    {"uid", "UID", true, 5, [](P p, L) { return text(p.euid); }},
    {"uname", "USER", false, 8, [](P p, L) { return user(p.euid); }},
    {"user", "USER", false, 8, [](P p, L) { return user(p.euid); }},
    {"vsize", "VSZ", true, 6, [](P p, L) { return text(p.vsize / 1024); }},
    {"vsz", "VSZ", true, 6, [](P p, L) { return text(p.vsize / 1024); }},
};

}  // namespace

const ColumnKind* find_column(std::string_view name) {
  auto found = std::ranges::find(kColumns, name, &ColumnKind::name);
  return found == std::end(kColumns) ? nullptr : found;
}

std::string to_table(const std::vector<Column>& columns, const Listing& listing) {
  std::vector<std::vector<std::string>> rows(1);
  for (const Column& column : columns) rows[0].push_back(column.header);
  for (const Process& process : listing.processes) {
    rows.emplace_back();
    for (const Column& column : columns) rows.back().push_back(column.kind->cell(process, listing));
  }
  std::string table;
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns.size(); i++) {
    size_t width = columns[i].kind->width;
    for (const auto& row : rows) width = std::max(width, length(row[i]));
    widths.push_back(width);
  }
  for (const auto& row : rows) {
    for (size_t i = 0; i < columns.size(); i++) {
      std::string padding(widths[i] - length(row[i]), ' ');
      if (i > 0) table += ' ';
      bool last = i + 1 == columns.size();
      table += columns[i].kind->right ? padding + row[i] : row[i] + (last ? "" : padding);
    }
    table += '\n';
  }
  return table;
}

}  // namespace nacre::ps
