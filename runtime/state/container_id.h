// SPDX-License-Identifier: Apache-2.0
// Checks container ids.
#pragma once

#include <string_view>

#include "base/result.h"

namespace nacre::runtime {

// Allows what runc allows: letters, digits, '_', '+', '-' and '.', but not "." and "..": the id is a file name.
Result<void> check_container_id(std::string_view id);

}  // namespace nacre::runtime
