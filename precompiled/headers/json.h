// SPDX-License-Identifier: Apache-2.0
// What nearly every file that includes the JSON library needs beside it. The build compiles this header once and puts
// it in front of those files (see meson.build here); no file includes it.
#include <algorithm>
#include <array>
#include <chrono>
#include <expected>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>
