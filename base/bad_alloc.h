// SPDX-License-Identifier: Apache-2.0
// A lack of memory as an error. Apart from result.h, because the guest's programs are built without exceptions.
#pragma once

#include <cerrno>
#include <new>
#include <type_traits>

#include "base/result.h"

namespace nacre {

// Calls `function`, which returns a Result. If the memory is used up, its objects are destroyed and this is an error.
template <typename Function>
std::invoke_result_t<Function&> catch_bad_alloc(Function&& function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return std::unexpected(Error("out of memory", ENOMEM));
  }
}

}  // namespace nacre
