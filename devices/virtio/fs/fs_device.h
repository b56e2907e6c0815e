// virtio-fs (virtio 1.3, 5.11): a host directory as a guest's file system, served in this process.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "devices/virtio/device.h"
#include "devices/virtio/fs/node_maker.h"

namespace nacre::virtio {

struct FsOptions {
  std::string tag;  // 1 to 36 bytes; what the guest mounts
  Fd root;          // the shared directory, O_PATH
  bool readonly = false;
  // How long the guest believes a name, attributes, and that a name does not exist, without asking. A change that the
  // host makes is seen after that time at the latest.
  std::chrono::nanoseconds entry_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds attr_timeout = std::chrono::seconds(1);
  std::chrono::nanoseconds negative_timeout = std::chrono::seconds(1);
  // True: file locks are taken on the host's files, where the host and other guests see them. A guest's process that
  // waits for such a lock cannot be killed until it gets it (Linux's virtio-fs sends no INTERRUPT), and deadlocks are
  // not detected. False: the guest keeps its locks to itself; for a directory that nobody else locks files in.
  bool host_locks = true;
  // POSIX access lists: the guest's kernel reads and enforces them.
  bool posix_acl = true;
  // A descriptor of this process's /proc/self/fd, opened before /proc went away; it must stay open as long as the
  // device lives. -1: the device opens its own.
  int proc_self_fd = -1;
  // Makes the guest's device nodes, for as long as the device lives. None: mknod(2) does, which takes CAP_MKNOD.
  fs::NodeMaker* node_maker = nullptr;
};

// One worker thread serves all queues: its system calls block on the disk, and its credentials change with the caller.
// It lives as long as the device and inherits the privileges of the thread that calls create(), not those of the vCPU
// thread that activates the device. It needs, for files to belong to whom the guest says, in a user namespace that has
// the ids: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETUID, CAP_SETGID, CAP_SETFCAP; with CAP_SETPCAP
// creating files takes fewer system calls.
class FsDevice final : public VirtioDevice {
 public:
  static constexpr size_t kMaxTag = 36;
  static constexpr uint16_t kQueueSizes[] = {128, 1024};  // hiprio, request

  // Starts the worker. Also raises RLIMIT_NOFILE to the hard limit, and that limit if it may: each inode that the guest
  // remembers costs a descriptor. A process that gives up CAP_SYS_RESOURCE before should raise the limit first.
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
  // Errors: a file server's state is not saved.
  Result<void> save(StateWriter& state) override;
  Result<void> restore(StateReader& state) override;

  // Another tree of the host under a name in the share's root, and its end (session.h). From any thread but the
  // worker's.
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
