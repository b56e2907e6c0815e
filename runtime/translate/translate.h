// From a container's configuration to a virtual machine's, and to what the guest is told.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "runtime/oci/config.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

// Annotations that shape the VM.
inline constexpr const char* kMemoryAnnotation = "nacre.vm.memory";  // "1G", as vmm's --memory
inline constexpr const char* kCpusAnnotation = "nacre.vm.cpus";      // 1 to 64

// Guest memory is virtual: a page costs the host something once the guest has touched it. A memory limit of the
// container (which acts in the guest) makes the VM larger where it does not fit, by this much for the guest itself.
inline constexpr uint64_t kDefaultMemory = 512ull << 20;
inline constexpr uint64_t kGuestOverhead = 128ull << 20;
// Each further CPU costs milliseconds of boot: there are more where linux.resources.cpu speaks of more.
inline constexpr unsigned kDefaultCpus = 1;

// Where the parts of the product are: $NACRE_VMM, $NACRE_KERNEL, $NACRE_INITRAMFS, or beside the program as it is
// installed (PREFIX/bin/vmm, PREFIX/lib/nacre/vmlinux, PREFIX/lib/nacre/initramfs.cpio).
struct Parts {
  std::string vmm;
  std::string kernel;
  std::string initramfs;
};
Result<Parts> find_parts();

// The VM for a container, without the descriptors, which the stand-in makes. `debug` keeps a console.
Result<vmm::Config> to_vm(const oci::Config& config, const Parts& parts, bool debug);

// config.json for the guest: the root and the sources of bind mounts are paths below protocol::kShareMountPoint.
nlohmann::json to_guest(const oci::Config& config);

// Makes the destinations of mounts that a read-only root filesystem lacks: the guest cannot, since the host refuses its
// writes. Never follows a link out of `config.rootfs`.
Result<void> make_mountpoints(const oci::Config& config);

}  // namespace nacre::runtime
