// SPDX-License-Identifier: Apache-2.0
#include "base/capabilities.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace nacre {

Result<void> set_capabilities(uint64_t bits) {
  std::array<__user_cap_data_struct, 2> data{};
  for (size_t i = 0; i < data.size(); i++) {
    data[i].permitted = data[i].effective = static_cast<uint32_t>(bits >> (32 * i));
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  if (::syscall(SYS_capset, &header, data.data()) < 0) return fail_errno("capset");
  return {};
}

}  // namespace nacre
