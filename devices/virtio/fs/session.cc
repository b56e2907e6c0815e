// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/fs/session.h"

#include <algorithm>
#include <array>
#include <string>

namespace nacre::virtio::fs {
namespace {

constexpr uint64_t kWantedFlags = wire::kInitAsyncRead | wire::kInitAtomicOTrunc | wire::kInitBigWrites |
                                  wire::kInitDontMask | wire::kInitAutoInvalData | wire::kInitDoReaddirplus |
                                  wire::kInitReaddirplusAuto | wire::kInitAsyncDio | wire::kInitParallelDirops |
                                  wire::kInitMaxPages | wire::kInitCacheSymlinks | wire::kInitHandleKillprivV2 |
                                  wire::kInitSetxattrExt | wire::kInitExt | wire::kInitAllowIdmap;
// Three flags are left out on purpose.
// CREATE_SUPP_GROUP: creation keeps CAP_FSETID, and the guest's kernel has already removed a set-gid bit that its
// caller may not set.
// WRITEBACK_CACHE: the guest would decide sizes and times, which the host changes too.
// EXPORT_SUPPORT: the guest would look up "." and "..", which are refused as names here.

}  // namespace

struct Session::Operation {
  wire::Opcode opcode;
  OrErrno<void> (Session::*handler)(Request&, Reply&);
  size_t body_size;      // the least number of bytes after the header of a request
  size_t reply_size;     // the least room for the reply after its header
  bool changes = false;  // refused on a read-only share
  bool no_reply = false;
};

struct Session::Operations {
  using Op = wire::Opcode;
  using S = Session;
  template <typename... T>
  static constexpr size_t kSize = (size_t{0} + ... + sizeof(T));
  static constexpr bool kChanges = true, kNoReply = true;

  static constexpr Operation kList[] = {
      {Op::lookup, &S::lookup, 1, kSize<wire::EntryOut>},
      {Op::forget, &S::forget, kSize<wire::ForgetIn>, 0, false, kNoReply},
      {Op::getattr, &S::getattr, kSize<wire::GetattrIn>, kSize<wire::AttrOut>},
      {Op::setattr, &S::setattr, kSize<wire::SetattrIn>, kSize<wire::AttrOut>, kChanges},
      {Op::readlink, &S::readlink, 0, 1},
      {Op::symlink, &S::symlink, 4, kSize<wire::EntryOut>, kChanges},
      {Op::mknod, &S::mknod, kSize<wire::MknodIn>, kSize<wire::EntryOut>, kChanges},
      {Op::mkdir, &S::mkdir, kSize<wire::MkdirIn>, kSize<wire::EntryOut>, kChanges},
      {Op::unlink, &S::unlink, 1, 0, kChanges},
      {Op::rmdir, &S::rmdir, 1, 0, kChanges},
      {Op::rename, &S::rename, kSize<wire::RenameIn>, 0, kChanges},
      {Op::link, &S::link, kSize<wire::LinkIn>, kSize<wire::EntryOut>, kChanges},
      {Op::open, &S::open, kSize<wire::OpenIn>, kSize<wire::OpenOut>},
      {Op::read, &S::read, kSize<wire::ReadIn>, 0},
      {Op::write, &S::write, kSize<wire::WriteIn>, kSize<wire::WriteOut>, kChanges},
      {Op::statfs, &S::statfs, 0, kSize<wire::StatfsOut>},
      {Op::release, &S::release, kSize<wire::ReleaseIn>, 0},
      {Op::fsync, &S::fsync, kSize<wire::FsyncIn>, 0},
      {Op::setxattr, &S::setxattr, wire::kSetxattrInOldSize, 0, kChanges},
      {Op::getxattr, &S::getxattr, kSize<wire::GetxattrIn>, 0},
      {Op::listxattr, &S::listxattr, kSize<wire::GetxattrIn>, 0},
      {Op::removexattr, &S::removexattr, 1, 0, kChanges},
      {Op::flush, &S::flush, kSize<wire::FlushIn>, 0},
      {Op::init, &S::init, kSize<wire::InitIn>, kSize<wire::InitOut>},
      {Op::opendir, &S::opendir, kSize<wire::OpenIn>, kSize<wire::OpenOut>},
      {Op::readdir, &S::readdir, kSize<wire::ReadIn>, 0},
      {Op::releasedir, &S::releasedir, kSize<wire::ReleaseIn>, 0},
      {Op::fsyncdir, &S::fsyncdir, kSize<wire::FsyncIn>, 0},
      {Op::getlk, &S::getlk, kSize<wire::LockIn>, kSize<wire::LockOut>},
      {Op::setlk, &S::setlk, kSize<wire::LockIn>, 0},
      {Op::setlkw, &S::setlkw, kSize<wire::LockIn>, 0},
      {Op::access, &S::access, kSize<wire::AccessIn>, 0},
      {Op::create, &S::create, kSize<wire::CreateIn>, kSize<wire::CreateOut>, kChanges},
      {Op::interrupt, &S::interrupt, kSize<wire::InterruptIn>, 0, false, kNoReply},
      {Op::destroy, &S::destroy, 0, 0},
      {Op::batch_forget, &S::batch_forget, kSize<wire::BatchForgetIn>, 0, false, kNoReply},
      {Op::fallocate, &S::fallocate, kSize<wire::FallocateIn>, 0, kChanges},
      {Op::readdirplus, &S::readdirplus, kSize<wire::ReadIn>, 0},
      {Op::rename2, &S::rename2, kSize<wire::Rename2In>, 0, kChanges},
      {Op::lseek, &S::lseek, kSize<wire::LseekIn>, kSize<wire::LseekOut>},
      {Op::copy_file_range, &S::copy_file_range, kSize<wire::CopyFileRangeIn>, kSize<wire::WriteOut>, kChanges},
      {Op::syncfs, &S::syncfs, kSize<wire::SyncfsIn>, 0},
      {Op::tmpfile, &S::tmpfile, kSize<wire::CreateIn>, kSize<wire::CreateOut>, kChanges},
      {Op::statx, &S::statx, kSize<wire::StatxIn>, kSize<wire::StatxOut>},
  };

  static constexpr std::array<const Operation*, wire::kOpcodeCount> kTable = [] {
    std::array<const Operation*, wire::kOpcodeCount> table{};
    for (const Operation& operation : kList) table.at(static_cast<size_t>(operation.opcode)) = &operation;
    return table;
  }();

  static const Operation* find(uint32_t opcode) { return opcode < kTable.size() ? kTable[opcode] : nullptr; }
};

Session::Session(InodeTable inodes, const SessionOptions& options, Complete complete)
    : options_(options), complete_(std::move(complete)), inodes_(std::move(inodes)) {}

Result<std::unique_ptr<Session>> Session::create(Fd root, const SessionOptions& options, Complete complete) {
  FdBudget::raise_limit();
  if (is_on_proc(root.get())) return fail("the host's /proc cannot be shared", EACCES);
  InodeTable inodes = TRY(InodeTable::create(std::move(root)));
  return std::unique_ptr<Session>(new Session(std::move(inodes), options, std::move(complete)));
}

void Session::submit(size_t queue, Chain chain) {
  bool deferred = false;
  uint32_t written = serve(chain, deferred);
  if (deferred) {
    waiting_.back().queue = queue;
    waiting_.back().chain = std::move(chain);
  } else {
    complete_(queue, std::move(chain), written);
  }
  if (std::exchange(locks_released_, false)) try_waiting();
}

// Serves one request. Returns the size of the reply that was written to the chain, or 0 if there is none. Sets
// `deferred` if the handler keeps the request.
uint32_t Session::serve(Chain& chain, bool& deferred) {
  auto header = chain.reader.read_object<wire::InHeader>();
  if (!header) {
    bad_requests_.warn("virtio-fs: a request without a header");
    return 0;
  }
  const Operation* operation = Operations::find(header->opcode);
  bool wants_reply = operation == nullptr || !operation->no_reply;
  if (!wants_reply) {
    Reply none{Writer()};
    if (auto done = run(operation, *header, chain.reader, none); !done) {
      bad_requests_.warn("virtio-fs: bad request of opcode " + std::to_string(header->opcode));
    }
    return 0;
  }
  auto body = chain.writer.split_after(sizeof(wire::OutHeader));
  if (!body) {
    bad_requests_.warn("virtio-fs: no room for the reply to opcode " + std::to_string(header->opcode));
    return 0;
  }
  Reply reply(std::move(*body));
  auto done = run(operation, *header, chain.reader, reply);
  deferred = done && reply.deferred();
  if (deferred) return 0;
  size_t length = sizeof(wire::OutHeader) + (done ? reply.size() : 0);
  wire::OutHeader out{
      .len = static_cast<uint32_t>(length), .error = done ? 0 : -done.error(), .unique = header->unique};
  if (!chain.writer.write_object(out)) return 0;  // cannot fail: split_after() has checked the room
  return out.len;
}

OrErrno<void> Session::run(const Operation* operation, const wire::InHeader& header, Reader& reader, Reply& reply) {
  if (operation == nullptr) return errno_of(ENOSYS);
  if (!initialized_ && operation->opcode != wire::Opcode::init) return errno_of(EIO);
  if (operation->changes && options_.readonly) return errno_of(EROFS);

  size_t extensions = size_t{header.total_extlen} * 8;
  if (header.len < sizeof(header) + extensions || header.len - sizeof(header) > reader.remaining()) {
    bad_requests_.warn("virtio-fs: a request of opcode " + std::to_string(header.opcode) + " is longer than its chain");
    return errno_of(EINVAL);
  }
  size_t size = header.len - sizeof(header) - extensions;
  if (size < operation->body_size || reply.room() < operation->reply_size) return errno_of(EINVAL);
  bool has_payload = operation->opcode == wire::Opcode::write;
  if (has_payload) size = operation->body_size;
  if (size > kMaxBody) return errno_of(E2BIG);
  body_.resize(size);
  if (!reader.read(body_)) return errno_of(EINVAL);
  Request request(header, body_, has_payload ? &reader : nullptr);
  return (this->*operation->handler)(request, reply);
}

Result<void> Session::add_tree(const std::string& name, Fd root) {
  auto [at, added] = trees_.try_emplace(name);
  if (!added) return fail("there is a tree named " + name, EEXIST);
  at->second = {.id = next_tree_++, .root = std::move(root)};
  return {};
}

void Session::remove_tree(const std::string& name) {
  auto found = trees_.find(name);
  if (found == trees_.end()) return;
  inodes_.remove_tree(found->second.id);
  handles_.remove_tree(found->second.id);
  locks_.remove_tree(found->second.id);
  trees_.erase(found);
}

void Session::reset() {
  waiting_.clear();
  locks_.clear();
  handles_.clear();
  inodes_.clear();
  initialized_ = false;
  negotiated_ = 0;
  body_ = {};
  scratch_ = {};
}

// Returns the flags of INIT that this session accepts.
uint64_t Session::wanted_flags() const {
  uint64_t wanted = kWantedFlags;
  if (options_.host_locks) wanted |= wire::kInitPosixLocks | wire::kInitFlockLocks;
  if (options_.posix_acl) wanted |= wire::kInitPosixAcl;
  return wanted;
}

OrErrno<void> Session::init(Request& request, Reply& reply) {
  auto in = TRY(request.take<wire::InitIn>());
  uint64_t offered = in.flags;
  if ((offered & wire::kInitExt) != 0) offered |= uint64_t{TRY(request.take<uint32_t>())} << 32;
  wire::InitOut out{};
  out.major = wire::kMajor;
  out.minor = wire::kMinor;
  // If the guest has a newer major version, it learns ours and sends INIT again (linux/fuse.h, "Version negotiation").
  if (in.major > wire::kMajor) return reply.put(out);
  if (in.major < wire::kMajor || in.minor < wire::kOldestMinor) return errno_of(EPROTO);

  fail_waiting(EIO);
  reset();
  negotiated_ = wanted_flags() & offered;
  initialized_ = true;

  out.minor = std::min(in.minor, wire::kMinor);
  out.max_readahead = in.max_readahead;
  out.flags = static_cast<uint32_t>(negotiated_);
  out.flags2 = static_cast<uint32_t>(negotiated_ >> 32);
  out.max_background = 64;
  out.congestion_threshold = 48;
  out.max_write = kMaxWrite;
  out.time_gran = 1;
  out.max_pages = kMaxPages;
  return reply.put(out);
}

OrErrno<void> Session::destroy(Request&, Reply&) {
  fail_waiting(EIO);
  reset();
  return {};
}

OrErrno<void> Session::forget(Request& request, Reply&) {
  auto in = TRY(request.take<wire::ForgetIn>());
  inodes_.forget(request.nodeid(), in.nlookup);
  return {};
}

OrErrno<void> Session::batch_forget(Request& request, Reply&) {
  auto in = TRY(request.take<wire::BatchForgetIn>());
  for (uint32_t i = 0; i < in.count; i++) {
    auto one = TRY(request.take<wire::ForgetOne>());  // if the count goes beyond the request, the loop ends here
    inodes_.forget(one.nodeid, one.nlookup);
  }
  return {};
}

OrErrno<void> Session::interrupt(Request& request, Reply&) {
  auto in = TRY(request.take<wire::InterruptIn>());
  cancel_waiting(in.unique);
  return {};
}

}  // namespace nacre::virtio::fs
