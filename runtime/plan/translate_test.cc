#include "runtime/plan/translate.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "runtime/plan/memory_policy.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

const runtime::Parts kParts = {.vmm = "/p/vmm", .kernel = "/p/vmlinux", .initramfs = "/p/initramfs"};

oci::Config config_with(const char* resources) {
  oci::Config config;
  config.rootfs = "/images/one";
  config.rootfs_readonly = true;
  config.json = {{"root", {{"path", "one"}}}, {"linux", {{"resources", Json::parse(resources)}}}};
  return config;
}

}  // namespace

BOOST_AUTO_TEST_CASE(one_share_holds_root_and_volumes) {
  oci::Config config = config_with("{}");
  config.json["mounts"] = Json::parse(R"([{"destination": "/proc", "type": "proc", "source": "proc"},
                                          {"destination": "/a", "type": "bind", "source": "/x"},
                                          {"destination": "/b", "type": "bind", "source": "/y"}])");
  config.mounts = {{.index = 0, .destination = "/proc", .source = "proc"},
                   {.index = 1, .destination = "/a", .source = "/x", .bind = true},
                   {.index = 2, .destination = "/b", .source = "/y", .bind = true, .readonly = true}};
  auto vm = runtime::to_vm(config, kParts, false);
  BOOST_REQUIRE(vm);
  BOOST_TEST(vm->kernel == "/p/vmlinux");
  BOOST_TEST(vm->initrd == "/p/initramfs");
  BOOST_TEST(vm->jail.enabled);
  BOOST_TEST(!vm->console);
  BOOST_REQUIRE(vm->fs.size() == 1u);
  BOOST_TEST(vm->fs[0].tag == "nacre");
  BOOST_TEST(vm->fs[0].path == "");
  const auto& mounts = vm->fs[0].mounts;
  BOOST_REQUIRE(mounts.size() == 3u);
  BOOST_TEST((mounts[0].source == "/images/one" && mounts[0].target == "rootfs" && mounts[0].readonly));
  BOOST_TEST((mounts[1].source == "/x" && mounts[1].target == "mount-0" && !mounts[1].readonly));
  BOOST_TEST((mounts[2].source == "/y" && mounts[2].target == "mount-1" && mounts[2].readonly));
  BOOST_TEST(vmm::check(*vm).has_value());

  Json guest = runtime::to_guest(config);
  BOOST_TEST(guest["root"]["path"] == "/run/nacre/share/rootfs");
  BOOST_TEST(guest["mounts"][0]["source"] == "proc");
  BOOST_TEST(guest["mounts"][1]["source"] == "/run/nacre/share/mount-0");
  BOOST_TEST(guest["mounts"][2]["source"] == "/run/nacre/share/mount-1");

  // In a VM of several containers the names of each are its own.
  vm = runtime::to_vm(config, kParts, false, "7:");
  BOOST_REQUIRE(vm);
  BOOST_TEST(vm->fs[0].mounts[2].target == "7:mount-1");
  BOOST_TEST(runtime::to_guest(config, "7:")["mounts"][2]["source"] == "/run/nacre/share/7:mount-1");
  auto served = runtime::served_mounts(config, "7:");
  BOOST_REQUIRE(served.size() == 3u);
  BOOST_TEST((served[0].destination == "/proc" && served[0].target.empty()));
  BOOST_TEST((served[2].destination == "/b" && served[2].source == "/y" && served[2].target == "7:mount-1"));
}

BOOST_AUTO_TEST_CASE(a_memory_policy_is_one_of_the_kernels) {
  auto policy = [](const char* text) -> std::string {
    auto made = runtime::memory_policy({{"memoryPolicy", Json::parse(text)}});
    if (!made) return made.error().message();
    return std::to_string((*made)->mode) + " " + std::to_string((*made)->nodes[0]);
  };
  BOOST_TEST(!*runtime::memory_policy(Json::object()));
  // Modes and flags by their numbers in linux/mempolicy.h, nodes as a mask.
  BOOST_TEST(policy(R"({"mode": "MPOL_DEFAULT"})") == "0 0");
  BOOST_TEST(policy(R"({"mode": "MPOL_INTERLEAVE", "nodes": "0"})") == "3 1");
  BOOST_TEST(policy(R"({"mode": "MPOL_BIND", "nodes": "0,2-3", "flags": ["MPOL_F_STATIC_NODES"]})") == "32770 13");
  BOOST_TEST(policy(R"({"mode": "MPOL_PREFERRED", "nodes": "", "flags": ["MPOL_F_RELATIVE_NODES"]})") == "16385 0");
  BOOST_TEST(policy(R"({})") == "invalid memory policy mode \"\"");
  BOOST_TEST(policy(R"({"mode": "BIND", "nodes": "0"})") == "invalid memory policy mode \"BIND\"");
  BOOST_TEST(policy(R"({"mode": "MPOL_BIND"})") == "memory policy mode requires at least one node but got 0");
  BOOST_TEST(policy(R"({"mode": "MPOL_LOCAL", "nodes": "0-7"})") == "memory policy mode requires 0 nodes but got 8");
  BOOST_TEST(policy(R"({"mode": "MPOL_BIND", "nodes": "0", "flags": ["x"]})") == "invalid memory policy flag \"x\"");
  for (const char* nodes : {"0-9876543210", "1024", "2-1", "1,", ",1", "1-", "-1", "x", "1 2"}) {
    std::string text = std::string(R"({"mode": "MPOL_BIND", "nodes": ")") + nodes + "\"}";
    BOOST_TEST(policy(text.c_str()) == std::string("invalid memory policy nodes \"") + nodes + "\"");
  }
}

BOOST_AUTO_TEST_CASE(who_may_make_device_nodes) {
  auto may = [](const char* bounding, const char* namespaces) {
    oci::Config config = config_with("{}");
    config.json["process"]["capabilities"] = Json::parse(bounding);
    config.json["linux"]["namespaces"] = Json::parse(namespaces);
    return runtime::to_vm(config, kParts, false)->jail.device_nodes;
  };
  BOOST_TEST(may(R"({"bounding": ["CAP_KILL", "CAP_MKNOD"]})", R"([{"type": "pid"}])"));
  BOOST_TEST(!may(R"({"bounding": ["CAP_KILL"], "effective": ["CAP_MKNOD"]})", "[]"));
  BOOST_TEST(!may("{}", "[]"));
  BOOST_TEST(!may(R"({"bounding": ["CAP_MKNOD"]})", R"([{"type": "pid"}, {"type": "user"}])"));
}

BOOST_AUTO_TEST_CASE(annotations_shape_the_vm) {
  oci::Config config = config_with("{}");
  config.annotations = {{runtime::kMemoryAnnotation, "1G"}, {runtime::kCpusAnnotation, "4"}};
  auto vm = runtime::to_vm(config, kParts, true);
  BOOST_REQUIRE(vm);
  BOOST_TEST(vm->memory == 1ull << 30);
  BOOST_TEST(vm->cpus == 4u);
  BOOST_TEST(vm->console);
  BOOST_TEST(vm->cmdline.contains("console=ttyS0"));
  config.annotations = {{runtime::kCpusAnnotation, "65"}};
  vm = runtime::to_vm(config, kParts, false);
  BOOST_REQUIRE(!vm);
  BOOST_TEST(vm.error().message() == "annotations.nacre.vm.cpus: must be a number from 1 to 64");
  config.annotations = {{runtime::kMemoryAnnotation, "much"}};
  BOOST_TEST(!runtime::to_vm(config, kParts, false));
}

BOOST_AUTO_TEST_CASE(mountpoints_stay_inside_the_root) {
  namespace fs = std::filesystem;
  char path[] = "/tmp/nacre-root-XXXXXX";
  fs::path scratch = ::mkdtemp(path);
  fs::create_directories(scratch / "root/real");
  fs::create_directories(scratch / "outside");
  fs::create_directory_symlink("../outside", scratch / "root/up");
  fs::create_directory_symlink("/real", scratch / "root/absolute");
  oci::Config config;
  config.rootfs = scratch / "root";
  config.rootfs_readonly = true;
  config.json = {{"process", {{"cwd", "/srv/place"}}}};
  config.mounts = {{.index = 0, .destination = "/a/b", .source = "proc"},
                   {.index = 1, .destination = "/a/b/c", .source = "tmpfs"},
                   {.index = 2, .destination = "/absolute/file", .source = "/etc/passwd", .bind = true},
                   {.index = 3, .destination = "/../../d", .source = "tmpfs"}};
  auto made = runtime::make_mountpoints(config);
  BOOST_TEST(made.has_value(), (made ? "" : made.error().message()));
  BOOST_TEST(fs::is_directory(scratch / "root/a/b"));
  BOOST_TEST(fs::is_directory(scratch / "root/srv/place"));
  BOOST_TEST(!fs::exists(scratch / "root/a/b/c"));  // in the file system that is mounted on b
  BOOST_TEST(fs::is_regular_file(scratch / "root/real/file"));
  BOOST_TEST(fs::is_directory(scratch / "root/d"));
  config.mounts = {{.index = 0, .destination = "/up/x", .source = "tmpfs"}};
  (void)runtime::make_mountpoints(config);
  BOOST_TEST(!fs::exists(scratch / "outside/x"));
  fs::remove_all(scratch);
}
