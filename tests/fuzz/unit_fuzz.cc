// SPDX-License-Identifier: Apache-2.0
// Fuzzes what a configuration says about its systemd unit: the name in cgroupsPath, properties in annotations, and
// limits that become properties.
//
// No name leads out of systemd's tree of slices, and no property reaches beyond the unit.
#include "runtime/host/cgroup/unit_properties.h"
#include "runtime/host/cgroup/v2_files.h"
#include "runtime/host/systemd/annotations.h"
#include "runtime/host/systemd/unit_name.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;
using namespace nacre::runtime;

void check_error(const Error& error) {
  fuzz::check(!error.message().empty() && error.code() != 0, "an error without a word or a number");
}

void try_name(fuzz::Input& input) {
  bool of_user = input.take<uint8_t>() & 1;
  std::string id = input.short_text(), path = input.text();
  auto unit = parse_unit(path, id, of_user);
  if (!unit) return check_error(unit.error());
  fuzz::check(unit->unit.ends_with(".scope") && unit->slice.ends_with(".slice"), "a unit is of another kind");
  fuzz::check(unit->unit.size() < 256 && unit->slice.size() < 256, "a unit's name is too long for systemd");
  if (!id.contains('/')) fuzz::check(!unit->unit.contains('/'), "a unit's name is a path");
  auto directory = expand_slice(unit->slice);
  fuzz::check(directory.has_value(), "a slice has no directory");
  for (size_t at = 0; at < directory->size();) {
    size_t end = std::min(directory->find('/', at + 1), directory->size());
    std::string part = directory->substr(at, end - at);
    fuzz::check(part.starts_with('/') && part.ends_with(".slice") && part.size() > 7,
                "a slice's path leaves the slices");
    at = end;
  }
  fuzz::check(directory->empty() || directory->ends_with("/" + unit->slice), "a slice's directory is another's");
}

void try_annotations(fuzz::Input& input) {
  std::map<std::string, std::string> annotations;
  while (!input.empty() && annotations.size() < 20) {
    bool whole = input.take<uint8_t>() & 1;
    std::string name = input.short_text();
    annotations[whole ? name : kPropertyAnnotation + name] = input.short_text();
  }
  auto properties = annotated_properties(annotations);
  if (!properties) return check_error(properties.error());
  for (const UnitProperty& property : *properties) {
    bool is_word = std::ranges::all_of(property.name, [](unsigned char c) { return c < 0x80 && std::isalpha(c); });
    fuzz::check(is_word && !property.name.empty(), "a property's name is no word");
    for (const char* beyond : {"Wants", "Requires", "BindsTo", "PartOf", "Conflicts", "OnFailure", "Slice", "PIDs"}) {
      fuzz::check(property.name != beyond, "a property reaches beyond the unit");
    }
    fuzz::check(!property.name.ends_with("Action"), "a property acts on the host");
  }
}

void try_limits(fuzz::Input& input) {
  constexpr const char* kNames[] = {"memory.max", "memory.high", "pids.max",    "memory.swap.max",
                                    "cpu.weight", "cpuset.cpus", "cpuset.mems", "cpu.max"};
  std::vector<oci::CgroupFile> files;
  while (!input.empty() && files.size() < 10) {
    oci::CgroupFile file;
    file.name = input.one_of(kNames);
    file.value = input.text_until('\n');
    files.push_back(std::move(file));
  }
  for (const UnitProperty& property : properties_of(files)) {
    auto* bits = std::get_if<std::vector<uint8_t>>(&property.value);
    fuzz::check(bits == nullptr || bits->size() <= 1024, "a list of CPUs is as long as its author likes");
  }
  for (const auto& file : files) {
    std::string rounded = in_percents(file.value);
    auto was = parse_cpu_max(file.value), is = parse_cpu_max(rounded);
    fuzz::check(was.has_value() == is.has_value(), "a quota is lost");
    if (!was) continue;
    fuzz::check(is->period == was->period, "a quota has another period");
    // The kernel takes periods from a millisecond to a second.
    if (was->period < 1000 || was->period > 1'000'000 || was->quota > uint64_t{1} << 40) continue;
    fuzz::check(in_percents(rounded) == rounded, "a rounded quota is rounded again");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  switch (input.take<uint8_t>() % 3) {
    case 0:
      try_name(input);
      break;
    case 1:
      try_annotations(input);
      break;
    default:
      try_limits(input);
  }
  return 0;
}
