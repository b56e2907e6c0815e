// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <cctype>
#include <cstring>

namespace nacre {

std::string describe_errno(int code) {
  std::string text = ::strerror(code);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

Error Error::from_errno(std::string_view what, int code) {
  return Error(std::string(what) + ": " + describe_errno(code), code);
}

Error Error::with_context(std::string_view context) const {
  return Error(std::string(context) + ": " + message_, code_);
}

}  // namespace nacre
