// SPDX-License-Identifier: Apache-2.0
// Errors as values: Result<T> is std::expected<T, Error>, and TRY() hands an error on to the caller.
//
// g++ 12 has std::expected without its monadic calls, so TRY does their work.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace nacre {

// Returns strerror(3) in lower case. runc's errors are in lower case, and its callers match words such as "no such file
// or directory".
std::string describe_errno(int code);

// One failure: a line for people, and the errno value behind it (0 if there is none).
class Error {
 public:
  explicit Error(std::string message, int code = 0) : message_(std::move(message)), code_(code) {}

  // Makes the error "WHAT: describe_errno(CODE)".
  static Error from_errno(std::string_view what, int code);

  const std::string& message() const { return message_; }
  int code() const { return code_; }

  // Returns the same failure with the place where it happened: "CONTEXT: message".
  Error with_context(std::string_view context) const;

 private:
  std::string message_;
  int code_;
};

template <typename T = void>
using Result = std::expected<T, Error>;

// Makes an error to return: return fail("no such queue");
inline std::unexpected<Error> fail(std::string message, int code = 0) {
  return std::unexpected(Error(std::move(message), code));
}

// Makes an error from errno: if (::open(...) < 0) return fail_errno("open /dev/kvm");
inline std::unexpected<Error> fail_errno(std::string_view what, int code = errno) {
  return std::unexpected(Error::from_errno(what, code));
}

}  // namespace nacre

// Gives the value of a Result, or returns its error from the enclosing function, which returns a Result too.
#define TRY(expression)                                                       \
  __extension__({                                                             \
    auto try_result_ = (expression);                                          \
    if (!try_result_) return std::unexpected(std::move(try_result_).error()); \
    *std::move(try_result_);                                                  \
  })

// Like TRY, but adds a place to the error's message.
#define TRY_CONTEXT(expression, context)                                                 \
  __extension__({                                                                        \
    auto try_result_ = (expression);                                                     \
    if (!try_result_) return std::unexpected(try_result_.error().with_context(context)); \
    *std::move(try_result_);                                                             \
  })
