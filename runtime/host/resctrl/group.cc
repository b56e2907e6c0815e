// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/resctrl/group.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/mountinfo.h"

namespace nacre::resctrl {

namespace {

using Json = nlohmann::json;

constexpr const char* kUsualMountPoint = "/sys/fs/resctrl";
constexpr const char* kKeptName = "resctrl.json";

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

std::string text_of(const Json& object, const char* name) {
  auto found = object.find(name);
  return found == object.end() ? "" : found->get<std::string>();
}

// Returns the schemata lines of config.json, in the specification's order.
std::vector<std::string> lines_of(const Json& intel_rdt) {
  std::vector<std::string> lines;
  for (const char* name : {"l3CacheSchema", "memBwSchema"}) {
    if (auto line = text_of(intel_rdt, name); !line.empty()) lines.push_back(std::move(line));
  }
  auto more = intel_rdt.find("schemata");
  if (more != intel_rdt.end()) lines.insert(lines.end(), more->begin(), more->end());
  return lines;
}

// Makes an error with the kernel's explanation, which is in a file.
std::unexpected<Error> failed(const std::string& root, const Error& error) {
  auto status = read_file(root + "/info/last_cmd_status");
  if (!status) return std::unexpected(error);
  while (status->ends_with('\n')) status->pop_back();
  return fail("intelrdt: " + error.message() + ", last_cmd_status: " + *status, error.code());
}

Result<void> write(const std::string& path, const std::string& text) {
  Fd file = TRY(open_file(path, O_WRONLY | O_TRUNC));
  TRY_CONTEXT(write_all(file.get(), text), path);
  return {};
}

// Makes a directory. Returns false if it exists already.
Result<bool> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return true;
  if (errno == EEXIST) return false;
  return fail_errno("mkdir " + path);
}

void remove_directory(const std::string& path) {
  if (::rmdir(path.c_str()) < 0 && errno != ENOENT) log_warn(fail_errno("rmdir " + path).error().message());
}

}  // namespace

std::string mount_point() {
  struct statfs info;
  if (::statfs(kUsualMountPoint, &info) < 0) return "";  // the kernel or the CPU lacks resctrl
  if (info.f_type == RDTGROUP_SUPER_MAGIC) return kUsualMountPoint;
  auto mounts = read_mountinfo();
  if (!mounts) return "";
  for (const auto& mount : *mounts) {
    if (mount.type == "resctrl") return mount.point;
  }
  return "";
}

bool has_cache_allocation(const std::string& root) {
  return exists(root + "/info/L3");
}

bool has_bandwidth_allocation(const std::string& root) {
  return exists(root + "/info/MB");
}

bool has_monitoring(const std::string& root) {
  return exists(root + "/info/L3_MON");
}

Support support(const std::string& root) {
  return {.root = root,
          .has_cache_allocation = !root.empty() && resctrl::has_cache_allocation(root),
          .has_bandwidth_allocation = !root.empty() && resctrl::has_bandwidth_allocation(root)};
}

Result<void> check(const Support& host, const Json& intel_rdt) {
  if (host.root.empty()) return fail("intelRdt is specified in config, but Intel RDT is not enabled", ENOTSUP);
  std::string closid = text_of(intel_rdt, "closID");
  // "/" is the file system's root, the group of all threads that are in no other group.
  if (closid == "." || closid == ".." || (closid.size() > 1 && closid.contains('/'))) {
    return fail("invalid intelRdt.ClosID \"" + closid + "\"", EINVAL);
  }
  if (!host.has_cache_allocation && !text_of(intel_rdt, "l3CacheSchema").empty()) {
    return fail("intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled", ENOTSUP);
  }
  if (!host.has_bandwidth_allocation && !text_of(intel_rdt, "memBwSchema").empty()) {
    return fail("intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled", ENOTSUP);
  }
  return {};
}

Result<Group> make(const std::string& root, const Json& intel_rdt, const std::string& id) {
  std::string closid = text_of(intel_rdt, "closID");
  auto lines = lines_of(intel_rdt);
  Group group;
  group.path = closid == "/" ? root : root + "/" + (closid.empty() ? id : closid);
  if (!closid.empty() && lines.empty() && !exists(group.path)) {
    return fail(
        "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty): " +
            group.path,
        ENOENT);
  }
  auto made = make_directory(group.path);
  if (!made) return failed(root, made.error());
  // Others may use a group that has a name, even if this container made it.
  group.of_container = *made && closid.empty();
  auto filled = [&]() -> Result<void> {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    if (!text.empty()) TRY(allocate(root, group, text));
    if (!intel_rdt.value("enableMonitoring", false)) return {};
    group.monitoring = group.path + "/mon_groups/" + id;
    auto monitored = make_directory(group.monitoring);
    if (!monitored) return failed(root, monitored.error());
    return {};
  }();
  if (filled) return group;
  if (*made) remove_directory(group.path);
  return std::unexpected(filled.error());
}

Result<void> enter(const Group& group) {
  std::string pid = std::to_string(::getpid());
  TRY(write(group.path + "/tasks", pid));
  if (!group.monitoring.empty()) TRY(write(group.monitoring + "/tasks", pid));
  return {};
}

Result<void> allocate(const std::string& root, const Group& group, const std::string& text) {
  auto written = write(group.path + "/schemata", text.ends_with('\n') ? text : text + "\n");
  if (!written) return failed(root, written.error());
  return {};
}

void remove(const Group& group) {
  if (group.of_container) return remove_directory(group.path);
  if (!group.monitoring.empty()) remove_directory(group.monitoring);
}

Result<void> keep(const runtime::ContainerDir& dir, const Group& group) {
  Json json{{"path", group.path}, {"monitoring", group.monitoring}, {"ofContainer", group.of_container}};
  return replace_file(dir.file(kKeptName), json.dump() + "\n");
}

std::optional<Group> kept(const runtime::ContainerDir& dir) {
  auto text = read_file(dir.file(kKeptName));
  if (!text) return std::nullopt;
  Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  return Group{.path = json.value("path", ""),
               .monitoring = json.value("monitoring", ""),
               .of_container = json.value("ofContainer", false)};
}

}  // namespace nacre::resctrl
