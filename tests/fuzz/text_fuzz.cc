// SPDX-License-Identifier: Apache-2.0
// Fuzzes what makes text of strangers fit for terminals, and the cleaning and cutting of paths.
//
// A printable text is UTF-8 with no character that a terminal acts on, and making it printable again changes nothing. A
// clean path has no "..", no "." and no empty part.
#include "base/printable.h"
#include "base/rootfs.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;

// Looks for control characters and for those that reorder text, in the bytes of their UTF-8 form.
bool moves_cursor(std::string_view text) {
  for (size_t i = 0; i < text.size(); i++) {
    auto byte = [&](size_t k) { return i + k < text.size() ? static_cast<uint8_t>(text[i + k]) : 0; };
    if (byte(0) < 0x20 || byte(0) == 0x7f) return true;
    if (byte(0) == 0xc2 && byte(1) < 0xa0) return true;   // U+0080 to U+009F
    if (byte(0) == 0xd8 && byte(1) == 0x9c) return true;  // U+061C
    if (byte(0) != 0xe2) continue;
    if (byte(1) == 0x80 && (byte(2) == 0x8e || byte(2) == 0x8f)) return true;  // U+200E, U+200F
    if (byte(1) == 0x80 && byte(2) >= 0xa8 && byte(2) <= 0xae) return true;    // U+2028 to U+202E
    if (byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9) return true;    // U+2066 to U+2069
  }
  return false;
}

void try_printable(const std::string& text) {
  std::string shown = printable(text, '?');
  fuzz::check(fuzz::is_utf8(shown), "a printable text is not UTF-8");
  fuzz::check(!moves_cursor(shown), "a printable text has a control character");
  fuzz::check(shown.size() <= text.size(), "a printable text grew");
  fuzz::check(printable(shown, '?') == shown, "a printable text is not printable");
  if (fuzz::is_utf8(text) && !moves_cursor(text)) fuzz::check(shown == text, "a harmless text was changed");
  std::string line = one_line(text);
  fuzz::check(fuzz::is_utf8(line) && !moves_cursor(line), "a line of the log has a control character");
}

void try_path(const std::string& path) {
  std::string clean = clean_path(path);
  fuzz::check(clean.starts_with('/') && clean_path(clean) == clean, "a clean path is not clean");
  for (const char* wrong : {"//", "/./", "/../"}) {
    fuzz::check(!(clean + "/").contains(wrong) || clean == "/", "a clean path has a part that is none");
  }
  if (clean == "/") return;
  std::string parent = parent_path(clean);
  fuzz::check((parent == "/" ? "" : parent) + "/" + base_name(clean) == clean, "a path is not its parent and its name");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  std::string text = input.text();
  try_printable(text);
  try_path(text);
  return 0;
}
