// SPDX-License-Identifier: Apache-2.0
// The JSON library, by a short name.
#pragma once

#include <nlohmann/json.hpp>

namespace nacre::oci {

using Json = nlohmann::json;

}  // namespace nacre::oci
