// SPDX-License-Identifier: Apache-2.0
// virtio-fs (virtio 1.3, 5.11): a host directory as a guest's file system, served in this process.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/loop_thread.h"
#include "base/result.h"
#include "devices/virtio/device.h"
#include "devices/virtio/fs/session_options.h"

namespace nacre::virtio {

struct FsOptions : fs::SessionOptions {
  std::string tag;  // 1 to 36 bytes; the name by which the guest mounts the file system
  Fd root;          // the shared directory, O_PATH
  // If SessionOptions::proc_self_fd is -1, the device opens a descriptor of its own.
  ThreadStart thread_start;  // what the worker's thread does first
};

// One worker thread serves both queues, because its system calls block on the disk and its credentials change with the
// caller. The thread lives as long as the device and has the privileges of the thread that calls create().
//
// To give files the owners that the guest asks for, the thread needs these capabilities in a user namespace that has
// the ids: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETUID, CAP_SETGID, CAP_SETFCAP. If the thread also
// has CAP_SETPCAP, creating a file takes fewer system calls.
class FsDevice final : public VirtioDevice {
 public:
  static constexpr size_t kMaxTag = 36;
  static constexpr uint16_t kQueueSizes[] = {128, 1024};  // hiprio, request

  // Starts the worker. Also raises RLIMIT_NOFILE to the hard limit, and the hard limit too if the process may: each
  // inode that the guest remembers costs a descriptor. A process that wants to give up CAP_SYS_RESOURCE should do so
  // after create().
  static Result<std::unique_ptr<FsDevice>> create(FsOptions options);
  ~FsDevice() override;

  uint32_t type() const override { return 26; }
  uint64_t features() const override { return 0; }
  std::span<const uint16_t> queue_max_sizes() const override { return kQueueSizes; }
  void read_config(uint64_t offset, std::span<std::byte> data) override;
  Result<void> activate(Activation activation) override;
  void reset() override;
  void pause() override;
  void resume() override;
  // session.h says what is saved. Restore a device after its trees have been added. A line of the log says how many
  // files are gone.
  Result<void> save(StateWriter& state) override;
  Result<void> restore(StateReader& state) override;

  // Adds or removes a tree of the host under a name in the share's root (session.h). Any thread may call this.
  Result<void> add_tree(const std::string& name, Fd root);
  void remove_tree(const std::string& name);

 private:
  class Worker;
  FsDevice(std::string tag, Fd own_proc, std::unique_ptr<Worker> worker);

  std::string tag_;
  Fd own_proc_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace nacre::virtio
