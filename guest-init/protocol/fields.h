// SPDX-License-Identifier: Apache-2.0
// Writing and reading the fields of a message.
//
// A message lists its fields once, in a function template `fields(io, message)`, where `io` is a FieldWriter or a
// FieldReader: so the two ends cannot come to disagree about a name. Each call names a field and its kind. A kind with
// "optional" in its name is left out of the message if the value is empty. Such a field, a "defaulted" one, and a list
// of texts or numbers may be absent in what is read.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/json.h"

namespace nacre::protocol {

using oci::Json;
using Texts = std::map<std::string, std::string>;

class FieldWriter {
 public:
  // Returns the object with all fields that were written.
  Json take() { return std::move(json_); }

  void text(const char* name, const std::string& value) { json_[name] = value; }
  void optional_text(const char* name, const std::string& value) {
    if (!value.empty()) json_[name] = value;
  }
  void optional_text(const char* name, const std::optional<std::string>& value) {
    if (value) json_[name] = *value;
  }
  void any_text(const char* name, const std::string& value) { json_[name] = value; }
  template <std::integral Number>
  void number(const char* name, Number value, int64_t /*low*/ = 0, int64_t /*high*/ = 0) {
    json_[name] = value;
  }
  template <std::integral Number>
  void defaulted_number(const char* name, Number value, int64_t /*low*/, int64_t /*high*/) {
    json_[name] = value;
  }
  template <std::integral Number>
  void optional_number(const char* name, const std::optional<Number>& value, int64_t /*low*/, int64_t /*high*/) {
    if (value) json_[name] = *value;
  }
  void flag(const char* name, bool value) { json_[name] = value; }
  void optional_flag(const char* name, bool value, bool fallback) {
    if (value != fallback) json_[name] = value;
  }
  void document(const char* name, const Json& value) { json_[name] = value; }
  void texts(const char* name, const std::vector<std::string>& value) { json_[name] = value; }
  void optional_texts(const char* name, const std::vector<std::string>& value) {
    if (!value.empty()) json_[name] = value;
  }
  void optional_named_texts(const char* name, const Texts& value) {
    if (!value.empty()) json_[name] = value;
  }
  void kernel_texts(const char* name, const Texts& value) { json_[name] = value; }
  void numbers(const char* name, const std::vector<uint64_t>& value) { json_[name] = value; }
  void optional_numbers(const char* name, const std::vector<uint64_t>& value) {
    if (!value.empty()) json_[name] = value;
  }

  template <typename Part>
  void object(const char* name, const Part& part) {
    json_[name] = write(part);
  }
  template <typename Part>
  void optional_object(const char* name, const std::optional<Part>& part) {
    if (part) json_[name] = write(*part);
  }
  template <typename Part>
  void objects(const char* name, const std::vector<Part>& parts) {
    Json& list = json_[name] = Json::array();
    for (const Part& part : parts) list.push_back(write(part));
  }
  template <typename Part>
  void optional_objects(const char* name, const std::vector<Part>& parts) {
    if (!parts.empty()) objects(name, parts);
  }
  template <typename Part>
  void named_objects(const char* name, const std::map<std::string, Part>& parts) {
    Json& object = json_[name] = Json::object();
    for (const auto& [key, part] : parts) object[key] = write(part);
  }

 private:
  template <typename Part>
  static Json write(const Part& part) {
    FieldWriter writer;
    Part::fields(writer, part);
    return writer.take();
  }

  Json json_ = Json::object();
};

// Takes nothing on trust: a field of another type, or out of its range, is an error that names the field by its path
// from the top ("create.joins.ipc is not a string"). Fields that nobody asks for are ignored. After the first error
// nothing more is read. null counts as absent.
class FieldReader {
 public:
  // Texts and documents are moved out of `json`. All of these must outlive the reader.
  FieldReader(Json& json, std::string path, std::optional<Error>& error)
      : json_(json), path_(std::move(path)), error_(error) {
    if (!json_.is_object()) fails(path_, "is not an object");
  }

  // A NUL character is refused: system calls, which get most texts, would see only the part before.
  void text(const char* name, std::string& value) { read_text(find(name, true), name, value); }
  void optional_text(const char* name, std::string& value) { read_text(find(name, false), name, value); }
  void optional_text(const char* name, std::optional<std::string>& value) {
    if (Json* found = find(name, false)) read_text(found, name, value.emplace());
  }
  // May have NUL characters.
  void any_text(const char* name, std::string& value);
  template <std::integral Number>
  void number(const char* name, Number& value, int64_t low, int64_t high = std::numeric_limits<int64_t>::max()) {
    if (Json* found = find(name, true)) value = static_cast<Number>(read_number(*found, name, low, high));
  }
  template <std::integral Number>
  void defaulted_number(const char* name, Number& value, int64_t low, int64_t high) {
    if (Json* found = find(name, false)) value = static_cast<Number>(read_number(*found, name, low, high));
  }
  template <std::integral Number>
  void optional_number(const char* name, std::optional<Number>& value, int64_t low, int64_t high) {
    if (Json* found = find(name, false)) value = static_cast<Number>(read_number(*found, name, low, high));
  }
  void flag(const char* name, bool& value) { read_flag(find(name, true), name, value); }
  void optional_flag(const char* name, bool& value, bool fallback) {
    value = fallback;
    read_flag(find(name, false), name, value);
  }
  // JSON that is not looked into here.
  void document(const char* name, Json& value);
  void texts(const char* name, std::vector<std::string>& value);
  void optional_texts(const char* name, std::vector<std::string>& value) { texts(name, value); }  // both may be absent
  void optional_named_texts(const char* name, Texts& value);
  // What is not a text is left out: the kernel's files are read as far as they are understood.
  void kernel_texts(const char* name, Texts& value);
  void numbers(const char* name, std::vector<uint64_t>& value) { read_numbers(find(name, false), name, value); }
  void optional_numbers(const char* name, std::vector<uint64_t>& value) {
    read_numbers(find(name, false), name, value);
  }

  template <typename Part>
  void object(const char* name, Part& part) {
    if (Json* found = find(name, true)) read(*found, path_of(name), part);
  }
  template <typename Part>
  void optional_object(const char* name, std::optional<Part>& part) {
    if (Json* found = find(name, false)) read(*found, path_of(name), part.emplace());
  }
  template <typename Part>
  void objects(const char* name, std::vector<Part>& parts) {
    read_list(find(name, true), name, parts);
  }
  template <typename Part>
  void optional_objects(const char* name, std::vector<Part>& parts) {
    read_list(find(name, false), name, parts);
  }
  template <typename Part>
  void named_objects(const char* name, std::map<std::string, Part>& parts) {
    Json* found = find_object(name, true);
    if (found == nullptr) return;
    for (auto it = found->begin(); it != found->end() && !error_; ++it) {
      read(it.value(), path_of(name), parts[it.key()]);
    }
  }

  // For a message that has rules of its own.
  Json* find(const char* name, bool required);
  void fails(const std::string& path, std::string_view why);
  std::string path_of(std::string_view name) const { return path_ + "." + std::string(name); }

 private:
  Json* find_object(const char* name, bool required);
  Json* find_list(Json* found, const char* name);
  void read_text(Json* found, const char* name, std::string& value);
  void read_flag(Json* found, const char* name, bool& value);
  void read_numbers(Json* found, const char* name, std::vector<uint64_t>& value);
  int64_t read_number(const Json& found, const char* name, int64_t low, int64_t high);
  bool is_plain_text(const Json& found, const std::string& path);

  template <typename Part>
  void read(Json& found, std::string path, Part& part) {
    FieldReader reader(found, std::move(path), error_);
    if (!error_) Part::fields(reader, part);
  }
  template <typename Part>
  void read_list(Json* found, const char* name, std::vector<Part>& parts) {
    found = find_list(found, name);
    if (found == nullptr) return;
    for (size_t i = 0; i < found->size() && !error_; i++) {
      read((*found)[i], path_of(name) + "[" + std::to_string(i) + "]", parts.emplace_back());
    }
  }

  Json& json_;
  const std::string path_;
  std::optional<Error>& error_;
};

}  // namespace nacre::protocol
