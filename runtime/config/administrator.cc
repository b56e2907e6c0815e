// SPDX-License-Identifier: Apache-2.0
#include "runtime/config/administrator.h"

#include <toml++/toml.h>
#include <cerrno>

#include "base/fd.h"
#include "vmm/api/config.h"

namespace nacre::oci {

namespace {

constexpr size_t kMaxFile = 1 << 20;
constexpr const char* kMaxVmMemory = "max-vm-memory";

Result<AdministratorLimits> parse(const std::string& text) try {
  AdministratorLimits limits;
  toml::table table = toml::parse(text);
  for (const auto& [key, value] : table) {
    if (key != kMaxVmMemory) return fail(std::string(key.str()) + ": unknown key", EINVAL);
    const auto* size = value.as_string();
    if (size == nullptr) return fail(std::string(kMaxVmMemory) + " must be a string such as \"8G\"", EINVAL);
    limits.max_vm_memory = TRY_CONTEXT(vmm::parse_size(size->get()), kMaxVmMemory);
  }
  return limits;
} catch (const toml::parse_error& error) {
  return fail("line " + std::to_string(error.source().begin.line) + ": " + std::string(error.description()), EINVAL);
}

}  // namespace

Result<AdministratorLimits> read_administrator_limits(const std::string& path) {
  auto text = read_file(path, kMaxFile);
  if (!text && text.error().code() == ENOENT) return AdministratorLimits{};
  if (!text) return std::unexpected(text.error());
  return TRY_CONTEXT(parse(*text), path);
}

}  // namespace nacre::oci
