// SPDX-License-Identifier: Apache-2.0
// Containers that share what a machine has: namespaces, memory.
#include <sys/mount.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <sstream>

#include "guest-init/testing/server_fixture.h"

using namespace nacre;
using namespace nacre::guest;
using protocol::Json;

namespace {

constexpr const char* kLook = "for n in pid ipc uts mnt net; do readlink /proc/self/ns/$n; done";

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> all;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) all.push_back(line);
  return all;
}

struct TwoContainers : Fixture {
  Json request(const std::string& id, const Json& config, const Json& joins) {
    Json made{{"type", "create"}, {"container", id}, {"stdin", false},
              {"stdout", true},   {"stderr", false}, {"config", config}};
    if (!joins.is_null()) made["joins"] = joins;
    return made;
  }
  // What a container prints to its end; for one that goes on, up to "done".
  std::string output_of(const Json& request, bool to_end = true) {
    Json created = client.ask(request);
    BOOST_REQUIRE_MESSAGE(created["type"] == "created", created.dump());
    Fd out = machine.connect(created["streams"]["stdout"].get<uint32_t>());
    client.start(request["container"]);
    if (!to_end) return read_until(out.get(), "done");
    std::string text = read_to_end(out.get());
    client.event();
    client.ask({{"type", "delete"}, {"container", request["container"]}});
    return text;
  }
  void remove(const std::string& id) { client.ask({{"type", "delete"}, {"container", id}}); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(server_join, TwoContainers)

BOOST_AUTO_TEST_CASE(namespaces_are_joined) {
  Json config = machine.config(shell(std::string(kLook) + "; echo done; sleep 1000"));
  auto first = lines(output_of(request("first", config, nullptr), false));
  auto shared = [&](const Json& joins) {
    auto second = lines(output_of(request("second", machine.config(shell(kLook)), joins)));
    BOOST_REQUIRE_EQUAL(second.size(), 5u);
    std::string same;
    for (size_t i = 0; i < second.size(); i++) same += second[i] == first[i] ? 'x' : '-';
    return same;
  };
  BOOST_TEST(shared(nullptr) == "----x");  // the machine's network
  BOOST_TEST(shared({{"ipc", "first"}}) == "-x---");
  BOOST_TEST(shared({{"ipc", "first"}, {"uts", "first"}, {"network", "first"}}) == "-xx-x");
  BOOST_TEST(shared({{"pid", "first"}, {"network", "first"}}) == "x---x");
  BOOST_TEST(shared({{"pid", "first"}, {"mount", "first"}, {"network", "first"}}) == "x--xx");

  for (const auto& [joins, words] :
       {std::pair(Json{{"ipc", "nobody"}}, "which is not running"), std::pair(Json{{"color", "first"}}, "unknown type"),
        std::pair(Json{{"ipc", 1}}, "joins.ipc"), std::pair(Json("first"), "joins")}) {
    Json reply = client.ask(request("second", config, joins));
    BOOST_TEST(reply["type"] == "error");
    BOOST_TEST(reply.value("message", "").contains(words), reply.dump());
  }
  BOOST_TEST(!machine.has_cgroup("second"));
  remove("first");
}

// Orphans in another container's pid namespace are not children of guest-init, which so does not see them go.
BOOST_AUTO_TEST_CASE(a_container_ends_that_leaves_processes_in_a_joined_namespace) {
  output_of(request("first", machine.config(shell("echo done; sleep 1000")), nullptr), false);
  Json left = request("second", machine.config(shell("for i in $(seq 1 100); do sleep 1000 & done; echo done")),
                      {{"pid", "first"}});
  output_of(left, false);
  BOOST_TEST(client.event()["container"] == "second");
  BOOST_TEST(!machine.has_cgroup("second"));
  remove("second");
  remove("first");
}

BOOST_AUTO_TEST_CASE(a_user_namespace_is_joined) {
  auto mapped = [&](const std::string& script) {
    Json config = machine.config(shell(script));
    Json& linux = config["linux"];
    linux["namespaces"].push_back({{"type", "user"}});
    linux["namespaces"].push_back({{"type", "network"}});
    for (const char* kind : {"uidMappings", "gidMappings"}) {
      linux[kind] = {{{"containerID", 0}, {"hostID", 100000}, {"size", 65536}}};
    }
    config["mounts"].push_back({{"destination", "/tmp/mq"}, {"type", "mqueue"}, {"source", "mqueue"}});
    return config;
  };
  std::string look = std::string(kLook) + "; readlink /proc/self/ns/user; id -u";
  auto first = lines(output_of(request("first", mapped(look + "; echo done; sleep 1000"), nullptr), false));
  auto second = lines(output_of(
      request("second", mapped(look + "; echo $$"), {{"user", "first"}, {"ipc", "first"}, {"network", "first"}})));
  BOOST_REQUIRE_EQUAL(second.size(), 8u);
  for (size_t i : {1, 4, 5, 6}) BOOST_TEST(second[i] == first[i]);
  for (size_t i : {0, 2, 3}) BOOST_TEST(second[i] != first[i]);
  BOOST_TEST(second[7] == "1");
  second = lines(output_of(request("second", mapped(look + "; echo $$"),
                                   {{"user", "first"}, {"ipc", "first"}, {"network", "first"}, {"pid", "first"}})));
  BOOST_REQUIRE_EQUAL(second.size(), 8u);
  BOOST_TEST(second[0] == first[0]);
  BOOST_TEST(second[7] != "1");
  // One that owns its cgroup: who comes out of another user namespace would have no right to put a process there.
  Json owner = mapped("grep ^0: /proc/self/cgroup");
  for (Json& mount : owner["mounts"]) {
    if (mount["type"] == "cgroup") mount["options"] = {"nosuid", "noexec", "nodev", "rw"};
  }
  BOOST_TEST(output_of(request("second", owner, {{"user", "first"}})) == "0::/\n");
  remove("first");
}

BOOST_AUTO_TEST_CASE(memory_is_shared_by_its_key) {
  auto sharing = [&](const std::string& id, const std::string& script, const std::string& key) {
    Json config = machine.config(shell(script));
    config["mounts"].push_back({{"destination", "/tmp/shared"},
                                {"type", "tmpfs"},
                                {"source", "shm"},
                                {"options", {"size=64k", "mode=1777", "nosuid"}}});
    Json made = request(id, config, nullptr);
    made["sharedMounts"] = {{std::to_string(config["mounts"].size() - 1), key}};
    return made;
  };
  output_of(sharing("first", "echo here > /tmp/shared/file; echo done; sleep 1000", "a"), false);
  BOOST_TEST(output_of(sharing("second", "cat /tmp/shared/file; stat -c %a /tmp/shared", "a")) == "here\n1777\n");
  BOOST_TEST(output_of(sharing("second", "ls /tmp/shared; echo x > /tmp/shared/file", "b")) == "");
  BOOST_TEST(output_of(sharing("second", "ls /tmp/shared", "b")) == "");  // it went with its last user
  remove("first");
  Json bad = sharing("second", "true", "a");
  for (const char* index : {"x", "-1", "999", "0"}) {  // 0 is no tmpfs
    bad["sharedMounts"] = {{index, "a"}};
    BOOST_TEST(client.ask(bad).value("message", "").contains("invalid index"));
  }
}

BOOST_AUTO_TEST_CASE(a_machine_runs_until_all_who_made_containers_are_gone) {
  Client other(machine);
  other.create("other", machine.config({"sleep", "1000"}));
  machine.close_primary();
  BOOST_TEST(client.ask({{"type", "state"}, {"container", "other"}})["type"] == "state");
  BOOST_TEST(machine.is_running());
  other.close();
  BOOST_TEST(comes_true([&] { return !machine.is_running(); }));
}

BOOST_AUTO_TEST_SUITE_END()
