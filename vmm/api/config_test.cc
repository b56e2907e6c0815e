// SPDX-License-Identifier: Apache-2.0
#define BOOST_TEST_MODULE vmm_api
#include <boost/test/unit_test.hpp>

#include "vmm/api/config.h"

using namespace nacre;
using namespace nacre::vmm;

namespace {

Config full_config() {
  Config config;
  config.kernel = "/boot/vmlinux";
  config.initrd = "/boot/init\"rd";
  config.cmdline = "quiet root=\\x";
  config.memory = 1ull << 30;
  config.memory_backing = "memfd";
  config.cpus = 3;
  config.console = false;
  config.lifeline_fd = 9;
  config.fs.push_back(
      Fs{"nacre", "", false, {{"/a b", "rootfs", true}, {"/etc/hosts", "mounts/0", false, false, true, 12}}});
  config.fs.push_back(Fs{"other", "/srv", true, {}});
  config.net = {{.tap = "tap0", .mac = "02:00:00:00:00:01"}, {.tap_fd = 13}};
  config.vsock = Vsock{7, "/run/v.sock", 5, {{1024, 6}}};
  config.max_memory = 4ull << 30;
  config.max_cpus = 8;
  config.control = Control{"/run/c.sock", 11};
  config.jail = Jail{.enabled = true,
                     .seccomp = kSeccompLog,
                     .device_nodes = true,
                     .uids = {{100000, 65536}, {5, 1}},
                     .gids = {{200000, 65536}},
                     .keep_groups = true,
                     .apparmor_profile = "profile",
                     .selinux_label = "u:r:vm_t:s0:c1,c2",
                     .mount_label = "u:object_r:files_t:s0:c1,c2"};
  return config;
}

std::string error_of(const Result<Config>& result) {
  return result ? "no error" : result.error().message();
}

}  // namespace

BOOST_AUTO_TEST_CASE(toml_round_trip_keeps_every_field) {
  std::string text = to_toml(full_config());
  Result<Config> read = parse_toml(text);
  BOOST_REQUIRE_MESSAGE(read, error_of(read));
  BOOST_TEST(to_toml(*read) == text);
  BOOST_TEST(read->fs.at(0).mounts.at(1).source == "/etc/hosts");
  BOOST_TEST(!read->fs.at(0).mounts.at(1).recursive);
  BOOST_TEST(read->fs.at(0).mounts.at(1).tree_fd == 12);
  BOOST_TEST(read->net.at(0).tap == "tap0");
  BOOST_TEST(read->net.at(0).mac == "02:00:00:00:00:01");
  BOOST_TEST(read->net.at(1).tap_fd == 13);
  BOOST_TEST(read->vsock->streams.at(0).port == 1024u);
  BOOST_TEST(read->max_memory == 4ull << 30);
  BOOST_TEST(read->max_cpus == 8u);
  BOOST_TEST(read->memory_backing == "memfd");
  BOOST_TEST(read->control->listen_fd == 11);
  BOOST_TEST(read->jail.device_nodes);
  BOOST_TEST(read->jail.seccomp == "log");
  BOOST_TEST((read->jail == full_config().jail));
  BOOST_TEST(read->initrd == "/boot/init\"rd");
  BOOST_TEST(bool(check(*read)));
}

BOOST_AUTO_TEST_CASE(toml_keeps_any_name) {
  for (std::string name : {"\n", "\na", "a\nb", "a\n'", "\n'''\nmemory = 1", "\"\"\"\n'''\\", "\x1b\x7f", "'", "\""}) {
    Config config = full_config();
    config.kernel = name;
    Result<Config> read = parse_toml(to_toml(config));
    BOOST_REQUIRE_MESSAGE(read, error_of(read));
    BOOST_TEST(read->kernel == name);
    BOOST_TEST(to_toml(*read) == to_toml(config));
  }
}

BOOST_AUTO_TEST_CASE(toml_errors_name_the_field) {
  BOOST_TEST(error_of(parse_toml("kernel = 3")) == "kernel must be a string");
  BOOST_TEST(error_of(parse_toml("cpus = -1")) == "cpus is out of range");
  BOOST_TEST(error_of(parse_toml("colour = 1")) == "colour: unknown key");
  BOOST_TEST(error_of(parse_toml("[[fs]]\ntag = 'a'\n[[fs]]\ntagg = 'b'")) == "fs[1].tagg: unknown key");
  BOOST_TEST(error_of(parse_toml("[[disk]]\npath = '/disk.img'")) == "disk: unknown key");
  BOOST_TEST(error_of(parse_toml("jail = 1")) == "jail must be a table");
  BOOST_TEST(error_of(parse_toml("[[vsock.stream]]\nport = 4294967296")) == "vsock.stream[0].port is out of range");
  BOOST_TEST(error_of(parse_toml("fs = 1")) == "fs must be an array of tables");
  BOOST_TEST(error_of(parse_toml("memory = '5 apples'")) ==
             "memory: '5 apples' is not a size (bytes, or a number with K, M or G)");
  BOOST_TEST(error_of(parse_toml("kernel = ")).starts_with("line 1: "));
}

BOOST_AUTO_TEST_CASE(sizes) {
  BOOST_TEST(*parse_size("512M") == 512ull << 20);
  BOOST_TEST(*parse_size("4096") == 4096u);
  BOOST_TEST(*parse_size("2G") == 2ull << 30);
  for (const char* wrong : {"", "M", "1T", "-1", "1.5G", "99999999999999999999", "18446744073709551615K"}) {
    BOOST_TEST(!parse_size(wrong), wrong);
  }
}

BOOST_AUTO_TEST_CASE(option_lists) {
  BOOST_TEST(parse_fs("tag=t,path=/x,readonly")->readonly);
  BOOST_TEST(!parse_fs("path=/x,tag=t")->readonly);
  BOOST_TEST(parse_fs("tag=t").error().message() == "--fs: path is missing");
  BOOST_TEST(parse_fs("tag=t,path=/x,colour=red").error().message() ==
             "--fs: unknown key 'colour' (known: path, readonly, tag)");
  BOOST_TEST(parse_vsock("cid=x,uds=/v").error().message() == "--vsock: cid is not a number");
  BOOST_TEST(parse_vsock("cid=5,uds=/v")->cid == 5u);
  BOOST_TEST(parse_fs("path=/x").error().message() == "--fs: tag is missing");
  BOOST_TEST(parse_fs("tag=t,path=/x,readonly=maybe").error().message() == "--fs: readonly is a flag");
  BOOST_TEST(!parse_fs("tag=t,path=/x,readonly=false")->readonly);
  BOOST_TEST(parse_vsock("cid=5").error().message() == "--vsock: uds is missing");
  BOOST_TEST(parse_vsock("cid=18446744073709551616,uds=/v").error().message() == "--vsock: cid is not a number");
}

BOOST_AUTO_TEST_CASE(addresses_of_network_devices) {
  BOOST_TEST((*parse_mac("02:00:0a:Bc:12:ff") == MacAddress{2, 0, 10, 0xbc, 0x12, 0xff}));
  for (const char* wrong : {"", "02", "02:00:0a:bc:12", "02:00:0a:bc:12:ff:00", "02:00:0a:bc:12:f", "02-00-0a-bc-12-ff",
                            "02:00:0a:bc:12:fg", " 2:00:0a:bc:12:ff", "-2:00:0a:bc:12:ff", "+2:00:0a:bc:12:ff",
                            "0x:00:0a:bc:12:ff", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"}) {
    BOOST_TEST(!parse_mac(wrong), wrong);
  }
  BOOST_TEST(parse_net("tap=t0")->tap == "t0");
  BOOST_TEST(parse_net("tap=t0,mac=02:00:00:00:00:07")->mac == "02:00:00:00:00:07");
  BOOST_TEST(parse_net("mac=02:00:00:00:00:07").error().message() == "--net: tap is missing");
  BOOST_TEST(parse_net("tap=t,colour=red").error().message() == "--net: unknown key 'colour' (known: mac, tap)");
  BOOST_TEST(parse_net("tap=t,mac=03:00:00:00:00:07").error().message() ==
             "--net: mac: '03:00:00:00:00:07' is the address of a group");
}

BOOST_AUTO_TEST_CASE(check_refuses_what_makes_no_sense) {
  auto with = [](auto change) {
    Config config = full_config();
    change(config);
    Result<void> result = check(config);
    return result ? std::string("no error") : result.error().message();
  };
  BOOST_TEST(with([](Config& c) { c.kernel = ""; }) == "kernel is missing");
  BOOST_TEST(with([](Config& c) { c.cpus = 65; }) == "cpus must be 1 to 64");
  BOOST_TEST(with([](Config& c) { c.memory = 1; }) == "memory must be at least 16M");
  BOOST_TEST(with([](Config& c) { c.memory += 4096; }) == "memory must be a multiple of 2M");
  BOOST_TEST(with([](Config& c) { c.memory_backing = ""; }) == "memory_backing must not be empty");
  BOOST_TEST(with([](Config& c) { c.max_memory = 512 << 20; }) == "max_memory is less than memory");
  BOOST_TEST(with([](Config& c) { c.max_memory += 4096; }) == "max_memory must be a multiple of 2M");
  BOOST_TEST(with([](Config& c) { c.max_memory = c.max_cpus = 0; }) == "no error");
  BOOST_TEST(with([](Config& c) { c.max_cpus = 2; }) == "max_cpus is less than cpus");
  BOOST_TEST(with([](Config& c) { c.max_cpus = 65; }) == "max_cpus must be at most 64");
  BOOST_TEST(with([](Config& c) { c.cmdline = std::string(2036, 'x'); }) == "cmdline is longer than 2035 bytes");
  BOOST_TEST(with([](Config& c) { c.cmdline = std::string(2035, 'x'); }) == "no error");
  BOOST_TEST(with([](Config& c) { c.control = Control{}; }) == "control: path is missing");
  BOOST_TEST(with([](Config& c) { c.fs[1].tag = "nacre"; }) == "fs: tag nacre is used twice");
  BOOST_TEST(with([](Config& c) { c.fs[1].tag = std::string(36, 't'); }) == "no error");
  BOOST_TEST(with([](Config& c) { c.fs[1].tag = std::string(37, 't'); }) == "fs: tag must have 1 to 36 bytes");
  BOOST_TEST(with([](Config& c) { c.jail.uids = {}; }) == "jail: uids without gids, or gids without uids");
  BOOST_TEST(with([](Config& c) { c.jail.uids.push_back({100001, 1}); }) == "jail.uids: two ranges overlap");
  BOOST_TEST(with([](Config& c) { c.jail.gids = {{1, 0}}; }) == "jail.gids: a range without ids");
  BOOST_TEST(with([](Config& c) { c.jail.gids = {{2, UINT32_MAX - 1}}; }) ==
             "jail.gids: a range goes past the last id");
  BOOST_TEST(with([](Config& c) { c.jail.gids.assign(341, {1, 1}); }) == "jail.gids: more than 340 ranges");
  BOOST_TEST(with([](Config& c) { c.jail.mount_label = "a\",size=100g,x=\""; }) ==
             "jail.mount_label must not contain a quote");
  BOOST_TEST(with([](Config& c) { c.jail.enabled = false; }) == "fs nacre: mounts need the jail");
  BOOST_TEST(with([](Config& c) { c.fs[0].readonly = true; }) ==
             "fs nacre: a share with an inherited tree cannot be read-only, its mounts can");
  BOOST_TEST(with([](Config& c) { c.vsock->cid = 2; }) == "vsock: cid must be 3 to 4294967294");
  BOOST_TEST(with([](Config& c) { c.net[0].tap = ""; }) == "net[0]: needs either tap or tap_fd");
  BOOST_TEST(with([](Config& c) { c.net[1].tap = "tap1"; }) == "net[1]: needs either tap or tap_fd");
  BOOST_TEST(with([](Config& c) { c.net[1] = {.tap = "tap0"}; }) == "net[1]: tap tap0 is used twice");
  BOOST_TEST(with([](Config& c) { c.net[1].mac = "02:00:00:00:00:01"; }) ==
             "net[1]: mac 02:00:00:00:00:01 is used twice");
  BOOST_TEST(with([](Config& c) { c.net[1].mac = "1"; }) ==
             "net[1].mac: '1' is not an address such as 02:00:00:12:34:56");
  for (const char* name : {".", "..", "a/b", "a b", "tap%d", "a:b", "a\n", "sixteen-bytes-xx"}) {
    BOOST_TEST(with([&](Config& c) { c.net[0].tap = name; }) ==
               "net[0]: '" + std::string(name) + "' is no name of a tap");
  }
  for (const char* target : {"", "/a", "a/", "a//b", "..", "a/../b", "./a"}) {
    BOOST_TEST(with([&](Config& c) { c.fs[0].mounts[0].target = target; }) ==
               "fs nacre: mount target '" + std::string(target) + "' is not a plain relative path");
  }
}
