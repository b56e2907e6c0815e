// SPDX-License-Identifier: Apache-2.0
// Makes answers of a guest from a fuzzer's input.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "guest-init/protocol/messages.h"
#include "tests/fuzz/input.h"

namespace nacre::fuzz {

// Puts the length before a message, whatever the message is.
inline std::string framed(std::string_view body) {
  std::string frame;
  for (size_t i = 0; i < 4; i++) frame += static_cast<char>(body.size() >> (8 * i));
  return frame.append(body);
}

// Reads the JSON of an answer as the host does that has asked for it.
template <typename Reply>
std::optional<Reply> read_answer(std::string_view json) {
  protocol::Decoder decoder(Reply::kLimits);
  std::string frame = framed(json);
  decoder.append(std::as_bytes(std::span(frame)));
  auto message = decoder.next();
  if (!message) return std::nullopt;
  auto reply = protocol::decode_reply<Reply>(std::move(*message));
  if (!reply) {
    check(!reply.error().message().empty(), "an answer is refused without a word");
    return std::nullopt;
  }
  return std::move(*reply);
}

// Takes files of the guest: for each the number of its name in `names` (or, beyond these, the name itself), a piece of
// its content, and how often the piece is repeated: mostly once, sometimes some thousand times.
template <typename Names>
std::map<std::string, std::string> take_files(Input& input, const Names& names, size_t most) {
  std::map<std::string, std::string> files;
  while (!input.empty() && files.size() < most) {
    size_t which = input.take<uint8_t>();
    std::string name = which < std::size(names) ? std::string(names[which]) : input.short_text();
    std::string piece = input.text(input.take<uint16_t>() % 4096);
    auto repeated = input.take<uint8_t>();
    std::string& content = files[name];
    content = piece;
    for (int times = repeated < 240 ? 0 : repeated % 16 * 100; times > 0 && content.size() < 65536; times--) {
      content += piece;
    }
  }
  return files;
}

}  // namespace nacre::fuzz
