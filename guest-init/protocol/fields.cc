// SPDX-License-Identifier: Apache-2.0
#include "guest-init/protocol/fields.h"

#include <cerrno>

namespace nacre::protocol {

void FieldReader::fails(const std::string& path, std::string_view why) {
  if (!error_) error_.emplace(path + " " + std::string(why), EINVAL);
}

Json* FieldReader::find(const char* name, bool required) {
  if (error_) return nullptr;
  auto found = json_.find(name);
  if (found != json_.end() && !found->is_null()) return &*found;
  if (required) fails(path_of(name), "is missing");
  return nullptr;
}

Json* FieldReader::find_object(const char* name, bool required) {
  Json* found = find(name, required);
  if (found == nullptr || found->is_object()) return found;
  fails(path_of(name), "is not an object");
  return nullptr;
}

Json* FieldReader::find_list(Json* found, const char* name) {
  if (found == nullptr || found->is_array()) return found;
  fails(path_of(name), "is not an array");
  return nullptr;
}

bool FieldReader::is_plain_text(const Json& found, const std::string& path) {
  if (!found.is_string()) {
    fails(path, "is not a string");
  } else if (found.get_ref<const std::string&>().find('\0') != std::string::npos) {
    fails(path, "contains a NUL character");
  }
  return !error_;
}

void FieldReader::read_text(Json* found, const char* name, std::string& value) {
  if (found != nullptr && is_plain_text(*found, path_of(name))) value = std::move(found->get_ref<std::string&>());
}

void FieldReader::any_text(const char* name, std::string& value) {
  Json* found = find(name, true);
  if (found == nullptr) return;
  if (!found->is_string()) return fails(path_of(name), "is not a string");
  value = std::move(found->get_ref<std::string&>());
}

int64_t FieldReader::read_number(const Json& found, const char* name, int64_t low, int64_t high) {
  if (!found.is_number_integer()) {
    fails(path_of(name), "is not an integer");
    return low;
  }
  bool huge =
      found.is_number_unsigned() && found.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  int64_t number = huge ? 0 : found.get<int64_t>();
  if (!huge && number >= low && number <= high) return number;
  fails(path_of(name), "is not between " + std::to_string(low) + " and " + std::to_string(high));
  return low;
}

void FieldReader::read_flag(Json* found, const char* name, bool& value) {
  if (found == nullptr) return;
  if (!found->is_boolean()) return fails(path_of(name), "is not true or false");
  value = found->get<bool>();
}

void FieldReader::read_numbers(Json* found, const char* name, std::vector<uint64_t>& value) {
  found = find_list(found, name);
  if (found == nullptr) return;
  value.reserve(found->size());
  for (size_t i = 0; i < found->size(); i++) {
    const Json& number = (*found)[i];
    bool is_unsigned = number.is_number_unsigned() || (number.is_number_integer() && number.get<int64_t>() >= 0);
    if (!is_unsigned) {
      std::string path = path_of(name) + "[" + std::to_string(i) + "]";
      return fails(path, number.is_null() ? "is missing" : "is not an unsigned integer");
    }
    value.push_back(number.get<uint64_t>());
  }
}

void FieldReader::document(const char* name, Json& value) {
  if (Json* found = find(name, true)) value = std::move(*found);
}

void FieldReader::texts(const char* name, std::vector<std::string>& value) {
  Json* found = find_list(find(name, false), name);
  if (found == nullptr) return;
  for (size_t i = 0; i < found->size(); i++) {
    Json& text = (*found)[i];
    if (!is_plain_text(text, path_of(name) + "[" + std::to_string(i) + "]")) return;
    value.push_back(std::move(text.get_ref<std::string&>()));
  }
}

void FieldReader::optional_named_texts(const char* name, Texts& value) {
  Json* found = find_object(name, false);
  if (found == nullptr) return;
  for (auto it = found->begin(); it != found->end(); ++it) {
    if (!is_plain_text(it.value(), path_of(name) + "." + it.key())) return;
    value[it.key()] = std::move(it.value().get_ref<std::string&>());
  }
}

void FieldReader::kernel_texts(const char* name, Texts& value) {
  Json* found = find_object(name, true);
  if (found == nullptr) return;
  for (auto it = found->begin(); it != found->end(); ++it) {
    if (it.value().is_string()) value[it.key()] = std::move(it.value().get_ref<std::string&>());
  }
}

}  // namespace nacre::protocol
