// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/control.h"

#include <sys/socket.h>

#include <array>

#include "runtime/guest/connection.h"
#include "runtime/state/store.h"

namespace nacre::runtime {

Result<MachineControl> MachineControl::connect(int directory) {
  auto socket = connect_in(directory, kControlSocketName, SOCK_SEQPACKET);
  if (socket) {
    TRY(set_timeouts(socket->get(), kRequestTimeoutMs));
    return MachineControl(std::move(*socket));
  }
  int code = socket.error().code();
  if (code == ECONNREFUSED || code == ENOENT) return fail(kNotRunning, ESRCH);
  return std::unexpected(socket.error());
}

Result<vmm::MachineSize> MachineControl::ask(const vmm::ControlRequest& request, int descriptor) {
  std::string packet = vmm::encode_request(request);
  TRY(send_with_fds(socket_.get(), std::as_bytes(std::span(packet)), std::span(&descriptor, descriptor < 0 ? 0u : 1u)));
  std::array<char, vmm::kMaxControlPacket> answer;
  ssize_t n;
  do {
    n = ::recv(socket_.get(), answer.data(), answer.size(), 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno("the VM's answer");
  if (n == 0) return fail(kNotRunning, ESRCH);
  return vmm::parse_answer(std::string_view(answer.data(), static_cast<size_t>(n)));
}

}  // namespace nacre::runtime
