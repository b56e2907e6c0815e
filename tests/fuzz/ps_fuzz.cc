// SPDX-License-Identifier: Apache-2.0
// Fuzzes `ps`: what the guest says of its processes, and the columns that a user asks for.
//
// The input is the user's arguments up to a NUL, one per line, and then either the JSON of a reply or the texts of
// processes, each with the two bytes of its lengths. The table has one line for each process, and is fit for a
// terminal.
#include "base/printable.h"
#include "runtime/guest/ps/arguments.h"
#include "runtime/guest/ps/table.h"
#include "tests/fuzz/answer.h"

namespace {

using namespace nacre;

// A day in 2026. The host's clock is no input: the same input must do the same tomorrow.
constexpr std::time_t kNow = 1'790'000'000;

protocol::ProcessesReply made_reply(fuzz::Input& input) {
  constexpr int64_t kMax = protocol::ProcessesReply::kMax;
  auto number = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(input.take<uint64_t>() % static_cast<uint64_t>(high - low + 1));
  };
  protocol::ProcessesReply reply;
  reply.hertz = number(1, 1'000'000);
  reply.page = number(1, protocol::ProcessesReply::kMaxPage);
  reply.uptime = number(0, kMax);
  reply.memory = number(0, kMax);
  while (!input.empty() && reply.processes.size() < 100) {
    protocol::ProcessEntry entry;
    entry.uid.effective = input.take<uint8_t>();
    entry.stat = input.short_text();
    entry.args = input.short_text();
    reply.processes.push_back(std::move(entry));
  }
  return reply;
}

void try_table(const std::vector<ps::Column>& columns, const ps::Listing& listing) {
  std::string table = ps::to_table(columns, listing);
  auto lines = static_cast<size_t>(std::ranges::count(table, '\n'));
  fuzz::check(lines == listing.processes.size() + 1, "a process has not just one line");
  std::ranges::replace(table, '\n', ' ');
  fuzz::check(printable(table, '?') == table, "the guest's text reaches the terminal as it is");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  std::string words = input.text_until('\0');
  std::vector<std::string> arguments;
  for (fuzz::Input rest(data, words.size()); !rest.empty();) arguments.push_back(rest.text_until('\n'));
  auto columns = ps::parse_arguments(arguments);

  protocol::ProcessesReply reply;
  if (input.take<uint8_t>() % 2 == 0) {
    auto answer = fuzz::read_answer<protocol::ProcessesReply>(input.text());
    if (!answer) return 0;
    reply = std::move(*answer);
  } else {
    reply = made_reply(input);
  }
  auto listing = ps::parse_listing(reply);
  if (!listing) return 0;
  fuzz::check(listing->processes.size() == reply.processes.size(), "a process is missing");
  listing->now = kNow;
  // The user's own words for columns are shown as they are.
  if (columns && printable(words, '\n') == words) try_table(*columns, *listing);
  for (const char* list : {"user,pid,ppid,c,stime,tname,time,cmd", "pid,bsdstart,lstart,start,%mem,sz,vsz,rss,stat",
                           "pid,etime,etimes,bsdtime,group,thcount,pri,comm,args"}) {
    auto all = ps::parse_arguments({"-o", list});
    fuzz::check(all.has_value(), "a column that ps(1) has is not known");
    try_table(*all, *listing);
  }
  return 0;
}
