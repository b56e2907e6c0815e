#include "vmm/api/control.h"

#include <charconv>

namespace nacre::vmm {

namespace {

constexpr std::string_view kResize = "resize";
constexpr std::string_view kSize = "size";
constexpr std::string_view kError = "error ";

std::string_view take_word(std::string_view& text) {
  std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return word;
}

template <typename T>
Result<T> parse_number(std::string_view name, std::string_view text) {
  T number{};
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code == std::errc() && end == text.data() + text.size() && !text.empty()) return number;
  return fail(std::string(name) + ": not a number", EINVAL);
}

}  // namespace

std::string encode_request(const Resize& request) {
  std::string text(kResize);
  if (request.memory) text += " memory=" + std::to_string(*request.memory);
  if (request.cpus) text += " cpus=" + std::to_string(*request.cpus);
  return text;
}

Result<Resize> parse_request(std::string_view packet) {
  if (take_word(packet) != kResize) return fail("unknown request", EINVAL);
  Resize request;
  while (!packet.empty()) {
    std::string_view word = take_word(packet);
    size_t equals = word.find('=');
    std::string_view name = word.substr(0, equals);
    std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
    if (name == "memory") {
      request.memory = TRY(parse_number<uint64_t>(name, value));
    } else if (name == "cpus") {
      request.cpus = TRY(parse_number<unsigned>(name, value));
    } else {
      return fail("unknown word in a request to resize", EINVAL);
    }
  }
  return request;
}

std::string encode_answer(const Result<MachineSize>& answer) {
  if (!answer) return (std::string(kError) + answer.error().message()).substr(0, kMaxControlPacket);
  return std::string(kSize) + " memory=" + std::to_string(answer->memory) +
         " present=" + std::to_string(answer->present) + " max_memory=" + std::to_string(answer->max_memory) +
         " cpus=" + std::to_string(answer->cpus) + " max_cpus=" + std::to_string(answer->max_cpus);
}

Result<MachineSize> parse_answer(std::string_view packet) {
  if (packet.starts_with(kError)) return fail(std::string(packet.substr(kError.size())), EINVAL);
  if (take_word(packet) != kSize) return fail("vmm's answer is not understood", EPROTO);
  MachineSize size;
  while (!packet.empty()) {
    std::string_view word = take_word(packet);
    size_t equals = std::min(word.find('='), word.size());
    std::string_view name = word.substr(0, equals);
    uint64_t value = TRY(parse_number<uint64_t>(name, word.substr(std::min(equals + 1, word.size()))));
    if (name == "memory") size.memory = value;
    if (name == "present") size.present = value;
    if (name == "max_memory") size.max_memory = value;
    if (name == "cpus") size.cpus = static_cast<unsigned>(value);
    if (name == "max_cpus") size.max_cpus = static_cast<unsigned>(value);
  }
  return size;
}

}  // namespace nacre::vmm
