// SPDX-License-Identifier: Apache-2.0
// Messages of netlink(7): nlmsghdr, the header of their family, and attributes (<linux/netlink.h>). Numbers are in the
// machine's byte order, everything begins at a multiple of four bytes, and lengths include headers.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace nacre::netlink {

using Bytes = std::vector<std::byte>;

// Builds one message: MessageBuilder(RTM_NEWLINK, NLM_F_CREATE, ifinfomsg{...}).put(IFLA_IFNAME, "eth0").
class MessageBuilder {
 public:
  template <typename Header>
  MessageBuilder(uint16_t type, uint16_t flags, const Header& header) {
    static_assert(std::is_trivially_copyable_v<Header>);
    nlmsghdr outer{};
    outer.nlmsg_type = type;
    outer.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
    append(&outer, sizeof(outer));
    append(&header, sizeof(header));
    set_length();
  }

  MessageBuilder& put(uint16_t type, std::span<const std::byte> value);
  MessageBuilder& put(uint16_t type, std::string_view text);  // with a 0 after it
  MessageBuilder& put(uint16_t type, const char* text) { return put(type, std::string_view(text)); }
  // A number of the type's width, or a structure of the kernel's.
  template <typename T>
    requires std::is_trivially_copyable_v<T> && (!std::is_convertible_v<T, std::string_view>)
  MessageBuilder& put(uint16_t type, const T& value) {
    return put(type, std::as_bytes(std::span(&value, 1)));
  }
  // Puts what `fill` puts into one attribute.
  template <typename Fill>
  MessageBuilder& nest(uint16_t type, Fill fill) {
    size_t start = begin(type);
    fill(*this);
    end(start);
    return *this;
  }

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void append(const void* data, size_t size);
  size_t begin(uint16_t type);
  void end(size_t start);
  void set_length();

  Bytes bytes_;
};

struct Attribute {
  uint16_t type = 0;  // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
  std::span<const std::byte> value;

  // Returns the value if it has the size of a T.
  template <typename T>
  std::optional<T> as() const {
    static_assert(std::is_trivially_copyable_v<T>);
    if (value.size() != sizeof(T)) return std::nullopt;
    T read;
    std::memcpy(&read, value.data(), sizeof(T));
    return read;
  }
  // Returns the text up to its first 0.
  std::string_view text() const;
};

// Takes the bytes of attributes apart. Where a length does not fit, the attributes end.
std::vector<Attribute> parse_attributes(std::span<const std::byte> bytes);
// Returns the last attribute of the type.
std::optional<Attribute> find(const std::vector<Attribute>& attributes, uint16_t type);

// Returns the address of a link as ip(8) writes it: "02:42:ac:11:00:02".
std::string mac_text(std::span<const std::byte> mac);

// One received message, whose bytes are `bytes`.
class MessageView {
 public:
  // Returns the message at the start of `bytes`, or nothing if there is no whole one.
  static std::optional<MessageView> first_of(std::span<const std::byte> bytes);

  std::span<const std::byte> bytes() const { return bytes_; }
  uint16_t type() const { return outer_.nlmsg_type; }
  uint16_t flags() const { return outer_.nlmsg_flags; }
  uint32_t sequence() const { return outer_.nlmsg_seq; }  // of the request that it answers
  std::span<const std::byte> payload() const { return bytes_.subspan(sizeof(nlmsghdr)); }
  // Returns how many bytes it takes up before the next message.
  size_t stride() const;

  // Returns the family's header; nothing if the message is too short for one.
  template <typename Header>
  std::optional<Header> header() const {
    static_assert(std::is_trivially_copyable_v<Header>);
    if (payload().size() < sizeof(Header)) return std::nullopt;
    Header read;
    std::memcpy(&read, payload().data(), sizeof(read));
    return read;
  }
  // Returns the attributes behind a family's header.
  template <typename Header>
  std::vector<Attribute> attributes() const {
    size_t start = NLMSG_ALIGN(sizeof(Header));
    return payload().size() < start ? std::vector<Attribute>() : parse_attributes(payload().subspan(start));
  }

 private:
  std::span<const std::byte> bytes_;
  nlmsghdr outer_{};
};

}  // namespace nacre::netlink
