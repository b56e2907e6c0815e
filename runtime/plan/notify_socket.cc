// SPDX-License-Identifier: Apache-2.0
#include "guest-init/protocol/protocol.h"
#include "runtime/plan/mounts.h"

namespace nacre::runtime {

namespace {

constexpr const char* kDirectory = "/run/notify";  // as under runc

}  // namespace

oci::Mount notify_mount(const std::string& id) {
  // The source is in the guest: guest-init makes the socket.
  std::string source = std::string(protocol::kNotifyDirectory) + "/" + id;
  return {.name = "the notify socket",
          .type = "notify",
          .destination = kDirectory,
          .source = source,
          .json = {{"destination", kDirectory},
                   {"type", "bind"},
                   {"source", source},
                   {"options", {"bind", "nosuid", "noexec", "nodev"}}}};
}

std::string notify_socket_variable() {
  return "NOTIFY_SOCKET=" + std::string(kDirectory) + "/" + protocol::kNotifyName;
}

}  // namespace nacre::runtime
