// SPDX-License-Identifier: Apache-2.0
// A read-only file system of the host (FUSE, linux/fuse.h) that shows a container's /proc, where programs look for it
// that enter the mount namespace of the container's pid: `podman top` finds its processes there.
//
// The content comes from the guest, so the file system is only mounted where programs expect the container's own view.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/guest/procfs/snapshot.h"

namespace nacre::procfs {

struct Mounted {
  Fd device;  // delivers the kernel's requests
  Fd tree;    // the file system, detached, for move_mount(2)
};
// Makes the file system. Fails if the host has no FUSE.
Result<Mounted> mount();

class FileSystem {
 public:
  // Asks the guest; may block. Called on a thread of its own, so that programs that wait for the answer can be
  // interrupted meanwhile.
  using Source = std::function<Result<protocol::ProcfsReply>()>;

  // `device`: /dev/fuse, or a SOCK_SEQPACKET socket in its place.
  FileSystem(Fd device, Source source) : device_(std::move(device)), source_(std::move(source)) {}

  int fd() const { return device_.get(); }

  // Ends the file system. Programs that wait for an answer, or look into it later, get ENOTCONN.
  void close() { device_.reset(); }

  // Waits for a request or for the guest's answer, and answers what it can. Returns false if the file system has ended.
  bool serve_one();

 private:
  struct Request;
  // A request that waits for the guest.
  using Packet = std::vector<std::byte>;
  using Clock = std::chrono::steady_clock;

  static Request parse(std::span<const std::byte> packet);
  bool read_request();
  void answer(const Request& request);
  void initialize(const Request& request);
  void lookup(const Request& request);
  void get_attributes(const Request& request);
  void open_directory(const Request& request);
  void read_directory(const Request& request);
  void open(const Request& request);
  void read(const Request& request);
  void read_link(const Request& request);
  void get_statistics(const Request& request);
  void interrupt(const Request& request);

  void reply(const Request& request, std::span<const std::byte> body);
  template <typename Body>
  void reply_with(const Request& request, const Body& body);
  void refuse(const Request& request, int error);

  bool waits_for_guest(const Request& request) const;
  Result<void> ask_guest();
  void take_answer(Result<protocol::ProcfsReply> answer);

  Fd device_;
  Source source_;
  Snapshot snapshot_;
  bool has_answered_ = false;  // the guest, when it was asked last
  std::optional<Clock::time_point> taken_;
  Fd asked_;  // readable once `question_` is ready
  std::future<Result<protocol::ProcfsReply>> question_;
  std::list<Packet> waiting_;
};

}  // namespace nacre::procfs
