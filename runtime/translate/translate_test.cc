#include "runtime/translate/translate.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

using namespace nacre;
using runtime::kDefaultCpus;
using runtime::kDefaultMemory;
using runtime::kGuestOverhead;
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

vmm::Config vm_for(const char* resources) {
  auto vm = runtime::to_vm(config_with(resources), kParts, false);
  BOOST_REQUIRE(vm);
  return *vm;
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
  BOOST_TEST((mounts[1].source == "/x" && mounts[1].target == "mounts/0" && !mounts[1].readonly));
  BOOST_TEST((mounts[2].source == "/y" && mounts[2].target == "mounts/1" && mounts[2].readonly));
  BOOST_TEST(vmm::check(*vm).has_value());

  Json guest = runtime::to_guest(config);
  BOOST_TEST(guest["root"]["path"] == "/run/nacre/share/rootfs");
  BOOST_TEST(guest["mounts"][0]["source"] == "proc");
  BOOST_TEST(guest["mounts"][1]["source"] == "/run/nacre/share/mounts/0");
  BOOST_TEST(guest["mounts"][2]["source"] == "/run/nacre/share/mounts/1");
}

BOOST_AUTO_TEST_CASE(the_vm_is_as_large_as_its_container) {
  constexpr uint64_t kGiB = 1ull << 30;
  BOOST_TEST(vm_for("{}").memory == kDefaultMemory);
  BOOST_TEST(vm_for(R"({"memory": {"limit": -1}})").memory == kDefaultMemory);
  BOOST_TEST(vm_for(R"({"memory": {"limit": 1048576}})").memory == kDefaultMemory);
  BOOST_TEST(vm_for(R"({"memory": {"limit": 1073741825}})").memory == kGiB + kGuestOverhead + (2 << 20));
  BOOST_TEST(vm_for(R"({"memory": {"limit": 9223372036854771712}})").memory == kDefaultMemory);
  BOOST_TEST(vm_for("{}").cpus == kDefaultCpus);
  auto on_host = static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN));
  BOOST_TEST(vm_for(R"({"cpu": {"quota": 150000}})").cpus == std::min(2u, on_host));
  BOOST_TEST(vm_for(R"({"cpu": {"quota": 100, "period": 100000}})").cpus == 1u);
  BOOST_TEST(vm_for(R"({"cpu": {"cpus": "0-2"}})").cpus == 3u);
  BOOST_TEST(vm_for(R"({"cpu": {"cpus": "0,99999"}})").cpus == 64u);
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
  config.mounts = {{.index = 0, .destination = "/a/b", .source = "proc"},
                   {.index = 1, .destination = "/a/b/c", .source = "tmpfs"},
                   {.index = 2, .destination = "/absolute/file", .source = "/etc/passwd", .bind = true},
                   {.index = 3, .destination = "/../../d", .source = "tmpfs"}};
  auto made = runtime::make_mountpoints(config);
  BOOST_TEST(made.has_value(), (made ? "" : made.error().message()));
  BOOST_TEST(fs::is_directory(scratch / "root/a/b"));
  BOOST_TEST(!fs::exists(scratch / "root/a/b/c"));  // in the file system that is mounted on b
  BOOST_TEST(fs::is_regular_file(scratch / "root/real/file"));
  BOOST_TEST(fs::is_directory(scratch / "root/d"));
  config.mounts = {{.index = 0, .destination = "/up/x", .source = "tmpfs"}};
  (void)runtime::make_mountpoints(config);
  BOOST_TEST(!fs::exists(scratch / "outside/x"));
  fs::remove_all(scratch);
}
