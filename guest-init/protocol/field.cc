#include "guest-init/protocol/field.h"

#include <limits>

namespace nacre::protocol {

bool Field::asks() const {
  if (!present()) return false;
  if (value_->is_boolean()) return value_->get<bool>();
  if (value_->is_number_integer()) return value_->get<int64_t>() != 0;
  if (value_->is_string()) return !value_->get_ref<const std::string&>().empty();
  return !value_->empty();
}

std::unexpected<Error> Field::fails(std::string_view why) const {
  return fail(path_ + " " + std::string(why), EINVAL);
}

Result<Field> Field::member(std::string_view name) const {
  std::string path = path_.empty() ? std::string(name) : path_ + "." + std::string(name);
  if (!present()) return Field(nullptr, std::move(path));
  if (!value_->is_object()) return fails("is not an object");
  auto found = value_->find(std::string(name));
  return Field(found == value_->end() ? nullptr : &*found, std::move(path));
}

Result<std::string> Field::string() const {
  if (!present()) return fails("is missing");
  return string("");
}

Result<std::string> Field::string(std::string fallback) const {
  if (!present()) return fallback;
  if (!value_->is_string()) return fails("is not a string");
  const auto& text = value_->get_ref<const std::string&>();
  // What reads it next is a system call, which would see only the part before.
  if (text.find('\0') != std::string::npos) return fails("contains a NUL character");
  return text;
}

Result<int64_t> Field::integer(int64_t low, int64_t high) const {
  if (!present()) return fails("is missing");
  return integer(low, high, low);
}

Result<int64_t> Field::integer(int64_t low, int64_t high, int64_t fallback) const {
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

Result<uint64_t> Field::unsigned_integer(uint64_t fallback) const {
  if (!present()) return fallback;
  if (!value_->is_number_unsigned() && !(value_->is_number_integer() && value_->get<int64_t>() >= 0)) {
    return fails("is not an unsigned integer");
  }
  return value_->get<uint64_t>();
}

Result<bool> Field::boolean(bool fallback) const {
  if (!present()) return fallback;
  if (!value_->is_boolean()) return fails("is not true or false");
  return value_->get<bool>();
}

Result<std::vector<Field>> Field::list() const {
  std::vector<Field> elements;
  if (!present()) return elements;
  if (!value_->is_array()) return fails("is not an array");
  for (size_t i = 0; i < value_->size(); i++) {
    elements.emplace_back(&(*value_)[i], path_ + "[" + std::to_string(i) + "]");
  }
  return elements;
}

Result<std::vector<std::string>> Field::strings() const {
  std::vector<std::string> texts;
  for (const Field& element : TRY(list())) texts.push_back(TRY(element.string()));
  return texts;
}

Result<std::vector<std::pair<std::string, Field>>> Field::members() const {
  std::vector<std::pair<std::string, Field>> all;
  if (!present()) return all;
  if (!value_->is_object()) return fails("is not an object");
  for (auto it = value_->begin(); it != value_->end(); ++it) {
    all.emplace_back(it.key(), Field(&it.value(), path_ + "." + it.key()));
  }
  return all;
}

}  // namespace nacre::protocol
