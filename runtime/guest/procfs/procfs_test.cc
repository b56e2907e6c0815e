// SPDX-License-Identifier: Apache-2.0
#include <linux/fuse.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstring>
#include <future>

#include <nlohmann/json.hpp>

#include "runtime/guest/procfs/file_system.h"
#include "runtime/guest/procfs/snapshot.h"

using namespace nacre;
using namespace nacre::procfs;
using Json = nlohmann::json;

namespace {

Result<Snapshot> parse(Json reply) {
  return Snapshot::parse(TRY(protocol::decode<protocol::ProcfsReply>(std::move(reply))));
}

Json two_processes() {
  return {{"machine", {{"uptime", "12.00 11.00\n"}}},
          {"processes",
           {{"1", {{"files", {{"stat", "1 (sh) S"}, {"comm", "sh\n"}}}, {"namespaces", {{"pid", "pid:[4026]"}}}}},
            {"17", {{"files", {{"stat", "17 (cat) R"}}}, {"namespaces", Json::object()}}}}}};
}

std::vector<std::string> names(const std::vector<Entry>& entries) {
  std::vector<std::string> all;
  for (const Entry& entry : entries) all.push_back(entry.name);
  return all;
}

// Plays the kernel's side of a file system.
class Kernel {
 public:
  Kernel() {
    std::array<int, 2> ends;
    BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()) == 0);
    ours_.reset(ends[0]);
    files_.emplace(Fd(ends[1]), [this]() -> Result<protocol::ProcfsReply> {
      asked_++;
      if (hangs_) answers_.get_future().wait();
      return protocol::decode<protocol::ProcfsReply>(TRY(Result<Json>(reply_)));
    });
  }

  // Returns the reply's body. The error, negative, is in last_error().
  template <typename Body>
  std::string request(uint32_t opcode, Node node, const Body& body) {
    return request(opcode, node, std::string(reinterpret_cast<const char*>(&body), sizeof(body)));
  }
  std::string request(uint32_t opcode, Node node, std::string body) {
    send(opcode, node, body, 7);
    BOOST_REQUIRE(files_->serve_one());
    return receive(7);
  }
  void send(uint32_t opcode, Node node, const std::string& body, uint64_t unique) {
    fuse_in_header head{};
    head.opcode = opcode;
    head.nodeid = node;
    head.unique = unique;
    head.len = static_cast<uint32_t>(sizeof(head) + body.size());
    std::string packet(reinterpret_cast<const char*>(&head), sizeof(head));
    packet += body;
    BOOST_REQUIRE(::send(ours_.get(), packet.data(), packet.size(), 0) == static_cast<ssize_t>(packet.size()));
  }
  std::string receive(uint64_t unique) {
    std::array<char, 65536> answer;
    ssize_t got;
    // The guest's answer comes in its own time.
    while ((got = ::recv(ours_.get(), answer.data(), answer.size(), MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
      BOOST_REQUIRE(files_->serve_one());
    }
    BOOST_REQUIRE(got >= static_cast<ssize_t>(sizeof(fuse_out_header)));
    fuse_out_header out{};
    std::memcpy(&out, answer.data(), sizeof(out));
    BOOST_TEST(out.unique == unique);
    BOOST_TEST(out.len == static_cast<uint32_t>(got));
    error_ = out.error;
    return std::string(answer.data() + sizeof(out), static_cast<size_t>(got) - sizeof(out));
  }

  Node look_up(Node directory, const std::string& name) {
    std::string body = request(FUSE_LOOKUP, directory, name + '\0');
    if (error_ != 0) return 0;
    fuse_entry_out out{};
    BOOST_REQUIRE_EQUAL(body.size(), sizeof(out));
    std::memcpy(&out, body.data(), sizeof(out));
    return out.nodeid;
  }

  std::string read(Node node, uint64_t offset = 0, uint32_t size = 4096) {
    fuse_read_in in{};
    in.offset = offset;
    in.size = size;
    return request(FUSE_READ, node, in);
  }

  int last_error() const { return error_; }
  int asked() const { return asked_; }
  void hang_guest() { hangs_ = true; }
  void let_guest_answer() { answers_.set_value(); }
  void set_reply(Result<Json> reply) { reply_ = std::move(reply); }
  void hang_up() { ours_.reset(); }
  FileSystem& files() { return *files_; }

 private:
  Fd ours_;
  Result<Json> reply_ = two_processes();
  int error_ = 0;
  std::atomic<int> asked_ = 0;
  bool hangs_ = false;
  std::promise<void> answers_;
  std::optional<FileSystem> files_;  // goes first: it waits for the guest's answer
};

}  // namespace

BOOST_AUTO_TEST_SUITE(procfs)

BOOST_AUTO_TEST_CASE(a_snapshot_is_a_tree) {
  auto snapshot = parse(two_processes());
  BOOST_REQUIRE(snapshot);
  BOOST_TEST((names(snapshot->list(kRoot)) == std::vector<std::string>{"uptime", "1", "17"}));
  auto first = snapshot->lookup(kRoot, "1");
  BOOST_REQUIRE(first);
  BOOST_TEST((names(snapshot->list(first->node)) == std::vector<std::string>{"comm", "stat", "ns"}));
  auto stat = snapshot->lookup(first->node, "stat");
  BOOST_REQUIRE(stat);
  BOOST_TEST(*snapshot->content(stat->node) == "1 (sh) S");
  auto namespaces = snapshot->lookup(first->node, "ns");
  BOOST_REQUIRE(namespaces);
  auto link = snapshot->lookup(namespaces->node, "pid");
  BOOST_REQUIRE(link);
  BOOST_TEST((link->kind == Kind::link));
  BOOST_TEST(*snapshot->content(link->node) == "pid:[4026]");
  for (const char* name : {"2", "01", "1x", "+1", "-1", "", "..", "self", "4194305"}) {
    BOOST_TEST(!snapshot->lookup(kRoot, name), name);
  }
}

BOOST_AUTO_TEST_CASE(what_the_guest_says_is_not_believed) {
  auto with = [](const char* pointer, Json value) {
    Json reply = two_processes();
    reply[Json::json_pointer(pointer)] = std::move(value);
    return parse(reply);
  };
  BOOST_TEST(!parse(Json::object()));
  BOOST_TEST(!with("/processes", Json::array()));
  BOOST_TEST(!with("/processes/..", Json::object()));
  BOOST_TEST(!with("/processes/0", Json::object()));
  BOOST_TEST(!with("/processes/99999999999", Json::object()));
  BOOST_TEST(!with("/processes/1/files", "x"));
  // Unknown names, values that are not text, and links that lead somewhere are left out.
  auto parsed = with("/processes/1/files", {{"../../etc/passwd", "x"}, {"stat", 7}, {"comm", "sh"}});
  BOOST_REQUIRE(parsed);
  BOOST_TEST((names(parsed->list(parsed->lookup(kRoot, "1")->node)) == std::vector<std::string>{"comm", "ns"}));
  for (const char* target : {"/etc/passwd", "pid:[1", "pid:[]", ":[1]", "../x:[1]", "pid:[1]/..", "pid:[1x]"}) {
    auto linked = with("/processes/1/namespaces/pid", target);
    BOOST_REQUIRE(linked);
    Node process = linked->lookup(kRoot, "1")->node;
    BOOST_TEST(linked->list(linked->lookup(process, "ns")->node).empty(), target);
  }
}

BOOST_AUTO_TEST_CASE(files_are_read) {
  Kernel kernel;
  Node process = kernel.look_up(kRoot, "1");
  Node stat = kernel.look_up(process, "stat");
  BOOST_TEST(kernel.read(stat) == "1 (sh) S");
  BOOST_TEST(kernel.read(stat, 2, 4) == "(sh)");
  BOOST_TEST(kernel.read(stat, 100).empty());
  BOOST_TEST(kernel.last_error() == 0);
  kernel.read(process);
  BOOST_TEST(kernel.last_error() == -ESRCH);
  BOOST_TEST(kernel.look_up(process, "environ") == 0u);
  BOOST_TEST(kernel.last_error() == -ENOENT);
  kernel.request(FUSE_WRITE, stat, fuse_write_in{});
  BOOST_TEST(kernel.last_error() == -ENOSYS);
  BOOST_TEST(kernel.asked() == 1);
  kernel.hang_up();
  BOOST_TEST(!kernel.files().serve_one());
}

BOOST_AUTO_TEST_CASE(a_directory_is_listed_in_parts) {
  Kernel kernel;
  kernel.request(FUSE_OPENDIR, kRoot, fuse_open_in{});
  std::vector<std::string> all;
  fuse_read_in in{};
  in.size = 40;  // one entry
  for (;;) {
    std::string listing = kernel.request(FUSE_READDIR, kRoot, in);
    if (listing.empty()) break;
    fuse_dirent head{};
    BOOST_REQUIRE(listing.size() >= FUSE_NAME_OFFSET);
    std::memcpy(&head, listing.data(), FUSE_NAME_OFFSET);
    BOOST_TEST(listing.size() == FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + head.namelen));
    all.push_back(listing.substr(FUSE_NAME_OFFSET, head.namelen));
    in.offset = head.off;
  }
  BOOST_TEST((all == std::vector<std::string>{"uptime", "1", "17"}));
}

BOOST_AUTO_TEST_CASE(a_guest_that_does_not_answer_has_no_processes) {
  Kernel kernel;
  kernel.set_reply(fail("container not running", ESRCH));
  BOOST_TEST(kernel.look_up(kRoot, "1") == 0u);
  BOOST_TEST(kernel.last_error() == -ESRCH);
  kernel.request(FUSE_OPENDIR, kRoot, fuse_open_in{});
  BOOST_TEST(kernel.last_error() == -ESRCH);
  BOOST_TEST(kernel.asked() == 1);
  kernel.request(FUSE_GETATTR, kRoot, fuse_getattr_in{});
  BOOST_TEST(kernel.last_error() == 0);
}

BOOST_AUTO_TEST_CASE(who_waits_for_the_guest_can_be_interrupted) {
  Kernel kernel;
  kernel.hang_guest();
  std::string name("1\0", 2);
  kernel.send(FUSE_LOOKUP, kRoot, name, 100);
  BOOST_REQUIRE(kernel.files().serve_one());
  kernel.send(FUSE_LOOKUP, kRoot, name, 102);
  BOOST_REQUIRE(kernel.files().serve_one());
  // What does not need the guest does not wait for it.
  kernel.request(FUSE_GETATTR, kRoot, fuse_getattr_in{});
  BOOST_TEST(kernel.last_error() == 0);

  auto interrupt = [&](uint64_t unique) {
    fuse_interrupt_in in{.unique = unique};
    kernel.send(FUSE_INTERRUPT, 0, std::string(reinterpret_cast<const char*>(&in), sizeof(in)), unique | 1);
    BOOST_REQUIRE(kernel.files().serve_one());
  };
  interrupt(100);
  kernel.receive(100);
  BOOST_TEST(kernel.last_error() == -EINTR);
  interrupt(100);  // answered already
  kernel.let_guest_answer();
  kernel.receive(102);
  BOOST_TEST(kernel.last_error() == 0);
  BOOST_TEST(kernel.asked() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
