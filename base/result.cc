#include "base/result.h"

#include <cstring>

namespace nacre {

Error Error::from_errno(std::string_view what, int code) {
  return Error(std::string(what) + ": " + ::strerror(code), code);
}

Error Error::with_context(std::string_view context) const {
  return Error(std::string(context) + ": " + message_, code_);
}

}  // namespace nacre
