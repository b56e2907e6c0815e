// SPDX-License-Identifier: Apache-2.0
// Fuzzes `events`: the cgroup's files that the guest reports, and the interval that a user asks for.
//
// The event is one line of JSON with no text of the guest but short names, and not much larger than the guest's files.
#include "guest-init/protocol/messages.h"
#include "runtime/guest/stats/duration.h"
#include "runtime/guest/stats/statistics.h"
#include "tests/fuzz/answer.h"

namespace {

using namespace nacre;
using Json = nlohmann::ordered_json;

constexpr std::string_view kFiles[] = {
    "cpu.stat",        "cpu.pressure",        "memory.stat",        "memory.current",    "memory.max", "memory.peak",
    "memory.swap.max", "memory.swap.current", "memory.pressure",    "pids.current",      "pids.max",   "io.stat",
    "io.pressure",     "hugetlb.2MB.current", "hugetlb.2MB.events", "hugetlb.1GB.events"};
// Of each list and object in the event.
constexpr size_t kMaxItems = 1024;
constexpr size_t kMaxName = 64;

void check_value(const Json& value) {
  if (value.is_array() || value.is_object()) {
    fuzz::check(value.size() <= kMaxItems, "an event has as many items as the guest likes");
    for (const auto& item : value) check_value(item);
  }
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) {
      fuzz::check(name.size() <= kMaxName && fuzz::is_utf8(name), "an event has a name that is none");
    }
  }
  if (value.is_string()) {
    fuzz::check(value == "Read" || value == "Write", "an event has a text of the guest");
  }
}

void try_files(const protocol::StatisticsReply& reply) {
  Json data = stats::from_guest(reply);
  check_value(data);
  std::string line = stats::event_line("stats", "id", &data);
  fuzz::check(std::ranges::count(line, '\n') == 1 && line.ends_with('\n'), "an event is not one line");
  Json again = Json::parse(line, nullptr, false);
  fuzz::check(!again.is_discarded() && again["data"] == data, "an event does not read as it was written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  switch (input.take<uint8_t>() % 3) {
    case 0: {
      auto answer = fuzz::read_answer<protocol::StatisticsReply>(input.text());
      if (answer) try_files(*answer);
      break;
    }
    case 1:
      try_files({.files = fuzz::take_files(input, kFiles, 40)});
      break;
    default: {
      std::string text = input.text();
      auto duration = stats::parse_duration(text);
      fuzz::check(duration || duration.error().code() == EINVAL, "an interval is refused for another reason");
      if (duration) fuzz::check(stats::parse_duration("+" + text).has_value() || !isdigit(text[0]), "a sign matters");
    }
  }
  return 0;
}
