// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/net/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "devices/virtio/net/wire.h"

namespace nacre::virtio::net {

namespace {

// In Linux since 6.2, and not in the headers of older ones.
constexpr unsigned kTunUso4 = 0x20, kTunUso6 = 0x40;
static_assert((TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | kTunUso4 | kTunUso6) == Tap::kOffloadBits);

constexpr int kTapFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

// Which frames the tap may hand to the driver, as TUNSETOFFLOAD wants it. The kernel takes no kind of segmentation
// without checksums (5.1.3.1 says the same), nor USO for one version of IP alone.
unsigned tun_offloads(uint64_t features) {
  auto has = [features](uint64_t wanted) { return (features & wanted) == wanted; };
  if (!has(kFeatureGuestCsum)) return 0;
  unsigned offloads = TUN_F_CSUM;
  if (has(kFeatureGuestTso4)) offloads |= TUN_F_TSO4;
  if (has(kFeatureGuestTso6)) offloads |= TUN_F_TSO6;
  if (has(kFeatureGuestEcn) && offloads != TUN_F_CSUM) offloads |= TUN_F_TSO_ECN;
  if (has(kFeatureGuestUso4 | kFeatureGuestUso6)) offloads |= kTunUso4 | kTunUso6;
  return offloads;
}

constexpr uint64_t kTcp = kFeatureCsum | kFeatureGuestCsum | kFeatureHostTso4 | kFeatureHostTso6 | kFeatureHostEcn |
                          kFeatureGuestTso4 | kFeatureGuestTso6 | kFeatureGuestEcn;
constexpr uint64_t kUdp = kFeatureHostUso | kFeatureGuestUso4 | kFeatureGuestUso6;

Result<void> attach(const Fd& tun, const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof(request.ifr_name)) return fail("tap " + name + ": not a name", EINVAL);
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = kTapFlags;
  // TUNSETIFF would make a tap of this name.
  if (::if_nametoindex(request.ifr_name) == 0) return fail("tap " + name + " does not exist", ENODEV);
  if (::ioctl(tun.get(), TUNSETIFF, &request) == 0) return {};
  switch (errno) {
    case EBUSY:
      return fail("tap " + name + " is in use", EBUSY);
    case EINVAL:
      return fail(name + " is no tap, or one of several queues", EINVAL);
    default:
      return fail_errno("tap " + name);
  }
}

}  // namespace

Result<std::unique_ptr<Tap>> Tap::open(const std::string& name) {
  Fd tun = TRY(open_file("/dev/net/tun", O_RDWR | O_NONBLOCK));
  TRY(attach(tun, name));
  return TRY_CONTEXT(adopt(std::move(tun)), "tap " + name);
}

Result<std::unique_ptr<Tap>> Tap::adopt(Fd fd) {
  std::unique_ptr<Tap> tap(new Tap(std::move(fd)));
  TRY(tap->set_up());
  return tap;
}

Result<void> Tap::set_up() {
  ifreq attached{};
  if (::ioctl(fd_.get(), TUNGETIFF, &attached) < 0) return fail_errno("not the descriptor of a tap");
  if ((attached.ifr_flags & kTapFlags) != kTapFlags) {
    return fail("the descriptor of a tap that was not attached with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", EINVAL);
  }
  TRY(set_nonblocking(fd_.get(), true));
  int header = sizeof(Header), little_endian = 1;
  if (::ioctl(fd_.get(), TUNSETVNETHDRSZ, &header) < 0) return fail_errno("TUNSETVNETHDRSZ");
  if (::ioctl(fd_.get(), TUNSETVNETLE, &little_endian) < 0) return fail_errno("TUNSETVNETLE");
  // The kernel says what it can do by taking it.
  if (accept(kTcp)) offloads_ = kTcp;
  if (accept(kTcp | kUdp)) offloads_ = kTcp | kUdp;
  return accept(0);
}

Result<void> Tap::accept(uint64_t features) {
  if (::ioctl(fd_.get(), TUNSETOFFLOAD, static_cast<unsigned long>(tun_offloads(features))) < 0) {
    return fail_errno("TUNSETOFFLOAD");
  }
  return {};
}

}  // namespace nacre::virtio::net
