#include <cstdlib>

#include "guest-init/protocol/protocol.h"
#include "runtime/plan/translate.h"

namespace nacre::runtime {

namespace {

// Where runc has it.
constexpr const char* kDirectory = "/run/notify";

}  // namespace

bool add_notify_socket(oci::Config& config, const std::string& id) {
  const char* socket = ::getenv("NOTIFY_SOCKET");
  if (socket == nullptr || *socket == '\0') return false;
  auto& mounts = config.json["mounts"];
  if (mounts.is_null()) mounts = nlohmann::json::array();
  // Not one of the host: the source is in the guest.
  std::string source = std::string(protocol::kNotifyDirectory) + "/" + id;
  config.mounts.push_back({.index = mounts.size(), .type = "notify", .destination = kDirectory, .source = source});
  mounts.push_back({{"destination", kDirectory},
                    {"type", "bind"},
                    {"source", source},
                    {"options", {"bind", "nosuid", "noexec", "nodev"}}});
  config.json["process"]["env"].push_back("NOTIFY_SOCKET=" + std::string(kDirectory) + "/" + protocol::kNotifyName);
  return true;
}

}  // namespace nacre::runtime
