// What the tests of the server share.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "guest-init/test_machine.h"

namespace nacre::guest {

inline std::vector<std::string> shell(const std::string& script) {
  return {"sh", "-c", script};
}

struct Fixture {
  TestMachine machine;
  Client client{machine};

  // The error of a create that must fail, and leave nothing.
  std::string message_of(const protocol::Json& config) {
    protocol::Json reply = client.create("bad", config);
    BOOST_TEST(reply["type"] == "error");
    BOOST_TEST(!machine.has_cgroup("bad"));
    BOOST_TEST(client.ask({{"type", "state"}, {"container", "bad"}})["code"] == ENOENT);
    return reply.value("message", "");
  }
};

}  // namespace nacre::guest
