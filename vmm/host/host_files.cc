// SPDX-License-Identifier: Apache-2.0
#include "vmm/host/host_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace nacre::vmm {

namespace {

constexpr int kBacklog = 128;

Result<Fd> inherit(int fd, const char* what) {
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return fail_errno(std::string(what) + " " + std::to_string(fd));
  return Fd(fd);
}

// Makes a listening socket. `what` says in an error what the socket is for.
Result<Fd> listen_at(const std::string& what, const std::string& path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return fail(what + ": path " + path + " is too long", ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return fail_errno(what + ": " + path);
  }
  if (::listen(socket.get(), kBacklog) < 0) return fail_errno(what + ": " + path);
  return socket;
}

Result<Fd> open_share(const Fs& fs) {
  return TRY_CONTEXT(open_file(fs.path, O_PATH | O_DIRECTORY), "fs " + fs.tag);
}

// Makes up an address that no manufacturer gives out: locally administered, and of one station (IEEE 802, 8.4).
Result<MacAddress> random_mac() {
  constexpr uint8_t kLocal = 2, kGroup = 1;
  MacAddress mac;
  if (::getrandom(mac.data(), mac.size(), 0) != static_cast<ssize_t>(mac.size())) return fail_errno("getrandom");
  mac[0] = static_cast<uint8_t>((mac[0] | kLocal) & ~kGroup);
  return mac;
}

Result<HostNet> open_net(const Net& net) {
  HostNet opened{.tap = nullptr, .mac = net.mac.empty() ? TRY(random_mac()) : TRY(parse_mac(net.mac))};
  if (net.tap_fd < 0) {
    opened.tap = TRY_CONTEXT(virtio::net::Tap::open(net.tap), "net");
  } else {
    Fd tap = TRY(inherit(net.tap_fd, "net: tap_fd"));
    opened.tap = TRY_CONTEXT(virtio::net::Tap::adopt(std::move(tap)), "net: tap_fd " + std::to_string(net.tap_fd));
  }
  return opened;
}

Result<void> open_vsock(const Vsock& vsock, HostFiles& files) {
  if (vsock.listen_fd >= 0) {
    files.vsock_listener = TRY(inherit(vsock.listen_fd, "vsock: listen_fd"));
    TRY(set_nonblocking(files.vsock_listener.get(), true));
  } else if (!vsock.uds.empty()) {
    files.vsock_listener = TRY(listen_at("vsock", vsock.uds, SOCK_STREAM));
  }
  for (const VsockStream& stream : vsock.streams) {
    files.vsock_streams.push_back(TRY(inherit(stream.fd, "vsock: stream descriptor")));
  }
  return {};
}

Result<Fd> open_control(const Control& control) {
  if (control.listen_fd >= 0) return inherit(control.listen_fd, "control: listen_fd");
  return listen_at("control", control.path, SOCK_SEQPACKET);
}

// Returns no descriptor for anonymous memory.
Result<Fd> open_memory(const std::string& backing) {
  if (backing == "anonymous") return Fd();
  if (backing != "memfd") return TRY_CONTEXT(open_file(backing, O_RDWR | O_CREAT | O_TRUNC, 0600), "memory_backing");
  Fd memory(::memfd_create("guest", MFD_CLOEXEC));
  if (!memory) return fail_errno("memfd_create");
  return memory;
}

}  // namespace

Result<HostFiles> open_host_files(const Config& config) {
  Fd kernel = TRY_CONTEXT(open_file(config.kernel, O_RDONLY), "kernel");
  Fd initrd;
  if (!config.initrd.empty()) initrd = TRY_CONTEXT(open_file(config.initrd, O_RDONLY), "initrd");
  HostFiles files{TRY(Kvm::open()), std::move(kernel), std::move(initrd), {}, {}, {}, {}, {}, {}, {}, {}, {}};
  files.memory = TRY(open_memory(config.memory_backing));
  for (const Net& net : config.net) files.nets.push_back(TRY(open_net(net)));
  if (config.vsock) TRY(open_vsock(*config.vsock, files));
  if (config.lifeline_fd >= 0) files.lifeline = TRY(inherit(config.lifeline_fd, "lifeline_fd"));
  if (config.control) files.control = TRY(open_control(*config.control));
  if (!config.jail.enabled) {
    for (const Fs& fs : config.fs) files.fs_roots.push_back(TRY(open_share(fs)));
    if (!config.fs.empty()) files.proc_self_fd = TRY(open_file("/proc/self/fd", O_PATH | O_DIRECTORY));
  }
  return files;
}

}  // namespace nacre::vmm
