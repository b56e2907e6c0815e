// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/procfs/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>
#include <system_error>

#include "base/log.h"
#include "base/mount.h"

namespace nacre::procfs {

namespace {

// linux/fuse.h: FUSE_MIN_READ_BUFFER is the least that a read from the device may ask for.
constexpr size_t kMaxRequest = FUSE_MIN_READ_BUFFER;
// How long a snapshot is used. One run of `ps` is answered from one snapshot, and the next run gets a new one.
constexpr std::chrono::milliseconds kFresh{500};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

fuse_attr attributes_of(Node node, Kind kind) {
  fuse_attr attributes{};
  attributes.ino = node;
  attributes.nlink = 1;
  attributes.mode = kind == Kind::directory ? S_IFDIR | 0555 : kind == Kind::file ? S_IFREG | 0444 : S_IFLNK | 0777;
  attributes.blksize = 4096;
  return attributes;
}

}  // namespace

struct FileSystem::Request {
  fuse_in_header header{};
  std::span<const std::byte> body;

  template <typename Body>
  Body as() const {
    Body value{};
    std::memcpy(&value, body.data(), std::min(body.size(), sizeof(value)));
    return value;
  }
  // Returns the request's text up to the NUL.
  std::string_view name() const {
    std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
    return text.substr(0, text.find('\0'));
  }
};

Result<Mounted> mount() {
  Fd device = TRY(open_file("/dev/fuse", O_RDWR));
  std::vector<std::string> options = {
      "fd=" + std::to_string(device.get()),      "rootmode=40000", "user_id=" + std::to_string(::geteuid()),
      "group_id=" + std::to_string(::getegid()), "allow_other",    "default_permissions"};
  Fd tree = TRY(make_filesystem("fuse", "proc", options,
                                MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  return Mounted{.device = std::move(device), .tree = std::move(tree)};
}

bool FileSystem::serve_one() {
  std::array<pollfd, 2> ready{{{device_.get(), POLLIN, 0}, {asked_.get(), POLLIN, 0}}};
  if (::poll(ready.data(), ready.size(), -1) < 0) return errno == EINTR;
  if (ready[1].revents != 0) take_answer(question_.get());
  return ready[0].revents == 0 || read_request();
}

FileSystem::Request FileSystem::parse(std::span<const std::byte> packet) {
  Request request;
  std::memcpy(&request.header, packet.data(), sizeof(request.header));
  request.body = packet.subspan(sizeof(request.header));
  return request;
}

bool FileSystem::read_request() {
  std::array<std::byte, kMaxRequest> buffer;
  ssize_t got = ::read(device_.get(), buffer.data(), buffer.size());
  // ENOENT: the kernel withdrew the request while it was read.
  if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) return true;
  if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) return false;
  auto packet = std::span(buffer).first(static_cast<size_t>(got));
  Request request = parse(packet);
  if (!waits_for_guest(request)) {
    answer(request);
    return true;
  }
  waiting_.emplace_back(packet.begin(), packet.end());
  if (question_.valid()) return true;
  if (auto asked = ask_guest(); !asked) take_answer(std::unexpected(asked.error()));
  return true;
}

// Returns true for requests to the root directory if the snapshot is old.
bool FileSystem::waits_for_guest(const Request& request) const {
  bool needs_guest =
      request.header.nodeid == kRoot && (request.header.opcode == FUSE_LOOKUP || request.header.opcode == FUSE_OPENDIR);
  return needs_guest && !(taken_ && Clock::now() - *taken_ < kFresh);
}

Result<void> FileSystem::ask_guest() {
  asked_ = TRY(make_eventfd());
  try {
    question_ = std::async(std::launch::async, [source = source_, done = asked_.get()] {
      auto answer = source();
      signal_eventfd(done);
      return answer;
    });
  } catch (const std::system_error& error) {
    return fail_errno("thread", error.code().value());
  }
  return {};
}

// Answers what has waited for the guest.
void FileSystem::take_answer(Result<protocol::ProcfsReply> answer) {
  asked_.reset();
  auto read = [&]() -> Result<Snapshot> { return Snapshot::parse(TRY(std::move(answer))); }();
  if (!read) log_debug("the container's /proc: " + read.error().message());
  has_answered_ = read.has_value();
  snapshot_ = read ? std::move(*read) : Snapshot();
  taken_ = Clock::now();
  for (const Packet& packet : std::exchange(waiting_, {})) this->answer(parse(packet));
}

// Frees a program that was sent a signal while it waits for the guest.
void FileSystem::interrupt(const Request& request) {
  auto in = request.as<fuse_interrupt_in>();
  auto waits = [&](const Packet& packet) { return parse(packet).header.unique == in.unique; };
  auto found = std::ranges::find_if(waiting_, waits);
  if (found == waiting_.end()) return;
  refuse(parse(*found), EINTR);
  waiting_.erase(found);
}

void FileSystem::answer(const Request& request) {
  switch (request.header.opcode) {
    case FUSE_INIT:
      return initialize(request);
    case FUSE_LOOKUP:
      return lookup(request);
    case FUSE_GETATTR:
      return get_attributes(request);
    case FUSE_OPENDIR:
      return open_directory(request);
    case FUSE_READDIR:
      return read_directory(request);
    case FUSE_OPEN:
      return open(request);
    case FUSE_READ:
      return read(request);
    case FUSE_READLINK:
      return read_link(request);
    case FUSE_STATFS:
      return get_statistics(request);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FLUSH:
      return reply(request, {});
    case FUSE_INTERRUPT:
      return interrupt(request);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
      return;  // these have no reply
    default:
      return refuse(request, ENOSYS);
  }
}

void FileSystem::initialize(const Request& request) {
  auto in = request.as<fuse_init_in>();
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = std::min<uint32_t>(in.minor, FUSE_KERNEL_MINOR_VERSION);
  out.max_readahead = in.max_readahead;
  out.max_write = 4096;
  reply_with(request, out);
}

void FileSystem::lookup(const Request& request) {
  if (request.header.nodeid == kRoot && !has_answered_) return refuse(request, ESRCH);
  auto entry = snapshot_.lookup(request.header.nodeid, request.name());
  if (!entry) return refuse(request, ENOENT);
  fuse_entry_out out{};  // timeouts of 0: the kernel caches nothing
  out.nodeid = entry->node;
  out.attr = attributes_of(entry->node, entry->kind);
  reply_with(request, out);
}

void FileSystem::get_attributes(const Request& request) {
  Node node = request.header.nodeid;
  auto kind = node == kRoot ? Kind::directory : snapshot_.kind(node);
  if (!kind) return refuse(request, ENOENT);
  fuse_attr_out out{};
  out.attr = attributes_of(node, *kind);
  reply_with(request, out);
}

void FileSystem::open_directory(const Request& request) {
  if (request.header.nodeid == kRoot && !has_answered_) return refuse(request, ESRCH);
  reply_with(request, fuse_open_out{});
}

void FileSystem::read_directory(const Request& request) {
  auto in = request.as<fuse_read_in>();
  std::vector<Entry> entries = snapshot_.list(request.header.nodeid);
  std::string listing;
  // The offset of an entry is the number of entries up to and including this one.
  for (uint64_t i = in.offset; i < entries.size(); i++) {
    const Entry& entry = entries[i];
    fuse_dirent head{};
    head.ino = entry.node;
    head.off = i + 1;
    head.namelen = static_cast<uint32_t>(entry.name.size());
    head.type = static_cast<uint32_t>(IFTODT(attributes_of(entry.node, entry.kind).mode));
    size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.name.size());
    if (listing.size() + size > in.size) break;
    size_t at = listing.size();
    listing.resize(at + size);
    std::memcpy(listing.data() + at, &head, FUSE_NAME_OFFSET);
    std::memcpy(listing.data() + at + FUSE_NAME_OFFSET, entry.name.data(), entry.name.size());
  }
  reply(request, bytes_of(listing));
}

void FileSystem::open(const Request& request) {
  fuse_open_out out{};
  out.open_flags = FOPEN_DIRECT_IO;  // sizes are 0, as in the kernel's own /proc
  reply_with(request, out);
}

void FileSystem::read(const Request& request) {
  auto in = request.as<fuse_read_in>();
  const std::string* text = snapshot_.content(request.header.nodeid);
  if (!text) return refuse(request, ESRCH);  // like the kernel's /proc if the process has ended
  std::string_view rest = *text;
  rest.remove_prefix(std::min<size_t>(in.offset, rest.size()));
  reply(request, bytes_of(rest.substr(0, in.size)));
}

void FileSystem::read_link(const Request& request) {
  const std::string* target = snapshot_.content(request.header.nodeid);
  if (!target) return refuse(request, ENOENT);
  reply(request, bytes_of(*target));
}

void FileSystem::get_statistics(const Request& request) {
  fuse_statfs_out out{};
  out.st.bsize = 4096;
  out.st.frsize = 4096;
  out.st.namelen = NAME_MAX;
  reply_with(request, out);
}

void FileSystem::reply(const Request& request, std::span<const std::byte> body) {
  fuse_out_header head{};
  head.len = static_cast<uint32_t>(sizeof(head) + body.size());
  head.unique = request.header.unique;
  std::array<iovec, 2> parts{{{&head, sizeof(head)}, {const_cast<std::byte*>(body.data()), body.size()}}};
  // ENOENT: the asking program does not wait any more.
  [[maybe_unused]] ssize_t written = ::writev(device_.get(), parts.data(), parts.size());
}

template <typename Body>
void FileSystem::reply_with(const Request& request, const Body& body) {
  reply(request, std::as_bytes(std::span(&body, 1)));
}

void FileSystem::refuse(const Request& request, int error) {
  fuse_out_header head{};
  head.len = sizeof(head);
  head.error = -error;
  head.unique = request.header.unique;
  [[maybe_unused]] ssize_t written = ::write(device_.get(), &head, sizeof(head));
}

}  // namespace nacre::procfs
