// SPDX-License-Identifier: Apache-2.0
// Fuzzes what is made of config.json: the schema, the checks, the plan, and guest-init's reading of the plan.
//
// An input is either the text itself or a list of up to three changes of a sound configuration, since random text is
// seldom JSON: its first byte says which. What is refused is refused with a message, and what vmm is to be started with
// is sound in vmm's own eyes.
#include <filesystem>
#include <fstream>

#include "guest-init/spec/spec.h"
#include "runtime/config/config.h"
#include "runtime/plan/plan.h"
#include "tests/fuzz/sound_config.h"
#include "vmm/api/config.h"

namespace {

using namespace nacre;
using fuzz::Json;

constexpr int kMaxChanges = 3;

struct World {
  World() {
    fuzz::silence_log();
    std::filesystem::create_directory(bundle / "rootfs");
    facts.parts = {.vmm = "/p/vmm", .kernel = "/p/vmlinux", .initramfs = "/p/initramfs"};
    facts.size = {.memory = 8ull << 30, .cpus = 4};
    facts.unique_prefix = "7:";
  }

  const fuzz::Scratch bundle;
  runtime::HostFacts facts{};
  Json sound = fuzz::sound_config();
  Json parts = sound.flatten();  // by their places
};

void check_message(const std::string& text) {
  fuzz::check(!text.empty(), "a refusal or a warning without a word");
}

void try_config(const World& world) {
  auto config = oci::load_config(world.bundle.path(), "", {});
  if (!config) return check_message(config.error().message());
  for (const std::string& warning : config->warnings) check_message(warning);
  auto plan = runtime::make_plan(*config, world.facts, {.id = "one", .directory = "/run/nacre/one"});
  if (!plan) return check_message(plan.error().message());
  fuzz::check(vmm::check(plan->vm.config).has_value(), "vmm refuses what it is started with");
  fuzz::check(vmm::parse_toml(vmm::to_toml(plan->vm.config)).has_value(), "vmm's configuration does not read");
  auto spec = guest::parse_container(plan->guest.config);
  if (!spec) check_message(spec.error().message());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const World world;
  fuzz::Input input(data, size);
  bool is_text = input.take<uint8_t>() % 4 == 0;
  std::string text = is_text ? input.text() : fuzz::to_text(changed(world.sound, world.parts, input, kMaxChanges));
  std::ofstream(world.bundle / "config.json", std::ios::trunc) << text;
  try_config(world);
  return 0;
}
