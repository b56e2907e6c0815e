// A read-only file system of the host (FUSE, linux/fuse.h) that shows a container's /proc, where programs look for it
// that enter the mount namespace of the container's pid: `podman top` finds its processes there.
//
// Every reader gets the guest's words, so this is for those who asked for the container's own view.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <span>

#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/guest/procfs/snapshot.h"

namespace nacre::procfs {

struct Mounted {
  Fd device;  // where the kernel's requests come from
  Fd tree;    // the file system, detached, for move_mount(2)
};
// An error where the host has no FUSE.
Result<Mounted> mount();

class FileSystem {
 public:
  // Asks the guest; may block.
  using Source = std::function<Result<protocol::ProcfsReply>()>;

  // `device`: /dev/fuse, or a SOCK_SEQPACKET socket in its place.
  FileSystem(Fd device, Source source) : device_(std::move(device)), source_(std::move(source)) {}

  int fd() const { return device_.get(); }

  // Who looks into it from now on, or waits for an answer, gets an error (ENOTCONN).
  void close() { device_.reset(); }

  // Reads one request and answers it. False: the file system is no more.
  bool serve_one();

 private:
  struct Request;
  using Clock = std::chrono::steady_clock;

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

  void reply(const Request& request, std::span<const std::byte> body);
  template <typename Body>
  void reply_with(const Request& request, const Body& body);
  void refuse(const Request& request, int error);
  // Asks the guest again if what it said is old.
  void refresh();

  Fd device_;
  Source source_;
  Snapshot snapshot_;
  std::optional<Clock::time_point> taken_;
};

}  // namespace nacre::procfs
