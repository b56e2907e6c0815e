// SPDX-License-Identifier: Apache-2.0
// Saves a session, and restores it from a state that is hostile input.
//
// A file is saved by its path below the root of its tree and by what identifies the file: device, inode number, type,
// time of birth, and the handle of name_to_handle_at(2), which has the generation of the inode. Restoring walks the
// path as a lookup does, one component at a time with O_PATH | O_NOFOLLOW. So the worst that a forged path can do is to
// name another file of the same tree, which the guest could have looked up as well. open_by_handle_at(2) would find
// renamed files too, but it opens any file of the file system, in the tree or not, and takes a capability that the
// server does not have.
//
// Positions in directories are not saved: each READDIR carries the cookie where it starts, and a new descriptor is
// moved there.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <set>
#include <string>
#include <string_view>

#include "devices/virtio/fs/session.h"

namespace nacre::virtio::fs {

// Describes one file in a saved state.
struct SavedFile {
  uint64_t device = 0;
  uint64_t inode = 0;
  mode_t type = 0;
  uint64_t birth_seconds = 0;  // 0 if the file system has no times of birth
  uint32_t birth_nanoseconds = 0;
  std::vector<std::byte> handle;  // empty if the file system has no handles
  bool has_path = false;
  std::string path;  // below the root of the tree; empty for the root itself
};

// The roots of the trees. The share's own root has index 0, and the others follow in the order of their names.
struct Session::Roots {
  struct Root {
    std::string name;
    TreeId id = kOwnTree;
    int fd = -1;
    uint64_t saved_device = 0;  // the device of the root when the session was saved
    uint64_t device = 0;        // the device of the root now
  };
  std::vector<Root> list;

  // Translates a saved device number. A device can have another number after a new mount. What was on the device of a
  // root is expected on the device that the root has now.
  uint64_t translate(uint64_t device, const Root& root) const {
    return device == root.saved_device ? root.device : device;
  }
  uint64_t translate(uint64_t device) const {
    for (const Root& root : list) {
      if (root.saved_device == device) return root.device;
    }
    return device;
  }
};

namespace {

constexpr uint16_t kSessionStateVersion = 1;
constexpr size_t kMaxTrees = 1 << 16;
constexpr size_t kMaxItems = 1 << 26;  // the limit of any other list; the size of a state bounds its content further
// Numbers that a guest is given never come near this limit, so counting on from a restored number never wraps.
constexpr uint64_t kMaxNumber = uint64_t{1} << 62;

std::vector<std::byte> handle_of(int fd) {
  union {
    file_handle head;
    char room[sizeof(file_handle) + MAX_HANDLE_SZ];
  } handle{};
  handle.head.handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (::name_to_handle_at(fd, "", &handle.head, &mount, AT_EMPTY_PATH) < 0) return {};
  auto kind = std::as_bytes(std::span(&handle.head.handle_type, 1));
  std::vector<std::byte> bytes(kind.begin(), kind.end());
  auto content = std::as_bytes(std::span(handle.room)).subspan(sizeof(file_handle));
  size_t size = std::min<size_t>(handle.head.handle_bytes, MAX_HANDLE_SZ);
  bytes.insert(bytes.end(), content.begin(), content.begin() + static_cast<ptrdiff_t>(size));
  return bytes;
}

OrErrno<SavedFile> identify(int fd) {
  struct statx stat = TRY(stat_descriptor(fd));
  SavedFile file;
  file.device = device_of(stat);
  file.inode = stat.stx_ino;
  file.type = stat.stx_mode & S_IFMT;
  if ((stat.stx_mask & STATX_BTIME) != 0) {
    file.birth_seconds = static_cast<uint64_t>(stat.stx_btime.tv_sec);
    file.birth_nanoseconds = stat.stx_btime.tv_nsec;
  }
  file.handle = handle_of(fd);
  file.has_path = stat.stx_nlink > 0;
  return file;
}

// Returns the path of a descriptor as the kernel shows it. Returns nothing if the path is too long or not absolute.
std::optional<std::string> shown_path(int proc_self_fd, int fd) {
  char path[PATH_MAX];
  ssize_t size = ::readlinkat(proc_self_fd, std::to_string(fd).c_str(), path, sizeof(path));
  if (size <= 0 || size == static_cast<ssize_t>(sizeof(path)) || path[0] != '/') return std::nullopt;
  return std::string(path, static_cast<size_t>(size));
}

// Returns the path of `fd` below `root`, or nothing if `fd` does not lie there.
std::optional<std::string> path_below(int proc_self_fd, int root, int fd) {
  auto top = shown_path(proc_self_fd, root);
  auto path = shown_path(proc_self_fd, fd);
  if (!top || !path) return std::nullopt;
  if (*path == *top) return std::string();
  if (!top->ends_with('/')) *top += '/';
  if (!path->starts_with(*top)) return std::nullopt;
  return path->substr(top->size());
}

// Opens a path below a directory, one component at a time. Follows no symbolic link and never goes upwards.
OrErrno<Fd> walk(int root, std::string_view path) {
  Fd at(::fcntl(root, F_DUPFD_CLOEXEC, 0));
  if (!at) return last_errno();
  while (!path.empty()) {
    size_t end = std::min(path.find('/'), path.size());
    std::string name(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
    Fd next(::openat(at.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return last_errno();
    at = std::move(next);
  }
  return at;
}

// Returns whether walk() may take this path: names of directory entries between single slashes.
bool is_sound(std::string_view path) {
  if (path.empty()) return true;
  while (true) {
    size_t end = std::min(path.find('/'), path.size());
    std::string_view name = path.substr(0, end);
    if (name.empty() || name.size() > NAME_MAX || name == "." || name == ".." ||
        name.find('\0') != std::string_view::npos) {
      return false;
    }
    if (end == path.size()) return true;
    path.remove_prefix(end + 1);
  }
}

bool is_same(const SavedFile& saved, const SavedFile& now) {
  return saved.device == now.device && saved.inode == now.inode && saved.type == now.type &&
         saved.birth_seconds == now.birth_seconds && saved.birth_nanoseconds == now.birth_nanoseconds &&
         saved.handle == now.handle;
}

bool is_type(mode_t type) {
  return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR || type == S_IFBLK ||
         type == S_IFIFO || type == S_IFSOCK;
}

void put_file(StateWriter& state, const SavedFile& file) {
  state.u64(file.device);
  state.u64(file.inode);
  state.u32(file.type);
  state.u64(file.birth_seconds);
  state.u32(file.birth_nanoseconds);
  state.bytes(file.handle);
  state.boolean(file.has_path);
  state.text(file.path);
}

Result<SavedFile> take_file(StateReader& state) {
  SavedFile file;
  file.device = TRY(state.u64());
  file.inode = TRY(state.u64());
  file.type = TRY(state.u32());
  if (!is_type(file.type)) return state.invalid("a type of file that does not exist");
  file.birth_seconds = TRY(state.u64());
  file.birth_nanoseconds = TRY(state.u32());
  auto handle = TRY(state.bytes(sizeof(int) + MAX_HANDLE_SZ));
  file.handle.assign(handle.begin(), handle.end());
  file.has_path = TRY(state.boolean());
  file.path = TRY(state.text(PATH_MAX));
  if (!is_sound(file.path)) return state.invalid("a path that is no path below a root");
  return file;
}

void put_lock(StateWriter& state, const wire::FileLock& lock) {
  state.u64(lock.start);
  state.u64(lock.end);
  state.u32(lock.type);
  state.u32(lock.pid);
}

Result<wire::FileLock> take_lock(StateReader& state) {
  wire::FileLock lock{};
  lock.start = TRY(state.u64());
  lock.end = TRY(state.u64());
  lock.type = TRY(state.u32());
  lock.pid = TRY(state.u32());
  if (!to_host(lock)) return state.invalid("a lock that is no lock");
  return lock;
}

Error lock_is_taken(int proc_self_fd, int fd, int code) {
  std::string path = shown_path(proc_self_fd, fd).value_or("a file");
  return Error::from_errno("virtio-fs: take the guest's lock on " + path + " again", code);
}

}  // namespace

Result<void> Session::save(StateWriter& state) const {
  Roots roots;
  roots.list.push_back({.name = "", .id = kOwnTree, .fd = inodes_.all().at(wire::kRootId)->path.get()});
  for (const auto& [name, tree] : trees_) roots.list.push_back({.name = name, .id = tree.id, .fd = tree.root.get()});
  return state.section("fs-session", kSessionStateVersion, [&]() -> Result<void> {
    state.boolean(options_.readonly);
    state.boolean(options_.host_locks);
    state.boolean(options_.posix_acl);
    state.boolean(initialized_);
    state.u64(negotiated_);
    state.count(roots.list.size());
    for (Roots::Root& root : roots.list) {
      auto stat = stat_descriptor(root.fd);
      if (!stat) return fail_errno("virtio-fs: look at the root of a tree", stat.error());
      root.device = device_of(*stat);
      state.text(root.name);
      state.u64(root.device);
    }
    state.count(inodes_.numbers().spaces().size());
    for (const auto& [space, number] : inodes_.numbers().spaces()) {
      state.u64(space.device);
      state.u64(space.upper);
      state.u16(number);
    }
    save_inodes(state, roots);
    save_locks(state);
    return {};
  });
}

// Writes the inodes and the open files. The root is left out, since whoever restores the session provides it.
void Session::save_inodes(StateWriter& state, const Roots& roots) const {
  state.u64(inodes_.next_nodeid());
  state.count(inodes_.all().size() - 1);
  for (const auto& [nodeid, inode] : inodes_.all()) {
    if (nodeid == wire::kRootId) continue;
    auto root = std::ranges::find(roots.list, inode->tree, &Roots::Root::id);
    SavedFile file;
    file.type = inode->type;
    if (inode->path && root != roots.list.end()) {
      if (auto known = identify(inode->path.get())) file = std::move(*known);
      auto path = path_below(options_.proc_self_fd, root->fd, inode->path.get());
      file.has_path = file.has_path && path && is_sound(*path);
      if (file.has_path) file.path = std::move(*path);
    }
    state.u64(nodeid);
    state.u32(static_cast<uint32_t>(root == roots.list.end() ? 0 : root - roots.list.begin()));
    state.u64(inode->lookups);
    put_file(state, file);
  }
  state.u64(handles_.next());
  state.count(handles_.all().size());
  for (const auto& [fh, handle] : handles_.all()) {
    state.u64(fh);
    state.u64(handle->nodeid);
    state.boolean(handle->is_directory);
    state.u32(static_cast<uint32_t>(handle->flags));
    state.u8(static_cast<uint8_t>(handle->flock));
  }
}

void Session::save_locks(StateWriter& state) const {
  state.count(locks_.all().size());
  for (const auto& [key, owner] : locks_.all()) {
    state.u64(key.first);
    state.u64(key.second);
    state.u32(owner.pid);
    state.count(owner.ranges.size());
    for (const auto& [start, range] : owner.ranges) {
      put_lock(state, {.start = start, .end = range.end, .type = static_cast<uint32_t>(range.type), .pid = owner.pid});
    }
  }
  state.count(waiting_.size());
  for (const Waiting& waiting : waiting_) {
    state.u16(static_cast<uint16_t>(waiting.queue));
    state.u16(waiting.chain.head);
    state.u64(waiting.unique);
    state.u64(waiting.lock.fh);
    state.u64(waiting.lock.owner);
    put_lock(state, waiting.lock.lock);
    state.u32(waiting.lock.lk_flags);
  }
}

Result<Session::Restored> Session::restore(StateReader& state) {
  reset();
  StateReader fields = TRY(state.section("fs-session", kSessionStateVersion));
  Restored restored;
  if (auto done = restore_all(fields, restored); !done) {
    reset();
    return std::unexpected(done.error());
  }
  return restored;
}

Result<void> Session::restore_all(StateReader& state, Restored& restored) {
  TRY(check_options(state));
  initialized_ = TRY(state.boolean());
  negotiated_ = TRY(state.u64());
  if ((negotiated_ & ~wanted_flags()) != 0) return state.invalid("features that were not on offer");
  Roots roots = TRY(restore_roots(state));
  TRY(restore_numbers(state, roots));
  TRY(restore_inodes(state, roots, restored));
  TRY(restore_handles(state, restored));
  TRY(restore_owners(state));
  TRY(restore_waiting(state));
  return state.end();
}

Result<void> Session::check_options(StateReader& state) const {
  bool readonly = TRY(state.boolean());
  bool host_locks = TRY(state.boolean());
  bool posix_acl = TRY(state.boolean());
  if (readonly != options_.readonly || host_locks != options_.host_locks || posix_acl != options_.posix_acl) {
    return state.invalid("the share has other options than it had");
  }
  return {};
}

Result<Session::Roots> Session::restore_roots(StateReader& state) {
  Roots roots;
  std::set<std::string> names;
  uint32_t count = TRY(state.count(kMaxTrees, sizeof(uint32_t) + sizeof(uint64_t)));
  if (count == 0) return state.invalid("a share without a root");
  for (uint32_t i = 0; i < count; i++) {
    Roots::Root root;
    root.name = TRY(state.text(NAME_MAX));
    root.saved_device = TRY(state.u64());
    if (root.name.empty() != (i == 0) || !names.insert(root.name).second) return state.invalid("two trees of one name");
    auto tree = trees_.find(root.name);
    if (i > 0 && tree == trees_.end()) return fail("virtio-fs: the tree " + root.name + " is not there", ENOENT);
    root.id = i == 0 ? kOwnTree : tree->second.id;
    root.fd = i == 0 ? inodes_.all().at(wire::kRootId)->path.get() : tree->second.root.get();
    auto stat = stat_descriptor(root.fd);
    if (!stat) return fail_errno("virtio-fs: look at the root of a tree", stat.error());
    root.device = device_of(*stat);
    roots.list.push_back(std::move(root));
  }
  return roots;
}

Result<void> Session::restore_numbers(StateReader& state, const Roots& roots) {
  uint32_t count = TRY(state.count(UINT16_MAX, 2 * sizeof(uint64_t) + sizeof(uint16_t)));
  for (uint32_t i = 0; i < count; i++) {
    InodeNumbers::Space space{};
    space.device = roots.translate(TRY(state.u64()));
    space.upper = TRY(state.u64());
    uint16_t number = TRY(state.u16());
    if (!inodes_.numbers().adopt(space, number)) return state.invalid("inode numbers that are given twice");
  }
  return {};
}

Result<void> Session::restore_inodes(StateReader& state, const Roots& roots, Restored& restored) {
  uint64_t next = TRY(state.u64());
  if (next <= wire::kRootId || next > kMaxNumber) return state.invalid("node ids that cannot be");
  inodes_.set_next_nodeid(next);
  uint32_t count = TRY(state.count(kMaxItems, 2 * sizeof(uint64_t) + sizeof(uint32_t)));
  for (uint32_t i = 0; i < count; i++) {
    Inode inode;
    inode.nodeid = TRY(state.u64());
    uint32_t tree = TRY(state.u32());
    inode.lookups = TRY(state.u64());
    SavedFile saved = TRY(take_file(state));
    if (tree >= roots.list.size() || inode.lookups == 0) return state.invalid("an inode that cannot be");
    const Roots::Root& root = roots.list[tree];
    inode.tree = root.id;
    inode.type = saved.type;
    inode.slot = FdBudget::take();
    if (!inode.slot) return fail_errno("virtio-fs: open the guest's files again", ENFILE);
    saved.device = roots.translate(saved.device, root);
    OrErrno<Fd> path = saved.has_path ? walk(root.fd, saved.path) : errno_of(ESTALE);
    OrErrno<SavedFile> now = path ? identify(path->get()) : errno_of(ESTALE);
    auto stat = path ? stat_descriptor(path->get()) : errno_of(ESTALE);
    if (now && stat && is_same(saved, *now) && !is_on_proc(path->get())) {
      inode.path = std::move(*path);
      inode.key = key_of(*stat);
    } else {
      restored.lost++;
    }
    restored.files++;
    if (!inodes_.adopt(std::move(inode))) return state.invalid("a node id that cannot be");
  }
  return {};
}

Result<void> Session::restore_handles(StateReader& state, Restored& restored) {
  uint64_t next = TRY(state.u64());
  if (next == 0 || next > kMaxNumber) return state.invalid("handles that cannot be");
  handles_.set_next(next);
  uint32_t count = TRY(state.count(kMaxItems, 2 * sizeof(uint64_t) + sizeof(uint32_t)));
  for (uint32_t i = 0; i < count; i++) TRY(restore_handle(state, restored));
  return {};
}

// Restores one handle. If the inode of the handle was forgotten or is lost, or if the file can no longer be opened, the
// handle is lost as well.
Result<void> Session::restore_handle(StateReader& state, Restored& restored) {
  Handle handle;
  uint64_t fh = TRY(state.u64());
  handle.nodeid = TRY(state.u64());
  handle.is_directory = TRY(state.boolean());
  uint32_t flags = TRY(state.u32());
  handle.flock = TRY(state.u8());
  handle.flags = static_cast<int>(flags);
  handle.access = handle.flags & O_ACCMODE;
  if ((flags & ~kHandleFlags) != 0 || handle.access == O_ACCMODE || (handle.is_directory && flags != 0) ||
      (handle.flock != LOCK_UN && handle.flock != LOCK_SH && handle.flock != LOCK_EX)) {
    return state.invalid("an open file that cannot be");
  }
  if (options_.readonly && handle.access != O_RDONLY)
    return state.invalid("a file of a read-only share open for writing");
  handle.slot = FdBudget::take();
  if (!handle.slot) return fail_errno("virtio-fs: open the guest's files again", ENFILE);
  if (auto inode = inodes_.find(handle.nodeid)) {
    bool fits = handle.is_directory ? (*inode)->is_directory() : (*inode)->is_regular();
    if (!fits) return state.invalid("an open file of the wrong type");
    handle.tree = (*inode)->tree;
    // open_inode() is not used: it checks what a guest asks for, but the flags of a handle hold no O_TRUNC and are
    // checked above.
    auto file = handle.is_directory ? reopen((*inode)->path.get(), O_RDONLY | O_DIRECTORY)
                                    : reopen((*inode)->path.get(), handle.flags);
    if (file) handle.fd = std::move(*file);
  }
  restored.files++;
  if (!handle.fd) restored.lost++;
  if (handle.fd && handle.flock != LOCK_UN && ::flock(handle.fd.get(), handle.flock | LOCK_NB) < 0) {
    return std::unexpected(lock_is_taken(options_.proc_self_fd, handle.fd.get(), errno));
  }
  if (!handles_.adopt(fh, std::move(handle))) return state.invalid("a handle that cannot be");
  return {};
}

Result<void> Session::restore_owners(StateReader& state) {
  uint32_t count = TRY(state.count(kMaxItems, 2 * sizeof(uint64_t) + sizeof(uint32_t)));
  for (uint32_t i = 0; i < count; i++) TRY(restore_owner(state));
  return {};
}

// Restores the locks of one owner. If the inode is lost, its locks are lost with it.
Result<void> Session::restore_owner(StateReader& state) {
  uint64_t nodeid = TRY(state.u64());
  uint64_t id = TRY(state.u64());
  uint32_t pid = TRY(state.u32());
  auto inode = inodes_.find(nodeid);
  if (inode && !(*inode)->is_regular()) return state.invalid("a lock on what is no file");
  if (locks_.find(nodeid, id) != nullptr) return state.invalid("an owner of locks that is there twice");
  std::vector<wire::FileLock> locks(TRY(state.count(kMaxItems, 2 * sizeof(uint64_t) + 2 * sizeof(uint32_t))));
  for (wire::FileLock& lock : locks) {
    lock = TRY(take_lock(state));
    if (lock.type == F_UNLCK || lock.end > INT64_MAX) return state.invalid("a lock that is no lock");
  }
  if (!inode) return {};
  LockOwner owner;
  owner.pid = pid;
  owner.tree = (*inode)->tree;
  constexpr size_t kMostSaved = kMaxLocks + 2;  // a change of the last range can make three of it
  if (locks_.ranges() + locks.size() > kMostSaved) return state.invalid("too many locks");
  TRY(take_locks_again(**inode, owner, locks));
  locks_.add(nodeid, id, std::move(owner));
  return {};
}

// Opens the file once more for an owner and takes all locks of the owner. The file may allow only reading or only
// writing, as the access mode of the guest's handle was; the kinds of the locks tell which.
Result<void> Session::take_locks_again(const Inode& inode, LockOwner& owner, std::span<const wire::FileLock> locks) {
  owner.slot = FdBudget::take();
  if (!owner.slot) return fail_errno("virtio-fs: open the guest's files again", ENFILE);
  bool writes = std::ranges::any_of(locks, [](const wire::FileLock& lock) { return lock.type == F_WRLCK; });
  auto file = open_for_locks(inode.path.get(), writes ? O_WRONLY : O_RDONLY);
  if (!file) return std::unexpected(lock_is_taken(options_.proc_self_fd, inode.path.get(), file.error()));
  owner.fd = std::move(*file);
  for (const wire::FileLock& lock : locks) {
    struct flock host = *to_host(lock);
    if (::fcntl(owner.fd.get(), F_OFD_SETLK, &host) < 0) {
      return std::unexpected(lock_is_taken(options_.proc_self_fd, owner.fd.get(), errno));
    }
    owner.ranges.set(lock.start, lock.end, host.l_type);
  }
  return {};
}

Result<void> Session::restore_waiting(StateReader& state) {
  uint32_t count = TRY(state.count(kMaxWaitingLocks, 4 * sizeof(uint64_t)));
  std::set<std::pair<size_t, uint16_t>> heads;
  for (uint32_t i = 0; i < count; i++) {
    Waiting waiting{.unique = 0, .lock = {}, .delay = kFirstLockDelay};
    waiting.queue = TRY(state.u16());
    waiting.chain.head = TRY(state.u16());
    waiting.unique = TRY(state.u64());
    waiting.lock.fh = TRY(state.u64());
    waiting.lock.owner = TRY(state.u64());
    waiting.lock.lock = TRY(take_lock(state));
    if (waiting.lock.lock.type == F_UNLCK) return state.invalid("a request that waits to unlock");
    waiting.lock.lk_flags = TRY(state.u32());
    if (!heads.insert({waiting.queue, waiting.chain.head}).second)
      return state.invalid("a request that is there twice");
    waiting_.push_back(std::move(waiting));
  }
  return {};
}

size_t Session::waiting_count(size_t queue) const {
  return static_cast<size_t>(std::ranges::count(waiting_, queue, &Waiting::queue));
}

Result<void> Session::retake_waiting(const Retake& retake) {
  for (Waiting& waiting : waiting_) {
    Chain chain = TRY(retake(waiting.queue, waiting.chain.head));
    // The reply is only a header. submit() had split the room for it off the chain, so it is split off again.
    TRY(chain.writer.split_after(sizeof(wire::OutHeader)));
    waiting.chain = std::move(chain);
  }
  return {};
}

}  // namespace nacre::virtio::fs
