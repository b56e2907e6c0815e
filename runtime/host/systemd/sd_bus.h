// SPDX-License-Identifier: Apache-2.0
// Loads sd-bus of libsystemd when a unit is to be made. If it were linked, every command would load its libraries, and
// hosts without systemd would need them.
#pragma once

#include <systemd/sd-bus.h>

#include "base/result.h"

namespace nacre::runtime {

// clang-format off
#define NACRE_SD_BUS_CALLS(X) \
  X(call) X(call_method) X(error_free) X(error_has_name) X(flush_close_unref) X(is_bus_client) \
  X(match_signal) X(message_append) X(message_append_array) X(message_close_container) \
  X(message_new_method_call) X(message_open_container) X(message_read) X(message_unref) X(open_system) \
  X(open_user) X(process) X(set_address) X(start) X(wait)
// clang-format on

// The loaded functions: `open_system` is sd_bus_open_system(), and so on.
struct SdBusCalls {
#define NACRE_DECLARE(name) decltype(&::sd_bus_##name) name = nullptr;
  NACRE_SD_BUS_CALLS(NACRE_DECLARE)
  decltype(&::sd_bus_new) make = nullptr;  // `new` is a keyword
#undef NACRE_DECLARE
};

// Loads the library. Further calls do nothing. An error names the missing library or function.
Result<void> load_sd_bus();
// Returns the functions. Call load_sd_bus() first.
const SdBusCalls& sd_bus_calls();

}  // namespace nacre::runtime
