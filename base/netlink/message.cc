// SPDX-License-Identifier: Apache-2.0
#include "base/netlink/message.h"

#include <algorithm>
#include <cstdio>

namespace nacre::netlink {

void MessageBuilder::append(const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  bytes_.insert(bytes_.end(), bytes, bytes + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

MessageBuilder& MessageBuilder::put(uint16_t type, std::span<const std::byte> value) {
  size_t start = begin(type);
  bytes_.insert(bytes_.end(), value.begin(), value.end());
  end(start);
  return *this;
}

MessageBuilder& MessageBuilder::put(uint16_t type, std::string_view text) {
  size_t start = begin(type);
  auto bytes = std::as_bytes(std::span(text));
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.push_back(std::byte{0});
  end(start);
  return *this;
}

size_t MessageBuilder::begin(uint16_t type) {
  size_t start = bytes_.size();
  nlattr head{.nla_len = 0, .nla_type = type};
  append(&head, sizeof(head));
  return start;
}

void MessageBuilder::end(size_t start) {
  auto length = static_cast<uint16_t>(bytes_.size() - start);
  std::memcpy(bytes_.data() + start + offsetof(nlattr, nla_len), &length, sizeof(length));
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  set_length();
}

void MessageBuilder::set_length() {
  auto length = static_cast<uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof(length));
}

std::string_view Attribute::text() const {
  std::string_view all(reinterpret_cast<const char*>(value.data()), value.size());
  return all.substr(0, all.find('\0'));
}

std::vector<Attribute> parse_attributes(std::span<const std::byte> bytes) {
  std::vector<Attribute> attributes;
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr head;
    std::memcpy(&head, bytes.data(), sizeof(head));
    if (head.nla_len < sizeof(head) || head.nla_len > bytes.size()) break;
    attributes.push_back({.type = static_cast<uint16_t>(head.nla_type & NLA_TYPE_MASK),
                          .value = bytes.subspan(sizeof(head), head.nla_len - sizeof(head))});
    bytes = bytes.subspan(std::min<size_t>(NLMSG_ALIGN(head.nla_len), bytes.size()));
  }
  return attributes;
}

std::optional<Attribute> find(const std::vector<Attribute>& attributes, uint16_t type) {
  auto found = std::find_if(attributes.rbegin(), attributes.rend(), [type](const auto& a) { return a.type == type; });
  if (found == attributes.rend()) return std::nullopt;
  return *found;
}

std::string mac_text(std::span<const std::byte> mac) {
  std::string text;
  for (std::byte byte : mac) {
    char digits[4];
    std::snprintf(digits, sizeof(digits), "%02x:", static_cast<unsigned>(byte));
    text += digits;
  }
  if (!text.empty()) text.pop_back();
  return text;
}

std::optional<MessageView> MessageView::first_of(std::span<const std::byte> bytes) {
  MessageView view;
  if (bytes.size() < sizeof(view.outer_)) return std::nullopt;
  std::memcpy(&view.outer_, bytes.data(), sizeof(view.outer_));
  if (view.outer_.nlmsg_len < sizeof(view.outer_) || view.outer_.nlmsg_len > bytes.size()) return std::nullopt;
  view.bytes_ = bytes.first(view.outer_.nlmsg_len);
  return view;
}

size_t MessageView::stride() const {
  return NLMSG_ALIGN(bytes_.size());
}

}  // namespace nacre::netlink
