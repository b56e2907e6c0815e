// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

using namespace nacre;
using runtime::ContainerDir;
using runtime::last_line;
using runtime::VmmLog;

namespace {

// A container's directory, and the log of a vmm that says what a test makes it say.
struct Vmm {
  Vmm() : dir(create()), log(VmmLog::create(dir, runtime::kVmmLogName).value()), writer(log.take_writer()) {}
  ~Vmm() { std::filesystem::remove_all(root); }

  // Says something whole, however little the pipe holds. Returns what move() says after the last of the text.
  bool say(std::string_view text) {
    while (!text.empty()) {
      ssize_t n = ::write(writer.get(), text.data(), text.size());
      if (n > 0) text.remove_prefix(static_cast<size_t>(n));
      if (!log.move()) return false;
    }
    return true;
  }
  std::string file() const { return read_file(dir.file(runtime::kVmmLogName)).value(); }

  std::string root;
  ContainerDir dir;
  VmmLog log;
  Fd writer;

 private:
  ContainerDir create() {
    char path[] = "/tmp/nacre-log-XXXXXX";
    root = ::mkdtemp(path);
    return ContainerDir::create(root, "one").value();
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_log_has_what_vmm_says) {
  Vmm vmm;
  BOOST_TEST(vmm.log.last_line() == "");
  BOOST_TEST(vmm.say("first\nsecond\n"));
  BOOST_TEST(vmm.file() == "first\nsecond\n");
  BOOST_TEST(vmm.log.last_line() == "second");
  BOOST_TEST(vmm.say("half"));
  BOOST_TEST(vmm.say(" a line"));
  BOOST_TEST(vmm.log.last_line() == "half a line");
  vmm.writer.reset();
  BOOST_TEST(!vmm.log.move());
}

BOOST_AUTO_TEST_CASE(a_log_has_a_bound) {
  Vmm vmm;
  const std::string line = std::string(1023, 'x') + "\n";
  for (int i = 0; i < 1100; i++) BOOST_REQUIRE(vmm.say(line));
  BOOST_TEST(vmm.file().size() == 1u << 20);
  // The last line is the reason for vmm's end. The log remembers that line even if the file has no room.
  BOOST_TEST(vmm.say("vmm: why\n"));
  BOOST_TEST(vmm.file().size() == 1u << 20);
  BOOST_TEST(vmm.log.last_line() == "vmm: why");
}

BOOST_AUTO_TEST_CASE(a_vmm_that_never_stops_does_not_keep_its_reader) {
  Vmm vmm;
  BOOST_REQUIRE(::fcntl(vmm.writer.get(), F_SETPIPE_SZ, 1 << 20) >= 1 << 20);
  BOOST_REQUIRE(::write(vmm.writer.get(), std::string(1 << 20, 'x').data(), 1 << 20) == 1 << 20);
  BOOST_TEST(vmm.log.move());
  BOOST_TEST(vmm.file().size() == 64u << 10);
}

BOOST_AUTO_TEST_CASE(vmm_does_not_wait_for_its_reader) {
  Vmm vmm;
  std::string much(1 << 20, 'x');
  BOOST_TEST(::write(vmm.writer.get(), much.data(), much.size()) < 1 << 20);
  BOOST_TEST(::write(vmm.writer.get(), much.data(), much.size()) == -1);
  BOOST_TEST(errno == EAGAIN);
}

BOOST_AUTO_TEST_CASE(the_last_line_of_a_text) {
  BOOST_TEST(last_line("") == "");
  BOOST_TEST(last_line("\n\r\n") == "");
  BOOST_TEST(last_line("one") == "one");
  BOOST_TEST(last_line("one\ntwo \r\n\n") == "two");
  BOOST_TEST(last_line("one\n" + std::string(5000, 'y')) == std::string(1000, 'y'));
}
