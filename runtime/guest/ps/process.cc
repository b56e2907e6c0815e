#include "runtime/guest/ps/process.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <nlohmann/json.hpp>

#include "guest-init/protocol/protocol.h"

namespace nacre::ps {

namespace {

using Json = nlohmann::json;
using protocol::integer_field;

constexpr size_t kMaxProcesses = 65536;
constexpr size_t kMaxText = 16384;
// Far above what is true, and small enough to be multiplied by a hundred.
constexpr int64_t kMax = int64_t{1} << 50;
constexpr int64_t kMaxPage = 1 << 16;  // as large as Linux has them; times kMax it still is an int64_t

struct StatField {
  size_t number;  // proc(5)'s
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

// "PID (NAME) STATE NUMBER...": the name may hold anything, so what follows the last ')' counts.
Result<void> parse_stat(std::string_view stat, Process& process) {
  size_t open = stat.find(" ("), close = stat.rfind(") ");
  if (open == std::string_view::npos || close == std::string_view::npos || close < open || close + 2 >= stat.size()) {
    return not_understood("stat");
  }
  auto [end, error] = std::from_chars(stat.data(), stat.data() + open, process.pid);
  if (error != std::errc() || end != stat.data() + open || process.pid < 1) return not_understood("pid");
  process.name = printable(stat.substr(open + 2, close - open - 2));
  char state = stat[close + 2];
  process.state = state >= 'A' && state <= 'z' ? state : '?';
  std::array<int64_t, kLastNumber + 1> numbers{};
  const char* at = stat.data() + close + 3;
  const char* last = stat.data() + stat.size();
  for (size_t i = kFirstNumber; i <= kLastNumber; i++) {
    while (at < last && *at == ' ') at++;
    auto [next, failed] = std::from_chars(at, last, numbers[i]);
    if (failed == std::errc::result_out_of_range) {  // unsigned ones, that nobody shows (rsslim)
      numbers[i] = 0;
    } else if (failed != std::errc()) {
      return not_understood("stat");
    }
    at = next;
  }
  for (const StatField& field : kStatFields) process.*field.member = std::clamp(numbers[field.number], -kMax, kMax);
  return {};
}

Result<void> parse_ids(const Json& process, const char* name, uint32_t& real, uint32_t& effective) {
  auto ids = process.find(name);
  if (ids == process.end() || !ids->is_array() || ids->size() != 2) return not_understood(name);
  for (size_t i = 0; i < 2; i++) {
    const Json& id = (*ids)[i];
    // A negative one becomes too large.
    if (!id.is_number_integer() || id.get<uint64_t>() > UINT32_MAX) return not_understood(name);
    (i == 0 ? real : effective) = id.get<uint32_t>();
  }
  return {};
}

Result<Process> parse_process(const Json& json) {
  Process process;
  TRY(parse_stat(TRY(protocol::string_field(json, "stat")), process));
  TRY(parse_ids(json, "uid", process.ruid, process.euid));
  TRY(parse_ids(json, "gid", process.rgid, process.egid));
  std::string args = TRY(protocol::string_field(json, "args"));
  process.args = printable(std::string_view(args).substr(0, kMaxText));
  return process;
}

// The code point at `text`'s start, and its length; what is cut off is one byte of nothing.
std::pair<uint32_t, size_t> code_point(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  size_t length = byte(0) < 0x80 ? 1 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  if ((byte(0) >= 0x80 && byte(0) < 0xc0) || length > text.size()) return {0, 1};
  uint32_t value = length == 1 ? byte(0) : byte(0) & (0x7fu >> length);
  for (size_t i = 1; i < length; i++) {
    // Texts of errors need not be UTF-8: what follows may be a control character.
    if ((byte(i) & 0xc0) != 0x80) return {0, 1};
    value = value << 6 | (byte(i) & 0x3f);
  }
  return {value, length};
}

bool is_printable(uint32_t c) {
  bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
  bool reorders = c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
  return !control && !reorders;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    auto [c, length] = code_point(text);
    result += is_printable(c) ? text.substr(0, length) : "?";
    text.remove_prefix(length);
  }
  return result;
}

Result<Listing> parse_listing(const Json& reply) {
  Listing listing;
  listing.hertz = TRY(integer_field(reply, "hertz", 1, 1'000'000));
  listing.page = TRY(integer_field(reply, "page", 1, kMaxPage));
  listing.uptime = TRY(integer_field(reply, "uptime", 0, kMax));
  listing.memory = TRY(integer_field(reply, "memory", 0, kMax));
  auto processes = reply.find("processes");
  if (processes == reply.end() || !processes->is_array() || processes->size() > kMaxProcesses) {
    return not_understood("processes");
  }
  for (const Json& process : *processes) listing.processes.push_back(TRY(parse_process(process)));
  std::ranges::sort(listing.processes, {}, &Process::pid);
  return listing;
}

}  // namespace nacre::ps
