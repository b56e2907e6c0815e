#include "runtime/oci/config.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "runtime/oci/schema.h"

using namespace nacre;
using Json = nlohmann::json;

namespace {

// A bundle that is removed again.
class Bundle {
 public:
  Bundle() {
    char path[] = "/tmp/nacre-bundle-XXXXXX";
    path_ = ::mkdtemp(path);
    std::filesystem::create_directory(path_ + "/rootfs");
    std::filesystem::create_directory(path_ + "/data");
    json = Json::parse(oci::template_config(false));
    json["process"]["terminal"] = false;
  }
  ~Bundle() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  Result<oci::Config> load() const {
    std::ofstream(path_ + "/config.json") << json;
    return oci::load_config(path_);
  }
  std::string error() const {
    auto config = load();
    return config ? "" : config.error().message();
  }

  Json json;

 private:
  std::string path_;
};

struct WrongField {
  const char* pointer;  // RFC 6901
  const char* value;    // JSON
  const char* error;
};

constexpr WrongField kWrongFields[] = {
    {"/ociVersion", "1", "ociVersion: must be a string"},
    {"/ociVersion", "\"1.x\"", "ociVersion: \"1.x\" is not a version like 1.2.0"},
    {"/process", "[]", "process: must be an object"},
    {"/process", "null", "process: is required"},
    {"/process/args", "[]", "process.args: must not be empty"},
    {"/process/args/0", "5", "process.args[0]: must be a string"},
    {"/process/args/0", "\"a\\u0000b\"", "process.args[0]: contains a NUL byte"},
    {"/process/cwd", "\"here\"", "process.cwd: must be an absolute path"},
    {"/process/user/uid", "-1", "process.user.uid: must be an integer from 0 to 4294967295"},
    {"/process/user/gid", "4294967296", "process.user.gid: must be an integer from 0 to 4294967295"},
    {"/process/user/umask", "512", "process.user.umask: must be an integer from 0 to 511"},
    {"/process/oomScoreAdj", "1001", "process.oomScoreAdj: must be an integer from -1000 to 1000"},
    {"/process/noNewPrivileges", "1", "process.noNewPrivileges: must be true or false"},
    {"/process/rlimits/0/type", "\"RLIMIT_X\"", "process.rlimits[0].type: \"RLIMIT_X\" is not one of"},
    {"/process/rlimits/0/soft", "2048", "process.rlimits[0].soft: must not be above hard"},
    {"/process/rlimits/1", R"({"type":"RLIMIT_NOFILE","soft":1,"hard":1})",
     "process.rlimits[1].type: RLIMIT_NOFILE occurs twice"},
    {"/process/capabilities/bounding", "{}", "process.capabilities.bounding: must be an array"},
    {"/process/terminal", "1", "process.terminal: must be true or false"},
    {"/root", "null", "root: is required"},
    {"/root/path", "\"/nonexistent\"", "root.path: invalid rootfs: /nonexistent: No such file or directory"},
    {"/mounts/0/options", "\"ro\"", "mounts[0].options: must be an array"},
    {"/mounts/0", R"({"destination":"/a","type":"bind"})", "mounts[0].source: is required for a bind mount"},
    {"/mounts/0", R"({"destination":"/a","type":"bind","source":"/nonexistent"})",
     "mounts[0].source: /nonexistent: No such file or directory"},
    {"/annotations", R"({"a":1})", "annotations.a: must be a string"},
    {"/linux/namespaces/0/type", "\"pod\"", "linux.namespaces[0].type: \"pod\" is not one of"},
    {"/linux/namespaces/0/type", "\"mount\"", "linux.namespaces[4].type: \"mount\" occurs twice"},
    {"/linux/namespaces/0/type", "\"user\"", "linux.namespaces[0]: user namespaces are not supported"},
    {"/linux/namespaces/0/path", "\"/proc/1/ns/pid\"", "linux.namespaces[0]: joining a pid namespace by path"},
    {"/linux/namespaces", "[]", "hostname: cannot be set without a uts namespace"},
    {"/linux/resources/memory", R"({"limit":"1G"})", "linux.resources.memory.limit: must be an integer"},
    {"/linux/resources/cpu", R"({"shares":-1})", "linux.resources.cpu.shares: must be an integer from 0"},
    {"/linux/devices", R"([{"path":"/dev/kvm","type":"c","major":10,"minor":232}])",
     "linux.devices[0]: the VM has no device /dev/kvm"},
    {"/linux/uidMappings", R"([{"containerID":0,"hostID":0,"size":1}])", "linux.uidMappings: user namespaces are not"},
    {"/linux/maskedPaths", "[1]", "linux.maskedPaths[0]: must be a string"},
    {"/hooks", R"({"poststop":[{"path":"/bin/true"}]})", "hooks.poststop: hooks are not supported"},
    {"/hooks", R"({"poststop":[{}]})", "hooks.poststop[0].path: is required"},
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_template_is_accepted) {
  Bundle bundle;
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(config->rootfs == std::filesystem::canonical(bundle.path() + "/rootfs").string());
  BOOST_TEST(config->rootfs_readonly);
  BOOST_TEST(config->warnings.empty());
  BOOST_TEST(config->mounts.size() == 7u);
}

BOOST_AUTO_TEST_CASE(errors_name_the_field) {
  for (const auto& wrong : kWrongFields) {
    Bundle bundle;
    bundle.json[Json::json_pointer(wrong.pointer)] = Json::parse(wrong.value);
    std::string error = bundle.error();
    BOOST_TEST(error.starts_with(std::string("config.json: ") + wrong.error) |
                   error.starts_with(wrong.error),  // one error stands before the path that caused it
               wrong.pointer << ": " << error);
  }
}

BOOST_AUTO_TEST_CASE(broken_json_is_one_line) {
  for (const std::string& text :
       {std::string("{"), std::string("[1,\n2"), std::string(100'000, '['), std::string("\"\xff\"")}) {
    auto json = oci::parse_json(text, "x");
    BOOST_REQUIRE(!json);
    BOOST_TEST(json.error().message().starts_with("x: "));
    BOOST_TEST(!json.error().message().contains('\n'));
  }
}

BOOST_AUTO_TEST_CASE(null_is_absent) {
  Bundle bundle;
  bundle.json["process"]["rlimits"] = nullptr;
  bundle.json["linux"]["seccomp"] = nullptr;
  bundle.json["hooks"] = {{"prestart", nullptr}};
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(!config->json["process"].contains("rlimits"));
  BOOST_TEST(config->warnings.empty());
}

BOOST_AUTO_TEST_CASE(what_is_left_out_is_said) {
  Bundle bundle;
  bundle.json["linux"]["seccomp"] = {{"defaultAction", "SCMP_ACT_ALLOW"}};
  bundle.json["process"]["apparmorProfile"] = "docker-default";
  bundle.json["linux"]["namespaces"][1]["path"] = "/var/run/netns/x";
  bundle.json["mounts"][0]["destination"] = "proc";
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  BOOST_TEST(config->warnings.size() == 4u);
  BOOST_TEST(!config->json["linux"].contains("seccomp"));
  BOOST_TEST(!config->json["process"].contains("apparmorProfile"));
  BOOST_TEST(config->json["mounts"][0]["destination"] == "/proc");
  BOOST_TEST(bundle.json["linux"].contains("seccomp"));
}

BOOST_AUTO_TEST_CASE(bind_mounts_are_found) {
  Bundle bundle;
  bundle.json["mounts"] = Json::parse(R"([
    {"destination": "/a", "source": "data", "type": "bind"},
    {"destination": "/b", "source": "data", "type": "none", "options": ["rbind", "ro"]},
    {"destination": "/c", "source": "data", "options": ["bind", "ro", "rw"]},
    {"destination": "/d", "source": "tmpfs", "type": "tmpfs", "options": ["ro"]}])");
  auto config = bundle.load();
  BOOST_REQUIRE_MESSAGE(config, config.error().message());
  std::string data = std::filesystem::canonical(bundle.path() + "/data").string();
  BOOST_TEST(config->mounts[0].bind);
  BOOST_TEST(config->mounts[0].source == data);
  BOOST_TEST(!config->mounts[0].readonly);
  BOOST_TEST(config->mounts[1].bind);
  BOOST_TEST(config->mounts[1].readonly);
  BOOST_TEST(config->mounts[2].bind);
  BOOST_TEST(!config->mounts[2].readonly);
  BOOST_TEST(!config->mounts[3].bind);
}
