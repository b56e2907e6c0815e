// SPDX-License-Identifier: Apache-2.0
// The network interface that every network namespace has.
#pragma once

#include "base/result.h"

namespace nacre::guest {

// Switches the loopback interface of our network namespace on.
Result<void> raise_loopback();

}  // namespace nacre::guest
