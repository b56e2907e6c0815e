// SPDX-License-Identifier: Apache-2.0
// Reads JSON that a user wrote: every access checks the type, and every error names the field by its path from the top
// ("process.user.uid is not an integer").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "oci/json.h"

namespace nacre::oci {

// A place in a document, which may be absent. null counts as absent, because Go's encoders, which write the callers'
// configurations, write null for what is not set. Refers to the document and must not outlive it.
class JsonField {
 public:
  JsonField(const Json* value, std::string path) : value_(value), path_(std::move(path)) {}

  bool present() const { return value_ != nullptr && !value_->is_null(); }
  // Returns whether something is asked for: the field is present and not "", [], {}, false or 0.
  bool asks() const;
  const std::string& path() const { return path_; }

  // Returns a member of an object. A member of an absent field is absent.
  Result<JsonField> member(std::string_view name) const;

  // Each of these returns the fallback if the field is absent. Without a fallback an absent field is an error.
  Result<std::string> string() const;
  Result<std::string> string(std::string fallback) const;
  Result<int64_t> integer(int64_t low, int64_t high) const;
  Result<int64_t> integer(int64_t low, int64_t high, int64_t fallback) const;
  Result<uint64_t> unsigned_integer(uint64_t fallback) const;
  Result<bool> boolean(bool fallback) const;

  // Returns the elements of an array; none if the field is absent.
  Result<std::vector<JsonField>> list() const;
  Result<std::vector<std::string>> strings() const;
  // Returns the members of an object with their names; none if the field is absent.
  Result<std::vector<std::pair<std::string, JsonField>>> members() const;

  // Makes an error that begins with the field's path.
  std::unexpected<Error> fails(std::string_view why) const;

 private:
  const Json* value_;
  std::string path_;
};

}  // namespace nacre::oci
