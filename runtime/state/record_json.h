// SPDX-License-Identifier: Apache-2.0
// Converts records to and from state.json, and to the JSON that `state` and `list` print.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

std::string record_to_json(const Record& record);
Result<Record> record_from_json(std::string_view text);

// Returns the OCI state with runc's additions, indented, as `state` prints it.
std::string view_to_json(const View& view);
// Returns one line, as `list --format json` prints it: "null" if there are no containers, as in runc.
std::string views_to_json(const std::vector<View>& views);

}  // namespace nacre::runtime
