// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <array>
#include <string_view>

#include "base/rootfs.h"
#include "guest-init/spec/spec.h"

namespace nacre::guest {

namespace {

constexpr int64_t kMaxDeviceMajor = (1 << 12) - 1;
constexpr int64_t kMaxDeviceMinor = (1 << 20) - 1;

constexpr uint32_t kAll = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

constexpr DeviceRule allowed(uint32_t major, std::optional<uint32_t> minor) {
  return {.allow = true, .type = BPF_DEVCG_DEV_CHAR, .major = major, .minor = minor, .access = kAll};
}
constexpr DeviceRule makeable(uint32_t type) {
  return {.allow = true, .type = type, .major = {}, .minor = {}, .access = BPF_DEVCG_ACC_MKNOD};
}
// What every container may do, whatever its rules say, as under runc: make nodes of all devices, and use the default
// devices of the specification, pseudo-terminals and tun.
constexpr std::array kAlways = {
    makeable(BPF_DEVCG_DEV_CHAR),
    makeable(BPF_DEVCG_DEV_BLOCK),
    allowed(1, 3),
    allowed(1, 5),
    allowed(1, 7),
    allowed(1, 8),
    allowed(1, 9),
    allowed(5, 0),
    allowed(5, 2),
    allowed(136, {}),
    allowed(10, 200),
};

// Reads a device number; -1 means any, as does an absent one.
Result<std::optional<uint32_t>> parse_number(const JsonField& field) {
  int64_t number = TRY(field.integer(-1, UINT32_MAX, -1));
  if (number == -1) return std::nullopt;
  return static_cast<uint32_t>(number);
}

Result<DeviceRule> parse_rule(const JsonField& field) {
  DeviceRule rule;
  rule.allow = TRY(TRY(field.member("allow")).boolean(false));
  std::string type = TRY(TRY(field.member("type")).string(""));
  if (type == "c") {
    rule.type = BPF_DEVCG_DEV_CHAR;
  } else if (type == "b") {
    rule.type = BPF_DEVCG_DEV_BLOCK;
  } else if (!type.empty() && type != "a") {
    return field.fails("has the type \"" + type + "\", which is not one of a, b, c");
  }
  rule.major = TRY(parse_number(TRY(field.member("major"))));
  rule.minor = TRY(parse_number(TRY(field.member("minor"))));
  std::string access = TRY(TRY(field.member("access")).string(""));
  if (access.empty()) return field.fails("has no access");
  for (char letter : access) {
    constexpr std::string_view kLetters = "mrw";  // in the order of BPF_DEVCG_ACC_*
    size_t bit = kLetters.find(letter);
    if (bit != std::string_view::npos) rule.access |= 1u << bit;  // other letters mean nothing, as under runc
  }
  if (rule.access == 0) return field.fails("has the access \"" + access + "\", with none of r, w and m");
  return rule;
}

}  // namespace

Result<DeviceSpec> parse_device(const JsonField& field) {
  DeviceSpec device{};
  device.path = clean_path(TRY(TRY(field.member("path")).string()));  // "/dev/x/" is "/dev/x", as under runc
  std::string type = TRY(TRY(field.member("type")).string());
  if (type == "c" || type == "u") {
    device.type = S_IFCHR;
  } else if (type == "b") {
    device.type = S_IFBLK;
  } else if (type == "p") {
    device.type = S_IFIFO;
  } else {
    return field.fails("has the unknown type \"" + type + "\"");
  }
  if (device.type != S_IFIFO) {
    device.major = static_cast<unsigned>(TRY(TRY(field.member("major")).integer(0, kMaxDeviceMajor)));
    device.minor = static_cast<unsigned>(TRY(TRY(field.member("minor")).integer(0, kMaxDeviceMinor)));
  }
  device.mode = static_cast<mode_t>(TRY(TRY(field.member("fileMode")).integer(0, 0xffff, 0666))) & 07777;
  device.uid = static_cast<uid_t>(TRY(TRY(field.member("uid")).integer(0, 0xfffffffe, 0)));
  device.gid = static_cast<gid_t>(TRY(TRY(field.member("gid")).integer(0, 0xfffffffe, 0)));
  return device;
}

Result<std::vector<DeviceRule>> parse_device_rules(const JsonField& rules) {
  std::vector<DeviceRule> parsed;
  for (const JsonField& rule : TRY(rules.list())) parsed.push_back(TRY(parse_rule(rule)));
  parsed.insert(parsed.end(), kAlways.begin(), kAlways.end());
  return parsed;
}

}  // namespace nacre::guest
