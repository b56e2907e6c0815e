// SPDX-License-Identifier: Apache-2.0
// Parses the arguments of ps(1) that `nacre ps` knows: which columns to show. The processes are always the container's.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/guest/ps/table.h"

namespace nacre::ps {

// Without arguments the columns are those of -ef. As under runc, a column with the PID is required.
Result<std::vector<Column>> parse_arguments(const std::vector<std::string>& arguments);

}  // namespace nacre::ps
