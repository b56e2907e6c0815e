// SPDX-License-Identifier: Apache-2.0
// Fuzzes the packets of the control socket: requests, as vmm reads them, and answers, as the runtime reads them.
//
// A request that was read is written and read again. It must then be the same.
#include <string_view>

#include "tests/fuzz/input.h"
#include "vmm/api/control.h"

using namespace nacre::vmm;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view packet(reinterpret_cast<const char*>(data), size);
  (void)parse_answer(packet);
  auto request = parse_request(packet);
  if (!request) return 0;
  std::string written = encode_request(*request);
  auto again = parse_request(written);
  nacre::fuzz::check(again && encode_request(*again) == written, "a request does not read as it was written");
  return 0;
}
