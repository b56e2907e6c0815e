#include "guest-init/joined_namespaces.h"

namespace nacre::guest {

Result<std::map<std::string, std::string>> parse_joins(const Field& joins) {
  std::map<std::string, std::string> parsed;
  for (const auto& [type, container] : TRY(joins.members())) parsed[type] = TRY(container.string());
  return parsed;
}

}  // namespace nacre::guest
