// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/systemd/sd_bus.h"

#include <dlfcn.h>

#include <string>

namespace nacre::runtime {

namespace {

constexpr const char* kLibrary = "libsystemd.so.0";

SdBusCalls& calls() {
  static SdBusCalls calls;
  return calls;
}

template <typename Call>
Result<void> find(void* library, const char* name, Call& call) {
  call = reinterpret_cast<Call>(::dlsym(library, name));
  if (call == nullptr) return fail(std::string(kLibrary) + " has no " + name, ENOSYS);
  return {};
}

}  // namespace

Result<void> load_sd_bus() {
  void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);  // never closed
  if (library == nullptr) return fail(std::string("systemd's library: ") + ::dlerror(), ENOENT);
#define NACRE_FIND(name) TRY(find(library, "sd_bus_" #name, calls().name));
  NACRE_SD_BUS_CALLS(NACRE_FIND)
#undef NACRE_FIND
  TRY(find(library, "sd_bus_new", calls().make));
  return {};
}

const SdBusCalls& sd_bus_calls() {
  return calls();
}

}  // namespace nacre::runtime
