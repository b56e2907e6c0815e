// SPDX-License-Identifier: Apache-2.0
// Fuzzes what is kept on disk about a container: state.json and the file of its processes.
//
// A record that was read is written and read again. It must then be the same. What names a process is a positive pid or
// nothing.
#include <fstream>

#include "runtime/state/container_id.h"
#include "runtime/state/record_json.h"
#include "runtime/state/store.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::runtime;

void try_record(const std::string& text) {
  auto record = record_from_json(text);
  if (!record) return fuzz::check(!record.error().message().empty(), "a record is refused without a word");
  std::string written = record_to_json(*record);
  fuzz::check(record->standin.pid >= 0 && record->vmm.pid >= 0, "a process has a negative pid");
  fuzz::check(std::ranges::count(written, '\n') == 1, "a record is not one line");
  auto again = record_from_json(written);
  fuzz::check(again && record_to_json(*again) == written, "a record does not read as it was written");
  fuzz::check(again->standin == record->standin && again->vmm == record->vmm, "a record names other processes");
  View view{.record = *record, .status = Status::stopped};
  fuzz::check(!view_to_json(view).empty() && !views_to_json({view, view}).empty(), "a record cannot be shown");
}

void try_processes(const std::string& text) {
  static const fuzz::Scratch root;
  static const ContainerDir directory = ContainerDir::create(root.path(), "one").value();
  std::ofstream(directory.file("processes"), std::ios::trunc) << text;
  Processes read = directory.read_processes();
  fuzz::check(directory.write_processes(read).has_value(), "the processes cannot be written");
  Processes again = directory.read_processes();
  bool same = again.standin == read.standin && again.vmm == read.vmm && again.cgroup == read.cgroup;
  fuzz::check(same, "the processes do not read as they were written");
  fuzz::check(!read.cgroup.contains('\n'), "a cgroup's name has lines");
}

void try_id(const std::string& text) {
  if (!check_container_id(text)) return;
  bool is_file = !text.empty() && text.size() < 256 && !text.contains('/') && text != "." && text != "..";
  fuzz::check(is_file && fuzz::is_utf8(text), "a container's id is no name of a file");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  auto which = input.take<uint8_t>() % 3;
  std::string text = input.text();
  if (which == 0) try_record(text);
  if (which == 1) try_processes(text);
  if (which == 2) try_id(text);
  return 0;
}
