// SPDX-License-Identifier: Apache-2.0
// Fuzzes what vmm reads of its configuration: TOML, and the values of options.
//
// A configuration that was read is written and read again. It must then be the same.
#include <string_view>

#include "tests/fuzz/input.h"
#include "vmm/api/config.h"

using namespace nacre::vmm;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_size(text);
  (void)parse_fs(text);
  (void)parse_net(text);
  (void)parse_mac(text);
  (void)parse_vsock(text);
  auto config = parse_toml(text);
  if (!config) return 0;
  (void)check(*config);
  std::string written = to_toml(*config);
  auto again = parse_toml(written);
  nacre::fuzz::check(again && to_toml(*again) == written, "a configuration does not read as it was written");
  return 0;
}
