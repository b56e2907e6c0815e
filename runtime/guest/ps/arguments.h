// The arguments of ps(1) that `nacre ps` knows: which columns to show. Which processes, is clear.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/guest/ps/table.h"

namespace nacre::ps {

// None is as -ef. Like runc, wants the PID to be among the columns.
Result<std::vector<Column>> parse_arguments(const std::vector<std::string>& arguments);

}  // namespace nacre::ps
