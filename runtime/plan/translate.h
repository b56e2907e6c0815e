// From a container's configuration to a virtual machine's, and to what the guest is told.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/mountinfo.h"
#include "base/result.h"
#include "guest-init/protocol/messages.h"
#include "runtime/config/config.h"
#include "vmm/api/config.h"

namespace nacre::runtime {

// Annotations that shape the VM.
inline constexpr const char* kMemoryAnnotation = "nacre.vm.memory";  // "1G", as vmm's --memory
inline constexpr const char* kCpusAnnotation = "nacre.vm.cpus";      // 1 to 64
// And how far `update` can make it grow.
inline constexpr const char* kMaxMemoryAnnotation = "nacre.vm.max-memory";
inline constexpr const char* kMaxCpusAnnotation = "nacre.vm.max-cpus";

// Where the parts of the product are: $NACRE_VMM, $NACRE_KERNEL, $NACRE_INITRAMFS, or beside the program as it is
// installed (PREFIX/bin/vmm, PREFIX/lib/nacre/vmlinux, PREFIX/lib/nacre/initramfs.cpio).
struct Parts {
  std::string vmm;
  std::string kernel;
  std::string initramfs;
};
Result<Parts> find_parts();

// The VM for a container, without the descriptors, which the stand-in makes. `debug` keeps a console. The names of what
// is served begin with `prefix`.
Result<vmm::Config> to_vm(const oci::Config& config, const Parts& parts, bool debug, const std::string& prefix = "");

// linux.resources; an empty object where there are none.
const nlohmann::json& resources_of(const oci::Config& config);

// config.json for the guest: the root and the sources of bind mounts are paths below protocol::kShareMountPoint, and
// there is no linux.seccomp, which is compiled on the host (runtime/seccomp), and no linux.memoryPolicy, which is about
// the host's memory. `prefix` is that of to_vm().
nlohmann::json to_guest(const oci::Config& config, const std::string& prefix = "");

// Where NOTIFY_SOCKET is set: the container gets a socket of its own, under that name in its environment
// (sd_notify(3)). What comes there is guest-init's to tell (protocol.h, "notify"). False: it is not set.
bool add_notify_socket(oci::Config& config, const std::string& id);

// A file system that the configuration mounts and that is the host's to mount, such as podman's overlay volumes.
struct HostFilesystem {
  std::string name;  // "mounts[N]"
  // As mount(2) takes them.
  std::string type, source, data;
  unsigned long flags = 0;
  std::string place;  // a directory that is still to be made, in the container's own
};
// Such mounts become bind mounts from their places. `directory` is the container's.
std::vector<HostFilesystem> keep_filesystems_on_host(oci::Config& config, const std::string& directory);

// podman and docker make a tmpfs of --shm-size on the host for each container and bind it on /dev/shm. Memory that the
// guest's processes share has to be the guest's: such a mount becomes a tmpfs of that size in the guest. Containers
// that get the same one of the host share the guest's too: gives "sharedMounts" of protocol.h.
nlohmann::json keep_shared_memory_in_guest(oci::Config& config);

// Callers bind the host's /proc, /sys or /sys/fs/cgroup on the same place where the container is to see the host's
// processes (rootless ones, who may not mount new ones). In a VM it is the guest's that belongs there.
void keep_kernel_filesystems_in_guest(oci::Config& config);

// Of a bind mount that becomes another mount: the options that are not about binding.
nlohmann::json unbound_options(const nlohmann::json& mount);

// The host's mounts that `vm` serves, as the guest is to show them ("hostMounts" of protocol.h): their attributes, and
// where one lies below another.
Result<std::vector<protocol::HostMount>> to_host_mounts(const vmm::Config& vm);

// The words for a mount's attributes, of which mountinfo lacks one.
std::vector<std::string> attribute_words(const MountInfo& mount);
// Of `mounts` those that one finds below a path, the upper before the lower.
std::vector<MountInfo> mounts_below(const std::string& source, const std::vector<MountInfo>& mounts);
// Where the share has what is mounted at `point`, at or below a source that is served as `target`.
std::string path_in_share(const std::string& target, const std::string& source, const std::string& point);

// A mount of the configuration as one sees it on the host.
struct ServedMount {
  std::string destination;          // in the container
  std::string source, target = {};  // on the host, and in the share; no target: it is the guest's alone
  bool recursive = false, readonly_below = false, follows = false;  // as in oci::Mount
};
// One for each of config.mounts.
std::vector<ServedMount> served_mounts(const oci::Config& config, const std::string& prefix = "");

// A process has its caller's limits where the configuration has none, as under runc.
void inherit_rlimits(nlohmann::json& process);

// A tmpfs has the mode of the directory that it covers, or where that is not there yet, its own default: this says so
// to the guest where the host makes the directory, as the next function does.
void keep_tmpfs_modes(const oci::Config& config, nlohmann::json& guest);

// Makes the destinations of mounts and the working directory that a read-only root filesystem lacks: the guest cannot,
// since the host refuses its writes. Never follows a link out of `config.rootfs`.
Result<void> make_mountpoints(const oci::Config& config);

}  // namespace nacre::runtime
