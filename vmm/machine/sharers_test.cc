// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine/sharers.h"

#include <fcntl.h>

#include <boost/test/unit_test.hpp>

namespace nacre::vmm {
namespace {

constexpr CallerId kFirst = 5;
constexpr CallerId kSecond = 6;

Fd open_root(int flags) {
  return Fd(::open("/", flags | O_DIRECTORY | O_CLOEXEC));
}

struct Sharing {
  Sharing() {
    virtio::FsOptions options;
    options.tag = "t";
    options.root = open_root(O_PATH);
    options.readonly = true;
    proc = Fd(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
    options.proc_self_fd = proc.get();
    device = virtio::FsDevice::create(std::move(options)).value();
    sharers.add_device("t", *device);
  }
  std::string share(CallerId caller, const std::string& tag, const std::string& name, Fd root) {
    auto shared = sharers.share(caller, {.tag = tag, .name = name}, std::move(root));
    return shared ? "no error" : shared.error().message();
  }
  std::string unshare(CallerId caller, const std::string& name) {
    auto unshared = sharers.unshare(caller, {.tag = "t", .name = name});
    return unshared ? "no error" : unshared.error().message();
  }

  Fd proc;
  std::unique_ptr<virtio::FsDevice> device;
  Sharers sharers;
};

BOOST_FIXTURE_TEST_SUITE(sharers_of_a_machine, Sharing)

BOOST_AUTO_TEST_CASE(a_tree_needs_a_share_and_a_path_descriptor) {
  BOOST_TEST(share(kFirst, "other", "a", open_root(O_PATH)) == "share: no share has the tag other");
  BOOST_TEST(share(kFirst, "t", "a", Fd()) == "share: no O_PATH descriptor came with it");
  BOOST_TEST(share(kFirst, "t", "a", open_root(O_RDONLY)) == "share: no O_PATH descriptor came with it");
  BOOST_TEST(share(kFirst, "t", "a", open_root(O_PATH)) == "no error");
  BOOST_TEST(share(kSecond, "t", "a", open_root(O_PATH)) != "no error");
}

BOOST_AUTO_TEST_CASE(only_the_caller_that_brought_a_tree_takes_it_away) {
  BOOST_TEST(share(kFirst, "t", "a", open_root(O_PATH)) == "no error");
  BOOST_TEST(unshare(kSecond, "a") == "unshare: the caller has not shared a");
  BOOST_TEST(unshare(kFirst, "b") == "unshare: the caller has not shared b");
  BOOST_TEST(unshare(kFirst, "a") == "no error");
  BOOST_TEST(unshare(kFirst, "a") == "unshare: the caller has not shared a");
  BOOST_TEST(share(kSecond, "t", "a", open_root(O_PATH)) == "no error");
}

BOOST_AUTO_TEST_CASE(a_caller_that_leaves_takes_its_trees_along) {
  BOOST_TEST(share(kFirst, "t", "a", open_root(O_PATH)) == "no error");
  BOOST_TEST(share(kSecond, "t", "b", open_root(O_PATH)) == "no error");
  sharers.leave(kFirst);
  BOOST_TEST(share(kFirst, "t", "a", open_root(O_PATH)) == "no error");
  BOOST_TEST(share(kFirst, "t", "b", open_root(O_PATH)) != "no error");
}

BOOST_AUTO_TEST_CASE(the_machine_is_held_until_the_last_holder_leaves) {
  BOOST_TEST(!sharers.any());
  sharers.hold(kFirst);
  sharers.hold(kFirst);
  sharers.hold(kSecond);
  sharers.leave(kFirst);
  BOOST_TEST(sharers.any());
  sharers.leave(kFirst);
  sharers.leave(kSecond);
  BOOST_TEST(!sharers.any());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace nacre::vmm
