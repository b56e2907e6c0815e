// SPDX-License-Identifier: Apache-2.0
// The values of command-line options: sizes, and "key=value,key=value,flag" lists.
#include <charconv>
#include <functional>
#include <map>

#include "vmm/api/config.h"

namespace nacre::vmm {

namespace {

using Setter = std::function<Result<void>(std::string_view value)>;

Setter set_string(std::string& target) {
  return [&target](std::string_view value) -> Result<void> {
    target = value;
    return {};
  };
}

Setter set_flag(bool& target) {
  return [&target](std::string_view value) -> Result<void> {
    if (!value.empty() && value != "true" && value != "false") return fail("is a flag");
    target = value != "false";
    return {};
  };
}

Setter set_u64(uint64_t& target) {
  return [&target](std::string_view value) -> Result<void> {
    auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), target);
    if (code != std::errc() || end != value.data() + value.size()) return fail("is not a number");
    return {};
  };
}

// Calls the setter of each "key=value" or "key" in the list.
Result<void> parse_list(std::string_view option, std::string_view text,
                        const std::map<std::string_view, Setter>& keys) {
  while (!text.empty()) {
    std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    size_t equals = item.find('=');
    std::string_view key = item.substr(0, equals);
    std::string_view value = equals == std::string_view::npos ? "" : item.substr(equals + 1);
    auto setter = keys.find(key);
    if (setter == keys.end()) {
      std::string known;
      for (const auto& [name, unused] : keys) known += (known.empty() ? "" : ", ") + std::string(name);
      return fail(std::string(option) + ": unknown key '" + std::string(key) + "' (known: " + known + ")");
    }
    auto result = setter->second(value);
    if (!result) return fail(std::string(option) + ": " + std::string(key) + " " + result.error().message());
  }
  return {};
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  uint64_t value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  unsigned shift = 0;
  if (suffix == "K" || suffix == "k") {
    shift = 10;
  } else if (suffix == "M" || suffix == "m") {
    shift = 20;
  } else if (suffix == "G" || suffix == "g") {
    shift = 30;
  } else if (!suffix.empty()) {
    code = std::errc::invalid_argument;
  }
  if (code != std::errc() || value > (UINT64_MAX >> shift)) {
    return fail("'" + std::string(text) + "' is not a size (bytes, or a number with K, M or G)");
  }
  return value << shift;
}

Result<Fs> parse_fs(std::string_view text) {
  Fs fs;
  TRY(parse_list("--fs", text,
                 {{"tag", set_string(fs.tag)}, {"path", set_string(fs.path)}, {"readonly", set_flag(fs.readonly)}}));
  if (fs.path.empty()) return fail("--fs: path is missing");
  if (fs.tag.empty()) return fail("--fs: tag is missing");
  return fs;
}

Result<MacAddress> parse_mac(std::string_view text) {
  constexpr size_t kBytes = 6, kLength = 3 * kBytes - 1;
  auto wrong = fail("'" + std::string(text.substr(0, kLength)) + "' is not an address such as 02:00:00:12:34:56");
  MacAddress mac{};
  if (text.size() != kLength) return wrong;
  for (size_t i = 0; i < kBytes; i++) {
    const char* digits = text.data() + 3 * i;
    if (i > 0 && digits[-1] != ':') return wrong;
    auto [end, code] = std::from_chars(digits, digits + 2, mac[i], 16);
    if (code != std::errc() || end != digits + 2) return wrong;
  }
  constexpr uint8_t kGroup = 1;  // the bit that comes first on the wire
  if (mac[0] & kGroup) return fail("'" + std::string(text) + "' is the address of a group");
  if (mac == MacAddress{}) return fail("'" + std::string(text) + "' is nobody's address");
  return mac;
}

Result<Net> parse_net(std::string_view text) {
  Net net;
  TRY(parse_list("--net", text, {{"tap", set_string(net.tap)}, {"mac", set_string(net.mac)}}));
  if (net.tap.empty()) return fail("--net: tap is missing");
  if (!net.mac.empty()) TRY_CONTEXT(parse_mac(net.mac), "--net: mac");
  return net;
}

Result<Vsock> parse_vsock(std::string_view text) {
  Vsock vsock;
  TRY(parse_list("--vsock", text, {{"cid", set_u64(vsock.cid)}, {"uds", set_string(vsock.uds)}}));
  if (vsock.uds.empty()) return fail("--vsock: uds is missing");
  return vsock;
}

}  // namespace nacre::vmm
