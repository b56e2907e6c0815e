// SPDX-License-Identifier: Apache-2.0
// Helpers that the tests of the server share.
#pragma once

#include <unistd.h>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "guest-init/testing/machine.h"

namespace nacre::guest {

inline std::vector<std::string> shell(const std::string& script) {
  return {"sh", "-c", script};
}

// Reads up to `end`, and perhaps a little more.
inline std::string read_until(int fd, std::string_view end) {
  std::string text;
  while (text.find(end) == std::string::npos) {
    std::array<char, 64> bytes;
    ssize_t n = ::read(fd, bytes.data(), bytes.size());
    BOOST_REQUIRE(n > 0);
    text.append(bytes.data(), static_cast<size_t>(n));
  }
  return text;
}

// Waits for what the container's own processes do in their time.
template <typename Condition>
bool comes_true(Condition condition) {
  using namespace std::chrono_literals;
  for (auto end = std::chrono::steady_clock::now() + 60s; !condition(); std::this_thread::sleep_for(5ms)) {
    if (std::chrono::steady_clock::now() > end) return false;
  }
  return true;
}

struct Fixture {
  TestMachine machine;
  Client client{machine};

  // Returns the error of a Create request that must fail and leave nothing.
  std::string message_of(const protocol::Json& config) {
    protocol::Json reply = client.create("bad", config);
    BOOST_TEST(reply["type"] == "error");
    BOOST_TEST(!machine.has_cgroup("bad"));
    BOOST_TEST(client.ask({{"type", "state"}, {"container", "bad"}})["code"] == ENOENT);
    return reply.value("message", "");
  }
};

}  // namespace nacre::guest
