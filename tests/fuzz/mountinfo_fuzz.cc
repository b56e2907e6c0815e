// SPDX-License-Identifier: Apache-2.0
// Fuzzes the reading of /proc/PID/mountinfo, whose paths and options a container's users choose.
//
// The first byte says what the rest is: the text of a file, or the mounts themselves, each as fields that end in a line
// break. Mounts are written as the kernel writes them, and must read as they were.
#include <sys/mman.h>

#include "base/fd.h"
#include "base/mountinfo.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;

std::vector<MountInfo> read_text(const std::string& text) {
  Fd file(::memfd_create("mountinfo", MFD_CLOEXEC));
  fuzz::check(file && write_all(file.get(), text), "no file in memory");
  auto mounts = read_mountinfo(file.get());
  fuzz::check(mounts.has_value(), "a mountinfo cannot be read");
  return std::move(*mounts);
}

// Escapes a field as the kernel does (seq_path() and mangle()).
std::string escaped(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (!std::string_view(" \t\n\\").contains(c)) {
      result += c;
      continue;
    }
    auto digit = [c](int shift) { return static_cast<char>('0' + (static_cast<unsigned char>(c) >> shift & 7)); };
    result += {'\\', digit(6), digit(3), digit(0)};
  }
  return result;
}

struct Mount {
  uint64_t id;
  std::string device, root, point, type;
  std::vector<std::string> options;
};

// Takes a field with no byte that the kernel's own fields cannot have.
std::string field(fuzz::Input& input, std::string_view never, const char* if_empty) {
  std::string text = input.short_text();
  std::erase_if(text, [&](char c) { return never.contains(c) || c == '\0'; });
  return text.empty() ? if_empty : text;
}

std::string line_of(const Mount& mount, unsigned optional_fields) {
  std::string options;
  for (const std::string& option : mount.options) options += (options.empty() ? "" : ",") + option;
  std::string line = std::to_string(mount.id) + " 1 " + mount.device + " " + escaped(mount.root) + " " +
                     escaped(mount.point) + " " + options + " ";
  for (unsigned i = 0; i < optional_fields; i++) line += "shared:" + std::to_string(i) + " ";
  return line + "- " + mount.type + " source " + options + "\n";
}

void try_mounts(fuzz::Input& input) {
  // What isspace(3) takes for a space, but the kernel does not escape, is in no field that is compared here.
  constexpr std::string_view kSpaces = " \t\n\v\f\r", kUnescaped = "\v\f\r";
  std::vector<Mount> mounts;
  std::string text;
  while (!input.empty() && mounts.size() < 50) {
    Mount mount{.id = input.take<uint64_t>(), .device = "8:1", .root = {}, .point = {}, .type = {}, .options = {}};
    mount.root = "/" + field(input, kUnescaped, "");
    mount.point = "/" + field(input, kUnescaped, "");
    mount.type = field(input, kSpaces, "ext4");
    for (auto count = input.take<uint8_t>() % 4; count >= 0; count--) {
      mount.options.push_back(field(input, " \t\n\v\f\r,", "rw"));
    }
    text += line_of(mount, input.take<uint8_t>() % 3);
    mounts.push_back(std::move(mount));
  }
  std::vector<MountInfo> read = read_text(text);
  fuzz::check(read.size() == mounts.size(), "a mount is missing");
  for (size_t i = 0; i < mounts.size(); i++) {
    const Mount& was = mounts[i];
    bool same = read[i].id == was.id && read[i].device == was.device && read[i].type == was.type;
    fuzz::check(same, "a mount has another id, device or type");
    fuzz::check(read[i].root == was.root && read[i].point == was.point, "a mount has another root or place");
    fuzz::check(read[i].options == was.options && read[i].super_options == was.options, "a mount has other options");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  if (input.take<uint8_t>() % 2 == 0) {
    std::string text = input.text();
    auto lines = static_cast<size_t>(std::ranges::count(text, '\n')) + 1;
    fuzz::check(read_text(text).size() <= lines, "there are more mounts than lines");
  } else {
    try_mounts(input);
  }
  return 0;
}
