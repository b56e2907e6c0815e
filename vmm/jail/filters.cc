// SPDX-License-Identifier: Apache-2.0
#include "vmm/jail/filters.h"

#include "base/loop_thread.h"
#include "vmm/jail/privileges.h"
#include "vmm_filters.h"  // compiled from the table of this architecture

namespace nacre::vmm {

namespace {

std::span<const sock_filter> filter_of(ThreadKind kind) {
  switch (kind) {
    case ThreadKind::main:
      return kMainFilter;
    case ThreadKind::vcpu:
      return kVcpuFilter;
    case ThreadKind::file_server:
      return kFileServerFilter;
    case ThreadKind::net:
      return kNetFilter;
    case ThreadKind::node_maker:
      return kNodeMakerFilter;
  }
  return {};
}

}  // namespace

Result<void> lock_thread(ThreadKind kind, const Jail& jail) {
  bool is_net = kind == ThreadKind::net;
  if (kind == ThreadKind::vcpu || is_net) TRY(drop_thread_capabilities());
  if (kind == ThreadKind::file_server || is_net) TRY(block_signals());
  if (!jail.enabled) return {};
  return install_filter(filter_of(kind), jail.seccomp == kSeccompLog ? Forbidden::log : Forbidden::kill);
}

}  // namespace nacre::vmm
