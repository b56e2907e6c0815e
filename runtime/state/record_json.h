// state.json, and the JSON that `state` and `list` print.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

std::string record_to_json(const Record& record);
Result<Record> record_from_json(std::string_view text);

// The OCI state with what runc adds, as `state` prints it: indented.
std::string view_to_json(const View& view);
// As `list --format json` prints them: one line; "null" for none, like runc.
std::string views_to_json(const std::vector<View>& views);

}  // namespace nacre::runtime
