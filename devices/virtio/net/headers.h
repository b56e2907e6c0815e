// SPDX-License-Identifier: Apache-2.0
// Checks of the header before each frame (virtio 1.3, 5.1.6), against the frame's size and the features that the driver
// has accepted.
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/virtio/net/wire.h"

namespace nacre::virtio::net {

// Checks a header that the driver has written, and a frame of `size` bytes behind it. Leaves in the header what the
// backend may see, and zeroes elsewhere. Returns false if the frame must not be sent: the device cannot do what the
// header asks for, or the header makes no sense for a frame of this size.
bool prepare_to_send(Header& header, size_t size, uint64_t features);

// Checks a header that the backend has written. Clears what the driver must not see. Returns false if the frame must
// not be delivered, because the driver would have to finish it and has not agreed to.
bool prepare_to_deliver(Header& header, uint64_t features);

}  // namespace nacre::virtio::net
