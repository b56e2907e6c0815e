// SPDX-License-Identifier: Apache-2.0
#include "guest-init/protocol/messages.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <set>

#include "base/fd.h"

using namespace nacre;
using namespace nacre::protocol;
using namespace std::string_literals;

namespace {

const StdioWanted kStdio{.in = true,
                         .out = true,
                         .err = false,
                         .passed = {{.readable = true}, {.readable = true, .writable = true}},
                         .newlines = false,
                         .hangs_up = false};

Create full_create() {
  return {.container = "box",
          .config = {{"ociVersion", "1.2.0"}, {"process", {{"args", {"true"}}}}},
          .stdio = kStdio,
          .seccomp = SeccompProgram{.program = {0x7fff000000000006}, .flags = 2},
          .bundle = "/bundle",
          .host_mounts = {{.path = "rootfs", .options = {"ro", "nosuid"}},
                          {.path = "mount-0/a", .source = "mount-0+0", .options = {"rw"}}},
          .notify = true,
          .joins = {{"ipc", "other"}},
          .network = Network{.links = {{.index = 5,
                                        .name = "eth0",
                                        .mac = "02:42:ac:11:00:02",
                                        .mtu = 1500,
                                        .tx_queue_length = 1000,
                                        .ipv6 = false}},
                             .messages = {{.words = {16, 24}}}},
          .shared_mounts = {{"3", "key"}}};
}

Exec full_exec() {
  return {.container = "box",
          .exec = "exec-1",
          .process = {{"args", {"true"}}, {"cwd", "/"}},
          .stdio = kStdio,
          .ignore_paused = true,
          .cgroup = "inner"};
}

// Gives one message of each kind to `visit`, with every field set, and of some one more with no optional field.
void for_each_sample(auto visit) {
  visit("create", full_create());
  visit("create, least", Create{.container = "box", .config = Json::object()});
  visit("start", Start{.container = "box"});
  visit("exec", full_exec());
  visit("exec, least", Exec{.container = "box", .exec = "exec-1", .process = Json::object()});
  visit("release", Release{.container = "box", .exec = "exec-1"});
  visit("resize", Resize{.container = "box", .exec = "exec-1", .rows = 24, .columns = 80});
  visit("resize, least", Resize{.container = "box", .rows = 24, .columns = 80});
  visit("kill", Kill{.container = "box", .exec = "exec-1", .signal = 15, .all = true});
  visit("kill, least", Kill{.container = "box", .signal = 9});
  visit("state", State{.container = "box"});
  visit("delete", Delete{.container = "box"});
  visit("pause", Pause{.container = "box"});
  visit("resume", Resume{.container = "box"});
  visit("processes", Processes{.container = "box"});
  visit("procfs", Procfs{.container = "box"});
  visit("statistics", Statistics{.container = "box"});
  visit("watch", Watch{.container = "box"});
  visit("update", Update{.container = "box", .resources = {{"pids", {{"limit", 5}}}}, .cpus = 2});
  visit("update, least", Update{.container = "box"});
  visit("mount", Mount{.container = "box", .mount = {.path = "mount-0/a", .source = "new", .options = {"ro"}}});
  visit("unmount", Unmount{.container = "box", .path = "mount-0/a"});

  visit("reply ok", Ok{});
  visit("reply error", ErrorReply{.message = "container not running", .code = 3});
  visit("reply created",
        Created{.pid = 7,
                .streams = {.in = 49152, .out = 49153, .err = 49154, .passed = {{.in = 49155, .out = 0}}},
                .warnings = {"a route"}});
  visit("reply created, least", Created{.pid = 7});
  visit("reply state", StateReply{.status = "stopped", .pid = 0, .exit = ExitStatus{.status = 1, .signal = 0}});
  visit("reply state, least", StateReply{.status = "running", .pid = 7});
  visit("reply processes",
        ProcessesReply{.hertz = 100,
                       .page = 4096,
                       .uptime = 1000,
                       .memory = 1 << 29,
                       .processes = {{.stat = "1 (sh) S 0\n", .uid = {0, 1000}, .gid = {0, 100}, .args = "sh -c x"}}});
  visit("reply procfs",
        ProcfsReply{.machine = {{"uptime", "1.00 0.50\n"}},
                    .processes = {{"1", {.files = {{"comm", "sh\n"}}, .namespaces = {{"pid", "pid:[4026531836]"}}}}}});
  visit("reply statistics", StatisticsReply{.files = {{"memory.current", "4096\n"}}});

  visit("event exited", Exited{.container = "box",
                               .exec = "exec-1",
                               .exit = {.status = 0, .signal = 15},
                               .sent = {.out = 5, .err = 6, .passed = {0, 7}}});
  visit("event exited, least", Exited{.container = "box"});
  visit("event oom", Oom{.container = "box"});
  visit("event ready", Ready{.container = "box"});
}

// JSON that others than the message look into.
const std::set<std::string> kDocuments = {"config", "process", "resources"};

template <typename Message>
bool refuses(const Json& json) {
  return !decode<Message>(json);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(messages)

// The file is the contract for whatever plays one of the ends in a test. To write it anew, for a message that has
// changed: NACRE_WRITE_SAMPLES=1.
BOOST_AUTO_TEST_CASE(every_message_is_as_in_the_samples) {
  auto& suite = boost::unit_test::framework::master_test_suite();
  BOOST_REQUIRE_EQUAL(suite.argc, 2);
  const std::string path = suite.argv[1];
  Json all = Json::object();
  for_each_sample([&](const char* name, const auto& message) { all[name] = encode(message); });
  std::string text = all.dump(2) + "\n";
  if (std::getenv("NACRE_WRITE_SAMPLES") != nullptr) BOOST_REQUIRE(replace_file(path, text, 0644));
  BOOST_TEST(read_file(path).value_or("") == text);
}

BOOST_AUTO_TEST_CASE(what_is_encoded_is_decoded) {
  for_each_sample([](const char* name, const auto& message) {
    using Message = std::decay_t<decltype(message)>;
    BOOST_TEST_CONTEXT(name) {
      Json json = encode(message);
      auto decoded = decode<Message>(json);
      BOOST_REQUIRE(decoded);
      BOOST_TEST(encode(*decoded) == json);
      json["unknown"] = 1;
      BOOST_TEST(decode<Message>(json).has_value());
    }
  });
}

BOOST_AUTO_TEST_CASE(fields_of_wrong_types_are_refused) {
  for_each_sample([](const char* name, const auto& message) {
    using Message = std::decay_t<decltype(message)>;
    const Json json = encode(message);
    BOOST_TEST_CONTEXT(name) {
      for (const auto& [field, value] : json.items()) {
        if (field == "type" || kDocuments.contains(field)) continue;
        for (const Json& wrong : {Json(1.5), Json(-1), Json::array({Json::object()})}) {
          Json bad = json;
          bad[field] = wrong;
          BOOST_TEST(refuses<Message>(bad), field << " " << wrong);
        }
      }
      BOOST_TEST(refuses<Message>(Json::array()));
      BOOST_TEST(refuses<Message>(Json()));
    }
  });
}

BOOST_AUTO_TEST_CASE(errors_name_the_field) {
  auto error_of = [](Json json) {
    auto decoded = decode<Create>(std::move(json));
    return decoded ? std::string() : decoded.error().message();
  };
  const Json good = encode(full_create());
  auto with = [&](const char* pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return json;
  };
  BOOST_TEST(error_of(good) == "");
  BOOST_TEST(error_of(with("/container", Json())) == "create.container is missing");
  BOOST_TEST(error_of(with("/container", "a\0b"s)) == "create.container contains a NUL character");
  BOOST_TEST(error_of(with("/stdin", 1)) == "create.stdin is not true or false");
  BOOST_TEST(error_of(with("/joins/ipc", 1)) == "create.joins.ipc is not a string");
  BOOST_TEST(error_of(with("/hostMounts/1/options/0", 1)) == "create.hostMounts[1].options[0] is not a string");
  BOOST_TEST(error_of(with("/seccomp/program/0", -1)) == "create.seccomp.program[0] is not an unsigned integer");
  BOOST_TEST(error_of(with("/seccomp/flags", 1ull << 32)) == "create.seccomp.flags is not between 0 and 4294967295");
  BOOST_TEST(error_of(with("/passed", std::vector<Json>(65, "r"))) == "invalid passed");
}

BOOST_AUTO_TEST_CASE(numbers_have_ranges) {
  Json exited = encode(Exited{.container = "box"});
  for (const Json& wrong : {Json(256), Json(-1), Json(UINT64_MAX), Json("1"), Json(1.0)}) {
    for (const char* field : {"status", "signal"}) {
      Json bad = exited;
      bad[field] = wrong;
      BOOST_TEST(refuses<Exited>(bad), field << " " << wrong);
    }
  }
  exited["sent"]["stdout"] = UINT64_MAX;
  BOOST_TEST(refuses<Exited>(exited));
  exited["sent"]["stdout"] = INT64_MAX;
  BOOST_TEST(!refuses<Exited>(exited));
  Json created = encode(Created{.pid = 7});
  for (const Json& port : {Json(0), Json(1ull << 32), Json(-1)}) {
    created["streams"]["stdout"] = port;
    BOOST_TEST(refuses<Created>(created));
  }
}

BOOST_AUTO_TEST_CASE(a_reply_is_what_was_asked_for_or_an_error) {
  BOOST_TEST(decode_reply<Ok>(encode(Ok{})).has_value());
  auto other = decode_reply<Created>(encode(Ok{}));
  BOOST_REQUIRE(!other);
  BOOST_TEST(other.error().code() == EPROTO);
  auto error = decode_reply<Created>(encode(ErrorReply{.message = "no", .code = ENOENT}));
  BOOST_REQUIRE(!error);
  BOOST_TEST(error.error().message() == "no");
  BOOST_TEST(error.error().code() == ENOENT);
  BOOST_TEST(!decode_reply<Ok>(Json{{"type", "error"}, {"message", 5}, {"code", 1}}));
  BOOST_TEST(!decode_reply<Ok>(Json{{"type", 5}}));
  BOOST_TEST(!decode_reply<Ok>(Json::array()));
}

BOOST_AUTO_TEST_CASE(texts_of_the_kernel_may_have_any_bytes) {
  Json reply = encode(StatisticsReply{.files = {{"cpu.stat", "a\0b"s}}});
  reply["files"]["odd"] = 7;
  auto decoded = decode<StatisticsReply>(reply);
  BOOST_REQUIRE(decoded);
  BOOST_TEST(decoded->files.size() == 1u);
  BOOST_TEST(decoded->files["cpu.stat"] == "a\0b"s);
}

BOOST_AUTO_TEST_SUITE_END()
