// SPDX-License-Identifier: Apache-2.0
// Bounds of JSON text, checked before anything is built from the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace nacre::oci {

struct JsonLimits {
  size_t depth = 64;  // arrays and objects inside one another: code that walks values recursively uses stack
  size_t values =
      SIZE_MAX;  // numbers, texts, arrays, objects and the like: "[{},{}]" needs far more memory than its text
};

// Fails (EBADMSG) if the text is nested more deeply or has more values than `limits` allow. Takes linear time and no
// memory. Text that is not JSON may pass; the parser refuses it.
Result<void> check_json_limits(std::string_view text, const JsonLimits& limits);

}  // namespace nacre::oci
