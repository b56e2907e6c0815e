// SPDX-License-Identifier: Apache-2.0
#include "guest-init/protocol/messages.h"

#include <cerrno>

namespace nacre::protocol {

ErrorReply ErrorReply::from(const Error& error) {
  return {.message = error.message().substr(0, kMaxText), .code = error.code()};
}

void ids_field(FieldWriter& io, const char* name, const Ids& ids) {
  io.numbers(name, {ids.real, ids.effective});
}

void ids_field(FieldReader& io, const char* name, Ids& ids) {
  std::vector<uint64_t> numbers;
  io.numbers(name, numbers);
  if (numbers.size() == 2 && numbers[0] <= UINT32_MAX && numbers[1] <= UINT32_MAX) {
    ids = {.real = static_cast<uint32_t>(numbers[0]), .effective = static_cast<uint32_t>(numbers[1])};
  } else {
    io.fails(io.path_of(name), "is not a pair of ids");
  }
}

void passed_field(FieldWriter& io, const std::vector<Passed>& passed) {
  if (passed.empty()) return;
  std::vector<std::string> words;
  for (Passed uses : passed) words.push_back(std::string(uses.readable ? "r" : "") + (uses.writable ? "w" : ""));
  io.texts("passed", words);
}

void passed_field(FieldReader& io, std::vector<Passed>& passed) {
  Json* list = io.find("passed", false);
  if (list == nullptr) return;
  if (!list->is_array() || list->size() > kMaxPassed) return io.fails("invalid", "passed");
  for (const Json& uses : *list) {
    if (uses != "r" && uses != "w" && uses != "rw") return io.fails("invalid", "passed");
    passed.push_back({.readable = uses != "w", .writable = uses != "r"});
  }
}

// Limits text of the guest that ends up on a terminal or in a log.
constexpr size_t kMaxErrorText = 4096;

Result<void> check_reply(Json& message, std::string_view wanted) {
  std::string_view type = type_of(message);
  if (type == wanted) return {};
  if (type != ErrorReply::kType) {
    type = type.substr(0, kMaxErrorText);
    return fail("the guest's answer is not \"" + std::string(wanted) + "\" but \"" + std::string(type) + "\"", EPROTO);
  }
  auto error = TRY(decode<ErrorReply>(std::move(message)));
  return fail(error.message.substr(0, kMaxErrorText), error.code);
}

}  // namespace nacre::protocol
