// SPDX-License-Identifier: Apache-2.0
// A device for tests of transports: it has two queues, and answers each chain with the bytes that it reads, when told
// to.
#pragma once

#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

#include "devices/virtio/device.h"
#include "devices/virtio/testing/fake_driver.h"

namespace nacre::testing {

class EchoDevice final : public virtio::VirtioDevice {
 public:
  static constexpr uint64_t kFeature = 1ull << 3, kHighFeature = 1ull << 40;

  uint32_t type() const override { return 42; }
  uint64_t features() const override { return kFeature | kHighFeature; }
  std::span<const uint16_t> queue_max_sizes() const override { return sizes; }
  void read_config(uint64_t offset, std::span<std::byte> data) override {
    for (auto& value : data) value = offset < config.size() ? config[offset++] : std::byte{0};
  }
  void write_config(uint64_t offset, std::span<const std::byte> data) override {
    for (auto value : data) {
      if (offset < config.size()) config[offset++] = value;
    }
  }
  Result<void> activate(virtio::Activation given) override {
    activations++;
    if (refuse) return fail("no");
    auto positions = std::exchange(saved, {});
    for (size_t i = 0; i < positions.size(); i++) TRY(given.queues.at(i).ring.restore(positions[i]));
    activation = std::move(given);
    return {};
  }
  void reset() override {
    resets++;
    if (on_reset) on_reset();
    activation.reset();
    saved.clear();
  }
  void pause() override { paused = true; }
  void resume() override { paused = false; }
  Result<void> save(StateWriter& state) override {
    if (!paused) return fail("not paused");
    state.bytes(config);
    state.count(activation ? activation->queues.size() : 0);
    if (!activation) return {};
    for (const auto& queue : activation->queues) queue.ring.state().save(state);
    return {};
  }
  Result<void> restore(StateReader& state) override {
    auto bytes = TRY(state.bytes(config.size()));
    config.assign(bytes.begin(), bytes.end());
    uint32_t queues = TRY(state.count(sizes.size()));
    for (uint32_t i = 0; i < queues; i++) saved.push_back(TRY(virtio::QueueState::restore(state)));
    return {};
  }

  void serve(size_t index) {
    virtio::Queue& ring = activation->queues.at(index).ring;
    for (;;) {
      auto chain = ring.pop();
      if (!chain) return activation->interrupt->device_broken();
      if (!*chain) break;
      Bytes data((*chain)->reader.remaining());
      if (!(*chain)->reader.read(data) || !(*chain)->writer.write(data) ||
          !ring.push(**chain, static_cast<uint32_t>(data.size()))) {
        throw std::logic_error("echo device: a chain without room for its answer");
      }
    }
    if (ring.needs_interrupt()) activation->interrupt->queue_used(static_cast<uint16_t>(index));
  }

  std::vector<uint16_t> sizes{16, 8};
  Bytes config = bytes_of("config space");
  std::optional<virtio::Activation> activation;
  std::vector<virtio::QueueState> saved;
  std::function<void()> on_reset;
  bool refuse = false;
  bool paused = false;
  int activations = 0, resets = 0;
};

}  // namespace nacre::testing
