// SPDX-License-Identifier: Apache-2.0
// Fuzzes a FUSE session whose trees come and go between the guest's requests.
//
// Requests name nodes and handles by their place in the list of those that the guest has been given, forgotten and
// closed ones included. After a tree was removed, this process has no descriptor in it: so nothing of it can be
// reached, and the host can unmount it.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <fstream>

#include "tests/fuzz/fuse_requests.h"

namespace {

using namespace nacre;
using namespace nacre::virtio;
using namespace nacre::virtio::fs;
using wire::Opcode;

constexpr size_t kMaxSteps = 150;
constexpr const char* kTrees[] = {"t0", "t1", "t2"};
constexpr const char* kNames[] = {"t0", "t1", "t2", "f", "d", "g", "link", "..", "new"};

struct Share {
  Share() {
    ::signal(SIGXFSZ, SIG_IGN);
    fuzz::silence_log();
    proc = Fd(::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  void refresh() {
    for (const auto& entry : std::filesystem::directory_iterator(top.path())) std::filesystem::remove_all(entry);
    std::filesystem::create_directories(top / "root/d");
    std::ofstream(top / "root/f") << "root";
    for (const char* tree : kTrees) {
      std::filesystem::create_directories(top / tree + "/d");
      std::ofstream(top / tree + "/f") << "content";
      std::ofstream(top / tree + "/d/g") << "content";
      std::filesystem::create_symlink("f", top / tree + "/link");
    }
  }
  Fd open(std::string_view name) const { return Fd(::open((top / name).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)); }
  // Returns whether this process has a descriptor in a directory.
  bool is_held(std::string_view name) const {
    std::string inside = top / name;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::array<char, PATH_MAX> text;
      ssize_t size = ::readlink(entry.path().c_str(), text.data(), text.size());
      std::string_view path(text.data(), size < 0 ? 0 : static_cast<size_t>(size));
      if (path.starts_with(inside) && (path.size() == inside.size() || path[inside.size()] == '/')) return true;
    }
    return false;
  }

  const fuzz::Scratch top;
  Fd proc;
};

class Guest {
 public:
  explicit Guest(const Share& share) : share_(share) {
    session_ = make_session();
    fuzz::send_init(requests_, *session_);
  }
  ~Guest() { session_->reset(); }

  void step(fuzz::Input& input) {
    switch (input.take<uint8_t>() % 14) {
      case 0:
        return add(input.take<uint8_t>() % std::size(kTrees));
      case 1:
        return remove(input.take<uint8_t>() % std::size(kTrees));
      case 2:
      case 3: {
        Node parent = node(input);
        auto name = input.take<uint8_t>() % std::size(kNames);
        if (requests_.send_name(*session_, Opcode::lookup, parent.id, kNames[name]) != 0) return;
        bool is_tree = parent.id == wire::kRootId && name < std::size(kTrees) && present_[name];
        return take_entry(is_tree ? static_cast<int>(name) : parent.tree);
      }
      case 4:
        return open(input);
      case 5:
        return transfer(input);
      case 6: {
        wire::ForgetIn in{.nlookup = input.take<uint8_t>() % 3u};
        requests_.send_object(*session_, Opcode::forget, node(input).id, in);
        return;
      }
      case 7: {
        wire::ReleaseIn in{.fh = handle(input), .flags = 0, .release_flags = 0, .lock_owner = 1};
        requests_.send_object(*session_, input.take<uint8_t>() & 1 ? Opcode::release : Opcode::releasedir,
                              node(input).id, in);
        return;
      }
      case 8:
        return lock(input);
      case 9:
        return create(input);
      case 10: {
        Node file = node(input), directory = node(input);
        if (file.tree != directory.tree) return;
        wire::LinkIn in{.oldnodeid = file.id};
        const char* name = input.one_of(kNames);
        if (requests_.send_object(*session_, Opcode::link, directory.id, in, name) == 0) take_entry(file.tree);
        return;
      }
      case 11:
        return rename(input);
      case 12:
        return move();
      default: {
        // Anything else: an opcode, and a body that is not made for it.
        auto opcode = uint32_t{input.take<uint8_t>()};
        for (Opcode skipped : {Opcode::fallocate, Opcode::syncfs, Opcode::rename, Opcode::rename2, Opcode::link}) {
          if (opcode == static_cast<uint32_t>(skipped)) return;
        }
        uint64_t of = node(input).id;
        auto body = input.bytes(input.take<uint8_t>() % 96);
        requests_.send(*session_, opcode, of, body, 512);
      }
    }
  }
  void remove(size_t which) {
    const char* name = kTrees[which];
    session_->remove_tree(name);
    session_->retry_locks();
    present_[which] = false;
    fuzz::check(!share_.is_held(name), "a tree that was removed is still held");
    // The guest may have made something of that name in the root.
    if (requests_.send_name(*session_, Opcode::lookup, wire::kRootId, name) != 0) return;
    take_entry(kOwnTree);
    fuzz::check(!share_.is_held(name), "a tree that was removed is found by its name");
  }

 private:
  std::unique_ptr<Session> make_session() {
    SessionOptions options;
    options.proc_self_fd = share_.proc.get();
    auto session = Session::create(share_.open("root"), options, [](size_t, Chain, uint32_t) {});
    fuzz::check(session && (*session)->enter_thread(), "no session");
    return std::move(*session);
  }
  void add(size_t which) {
    bool added = session_->add_tree(kTrees[which], share_.open(kTrees[which])).has_value();
    fuzz::check(added == !present_[which], "a tree can be added twice, or not again");
    present_[which] = true;
  }
  // A node that the guest has been given, and the tree that it lies in. Trees are mounts of their own, between which
  // the host's kernel moves no files. Here they are directories of one mount, so no request names nodes of two trees.
  static constexpr int kOwnTree = -1;
  struct Node {
    uint64_t id = wire::kRootId;
    int tree = kOwnTree;
  };
  Node node(fuzz::Input& input) {
    size_t which = input.take<uint8_t>() % (nodes_.size() + 1);
    return which == 0 ? Node() : nodes_[which - 1];
  }
  uint64_t handle(fuzz::Input& input) {
    size_t which = input.take<uint8_t>() % (handles_.size() + 1);
    return which == 0 ? 0 : handles_[which - 1];
  }
  void take_entry(int tree) { nodes_.push_back({.id = requests_.body<wire::EntryOut>().nodeid, .tree = tree}); }

  void open(fuzz::Input& input) {
    bool directory = input.take<uint8_t>() & 1;
    wire::OpenIn in{.flags = directory ? O_RDONLY : uint32_t{input.take<uint8_t>()} % 3, .open_flags = 0};
    auto opcode = directory ? Opcode::opendir : Opcode::open;
    if (requests_.send_object(*session_, opcode, node(input).id, in) != 0) return;
    handles_.push_back(requests_.body<wire::OpenOut>().fh);
  }
  void create(fuzz::Input& input) {
    wire::CreateIn in{.flags = O_RDWR, .mode = 0600, .umask = 0, .open_flags = 0};
    Node parent = node(input);
    if (requests_.send_object(*session_, Opcode::create, parent.id, in, input.one_of(kNames)) != 0) return;
    take_entry(parent.tree);
    handles_.push_back(requests_.body<wire::CreateOut>().open.fh);
  }
  void transfer(fuzz::Input& input) {
    auto kind = input.take<uint8_t>() % 4;
    if (kind == 0) {
      wire::WriteIn in{.fh = handle(input),
                       .offset = input.take<uint8_t>(),
                       .size = 4,
                       .write_flags = 0,
                       .lock_owner = 0,
                       .flags = 0,
                       .padding = 0};
      requests_.send_object(*session_, Opcode::write, node(input).id, in, "own");
      return;
    }
    constexpr Opcode kKinds[] = {Opcode::read, Opcode::readdir, Opcode::readdirplus};
    wire::ReadIn in{};
    in.fh = handle(input);
    in.size = 400;
    requests_.send_object(*session_, kKinds[kind - 1], node(input).id, in);
  }
  void lock(fuzz::Input& input) {
    constexpr Opcode kKinds[] = {Opcode::setlk, Opcode::setlkw, Opcode::getlk};
    wire::LockIn in{};
    in.fh = handle(input);
    in.owner = input.take<uint8_t>() % 3;
    in.lock = {.start = input.take<uint8_t>() % 8u, .end = input.take<uint8_t>() % 16u, .type = 0, .pid = 1};
    constexpr uint32_t kTypes[] = {F_RDLCK, F_WRLCK, F_UNLCK};
    in.lock.type = input.one_of(kTypes);
    requests_.send_object(*session_, input.one_of(kKinds), node(input).id, in);
  }
  void rename(fuzz::Input& input) {
    Node from = node(input), to = node(input);
    if (from.tree != to.tree) return;
    wire::RenameIn in{.newdir = to.id};
    auto view = std::as_bytes(std::span(&in, 1));
    std::vector<std::byte> body(view.begin(), view.end());
    for (int i = 0; i < 2; i++) {
      for (const char* c = input.one_of(kNames); *c != '\0'; c++) body.push_back(std::byte(*c));
      body.push_back(std::byte{0});
    }
    requests_.send(*session_, static_cast<uint32_t>(Opcode::rename), from.id, body, 64);
  }
  // Moves what the guest knows to a new session over the same trees.
  void move() {
    StateWriter state;
    fuzz::check(session_->save(state).has_value(), "a session cannot be saved");
    size_t nodes = session_->inode_count(), handles = session_->handle_count();
    session_->reset();
    session_ = make_session();
    for (size_t i = 0; i < present_.size(); i++) {
      if (present_[i]) (void)session_->add_tree(kTrees[i], share_.open(kTrees[i]));
    }
    StateReader reader(state.content());
    auto restored = session_->restore(reader);
    if (!restored) {
      session_->reset();
      nodes_.clear();  // the new session gives the same numbers to other files
      return fuzz::send_init(requests_, *session_);
    }
    fuzz::check(session_->inode_count() == nodes && session_->handle_count() == handles, "a move loses files");
    (void)session_->retake_waiting([](size_t, uint16_t) -> Result<Chain> { return Chain(); });
  }

  const Share& share_;
  fuzz::FuseRequests requests_;  // outlives the session
  std::unique_ptr<Session> session_;
  std::array<bool, std::size(kTrees)> present_{};
  std::vector<Node> nodes_;
  std::vector<uint64_t> handles_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Share share;
  share.refresh();
  fuzz::Input input(data, size);
  Guest guest(share);
  for (size_t i = 0; i < kMaxSteps && !input.empty(); i++) guest.step(input);
  for (size_t i = 0; i < std::size(kTrees); i++) guest.remove(i);
  return 0;
}
