// SPDX-License-Identifier: Apache-2.0
#include "oci/json_limits.h"

#include <cerrno>
#include <string>

namespace nacre::oci {

Result<void> check_json_limits(std::string_view text, const JsonLimits& limits) {
  size_t depth = 0;
  size_t values = 1;  // at least as many as there are: each is the first of its array or object, or follows a comma
  bool in_string = false;
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') i++;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      values++;
      if (++depth > limits.depth) return fail("nested deeper than " + std::to_string(limits.depth), EBADMSG);
    } else if (c == ',') {
      values++;
    } else if ((c == ']' || c == '}') && depth > 0) {
      depth--;
    }
    if (values > limits.values) return fail("more than " + std::to_string(limits.values) + " values", EBADMSG);
  }
  return {};
}

}  // namespace nacre::oci
