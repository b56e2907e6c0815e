// SPDX-License-Identifier: Apache-2.0
// Fuzzes what linux.resources becomes on the host: files of cgroups, of version 2 and 1, and their values.
//
// An input is up to three changes of the resources of a sound configuration. What config.json may ask for names files
// of the container's own cgroup and no others.
#include <filesystem>
#include <fstream>

#include "runtime/config/config.h"
#include "runtime/host/cgroup/files.h"
#include "runtime/host/cgroup/v1_files.h"
#include "runtime/host/cgroup/v2_files.h"
#include "tests/fuzz/sound_config.h"

namespace {

using namespace nacre;
using fuzz::Json;

constexpr int kMaxChanges = 3;
constexpr unsigned kCpus = 4;

struct World {
  World() {
    fuzz::silence_log();
    std::filesystem::create_directory(bundle / "rootfs");
  }

  const fuzz::Scratch bundle;
  Json sound = fuzz::sound_config();
  Json resources = sound["linux"]["resources"];
  Json parts = resources.flatten();
};

void check_files(const Result<std::vector<oci::CgroupFile>>& files) {
  if (!files) return fuzz::check(!files.error().message().empty(), "limits are refused without a word");
  for (const oci::CgroupFile& file : *files) {
    bool is_name = !file.name.empty() && file.name[0] != '.' && !file.name.contains('/') && !file.name.contains('\0');
    fuzz::check(is_name, "a limit is written to what is no file of the cgroup");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const World world;
  fuzz::Input input(data, size);
  Json config = world.sound;
  config["linux"]["resources"] = changed(world.resources, world.parts, input, kMaxChanges);
  std::ofstream(world.bundle / "config.json", std::ios::trunc) << fuzz::to_text(config);
  auto loaded = oci::load_config(world.bundle.path(), "", {});
  if (!loaded) return 0;
  const Json resources = loaded->json["linux"].value("resources", Json::object());
  check_files(runtime::v2_files(resources, world.bundle.path(), kCpus));
  check_files(runtime::v1_files(resources, {}, kCpus));
  check_files(runtime::v1_backstop(resources, 64 << 20));
  return 0;
}
