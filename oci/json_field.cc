// SPDX-License-Identifier: Apache-2.0
#include "oci/json_field.h"

#include <limits>

namespace nacre::oci {

bool JsonField::asks() const {
  if (!present()) return false;
  if (value_->is_boolean()) return value_->get<bool>();
  if (value_->is_number_integer()) return value_->get<int64_t>() != 0;
  if (value_->is_string()) return !value_->get_ref<const std::string&>().empty();
  return !value_->empty();
}

std::unexpected<Error> JsonField::fails(std::string_view why) const {
  return fail(path_ + " " + std::string(why), EINVAL);
}

Result<JsonField> JsonField::member(std::string_view name) const {
  std::string path = path_.empty() ? std::string(name) : path_ + "." + std::string(name);
  if (!present()) return JsonField(nullptr, std::move(path));
  if (!value_->is_object()) return fails("is not an object");
  auto found = value_->find(std::string(name));
  return JsonField(found == value_->end() ? nullptr : &*found, std::move(path));
}

Result<std::string> JsonField::string() const {
  if (!present()) return fails("is missing");
  return string("");
}

Result<std::string> JsonField::string(std::string fallback) const {
  if (!present()) return fallback;
  if (!value_->is_string()) return fails("is not a string");
  const auto& text = value_->get_ref<const std::string&>();
  // System calls, which get the text next, would see only the part before the NUL.
  if (text.find('\0') != std::string::npos) return fails("contains a NUL character");
  return text;
}

Result<int64_t> JsonField::integer(int64_t low, int64_t high) const {
  if (!present()) return fails("is missing");
  return integer(low, high, low);
}

Result<int64_t> JsonField::integer(int64_t low, int64_t high, int64_t fallback) const {
  if (!present()) return fallback;
  if (!value_->is_number_integer()) return fails("is not an integer");
  bool huge = value_->is_number_unsigned() &&
              value_->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  int64_t number = huge ? 0 : value_->get<int64_t>();
  if (huge || number < low || number > high) {
    return fails("is not between " + std::to_string(low) + " and " + std::to_string(high));
  }
  return number;
}

Result<uint64_t> JsonField::unsigned_integer(uint64_t fallback) const {
  if (!present()) return fallback;
  if (!value_->is_number_unsigned() && !(value_->is_number_integer() && value_->get<int64_t>() >= 0)) {
    return fails("is not an unsigned integer");
  }
  return value_->get<uint64_t>();
}

Result<bool> JsonField::boolean(bool fallback) const {
  if (!present()) return fallback;
  if (!value_->is_boolean()) return fails("is not true or false");
  return value_->get<bool>();
}

Result<std::vector<JsonField>> JsonField::list() const {
  std::vector<JsonField> elements;
  if (!present()) return elements;
  if (!value_->is_array()) return fails("is not an array");
  for (size_t i = 0; i < value_->size(); i++) {
    elements.emplace_back(&(*value_)[i], path_ + "[" + std::to_string(i) + "]");
  }
  return elements;
}

Result<std::vector<std::string>> JsonField::strings() const {
  std::vector<std::string> texts;
  for (const JsonField& element : TRY(list())) texts.push_back(TRY(element.string()));
  return texts;
}

Result<std::vector<std::pair<std::string, JsonField>>> JsonField::members() const {
  std::vector<std::pair<std::string, JsonField>> all;
  if (!present()) return all;
  if (!value_->is_object()) return fails("is not an object");
  for (auto it = value_->begin(); it != value_->end(); ++it) {
    all.emplace_back(it.key(), JsonField(&it.value(), path_ + "." + it.key()));
  }
  return all;
}

}  // namespace nacre::oci
