// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/node_maker.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstring>
#include <string_view>

#include "devices/virtio/fs/credentials.h"

namespace nacre::vmm {

namespace {

using virtio::fs::DeviceNode;
using virtio::fs::OrErrno;

// A packet with one descriptor, the directory; the answer is an errno value, 0 for "made".
struct Request {
  DeviceNode node;
  std::array<char, NAME_MAX + 1> name;  // with its NUL
};

// To make a node that belongs to any user, in any directory; SETPCAP is for a securebit (Credentials).
constexpr std::array kNeeded = {CAP_MKNOD,  CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FSETID,
                                CAP_SETGID, CAP_SETUID, CAP_SETPCAP};

// Keeps those of the needed capabilities that there are. If one is missing, mknod(2) says so.
Result<void> keep_needed_capabilities() {
  std::array<__user_cap_data_struct, 2> data{};
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  if (::syscall(SYS_capget, &header, data.data()) < 0) return fail_errno("capget");
  std::array<uint32_t, 2> needed{};
  for (int capability : kNeeded) needed[static_cast<size_t>(capability) / 32] |= 1u << (capability % 32);
  for (size_t i = 0; i < data.size(); i++) {
    data[i].permitted &= needed[i];
    data[i].effective = data[i].permitted;
    data[i].inheritable = 0;
  }
  if (::syscall(SYS_capset, &header, data.data()) < 0) return fail_errno("capset");
  return {};
}

bool is_one_component(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos;
}

OrErrno<void> serve(const Request& request, int parent, virtio::fs::Credentials& credentials) {
  const DeviceNode& node = request.node;
  if (!S_ISCHR(node.mode) && !S_ISBLK(node.mode)) return virtio::fs::errno_of(EINVAL);
  std::string_view name(request.name.data(), ::strnlen(request.name.data(), request.name.size()));
  if (name.size() == request.name.size() || !is_one_component(name)) return virtio::fs::errno_of(EINVAL);
  // vmm may have directories that are in none of its shares, such as its stdin. It could open a node that is made
  // there.
  struct statvfs filesystem;
  TRY(virtio::fs::check(::fstatvfs(parent, &filesystem)));
  if (!(filesystem.f_flag & ST_NODEV)) return virtio::fs::errno_of(EPERM);
  auto as_caller = TRY(credentials.as_caller(node.uid, node.gid, node.umask));
  return virtio::fs::check(::mknodat(parent, request.name.data(), node.mode, node.device));
}

}  // namespace

OrErrno<void> NodeMakerClient::make(int parent, const char* name, const DeviceNode& node) {
  Request request{.node = node, .name = {}};
  size_t length = ::strnlen(name, request.name.size());
  if (length == request.name.size()) return virtio::fs::errno_of(ENAMETOOLONG);
  std::memcpy(request.name.data(), name, length);
  MutexLock lock(mutex_);
  int error = EIO;
  auto sent = send_with_fds(socket_.get(), std::as_bytes(std::span(&request, 1)), std::span(&parent, 1));
  if (!sent || ::read(socket_.get(), &error, sizeof(error)) != sizeof(error)) return virtio::fs::errno_of(EIO);
  if (error != 0) return virtio::fs::errno_of(error);
  return {};
}

Result<void> serve_node_requests(const Fd& socket, const Fd& directory, const ThreadStart& start) {
  TRY(keep_needed_capabilities());
  virtio::fs::Credentials credentials;
  TRY(credentials.adopt_thread(directory.get()));
  if (start) TRY(start());
  for (;;) {
    Request request;
    Received received = TRY(receive_with_fds(socket.get(), std::as_writable_bytes(std::span(&request, 1))));
    if (received.size == 0) return {};
    int error = EINVAL;
    if (received.size == sizeof(request) && received.fds.size() == 1) {
      auto made = serve(request, received.fds[0].get(), credentials);
      error = made ? 0 : made.error();
    }
    TRY(write_all(socket.get(), std::as_bytes(std::span(&error, 1))));
  }
}

}  // namespace nacre::vmm
