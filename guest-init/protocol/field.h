// Reading a user's JSON: every access checks the type, and every error names the field by its path from the top
// ("process.user.uid is not an integer").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace nacre::protocol {

using Json = nlohmann::json;

// A place in a document, which may be absent. null counts as absent, as in Go's encoders, which write the callers'
// configurations. Refers to the document: must not outlive it.
class Field {
 public:
  Field(const Json* value, std::string path) : value_(value), path_(std::move(path)) {}

  bool present() const { return value_ != nullptr && !value_->is_null(); }
  // There, and not "", [], {}, false or 0: something is asked for.
  bool asks() const;
  const std::string& path() const { return path_; }

  // The member of an object; absent in an absent one.
  Result<Field> member(std::string_view name) const;

  // An absent field gives the fallback; one without a fallback is required.
  Result<std::string> string() const;
  Result<std::string> string(std::string fallback) const;
  Result<int64_t> integer(int64_t low, int64_t high) const;
  Result<int64_t> integer(int64_t low, int64_t high, int64_t fallback) const;
  Result<uint64_t> unsigned_integer(uint64_t fallback) const;
  Result<bool> boolean(bool fallback) const;

  // The elements of an array; none when absent.
  Result<std::vector<Field>> list() const;
  Result<std::vector<std::string>> strings() const;
  // The members of an object, with their names; none when absent.
  Result<std::vector<std::pair<std::string, Field>>> members() const;

  std::unexpected<Error> fails(std::string_view why) const;

 private:
  const Json* value_;
  std::string path_;
};

}  // namespace nacre::protocol
