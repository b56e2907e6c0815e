// SPDX-License-Identifier: Apache-2.0
#include "base/confinement.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

namespace nacre {

namespace {

// Kernels that stack security modules have a directory for each; older ones have the file alone.
constexpr const char* kAppArmorCurrent = "thread-self/attr/apparmor/current";
constexpr const char* kCurrent = "thread-self/attr/current";
constexpr const char* kKeyCreate = "thread-self/attr/keycreate";
constexpr const char* kSocketCreate = "thread-self/attr/sockcreate";

// The label of a process under an SELinux that has no policy yet.
constexpr std::string_view kWithoutPolicy = "kernel";

Result<void> write_attribute(const Fd& proc, const char* path, const std::string& value) {
  Fd file = TRY(open_at(proc.get(), path, O_WRONLY));
  return write_all(file.get(), value);
}

Result<Fd> open_apparmor(const Fd& proc) {
  auto file = open_at(proc.get(), kAppArmorCurrent, O_WRONLY);
  if (file || file.error().code() != ENOENT) return file;
  return open_at(proc.get(), kCurrent, O_WRONLY);
}

// Returns the first word of a file of /proc/PID/attr: an AppArmor profile is followed by its mode.
std::string read_attribute(const std::string& path) {
  std::string text = read_file(path).value_or("");
  return text.substr(0, text.find_first_of(std::string(" \n\0", 3)));
}

std::string why_no_profile(const Error& error) {
  switch (error.code()) {
    case ENOENT:
      return "no such profile is loaded on this host";
    case EINVAL:
      return "this host has no AppArmor, or the name is not one of a profile";
    case EACCES:
    case EPERM:
      return "the profile of whoever starts the container does not allow the change";
    default:
      return error.message();
  }
}

}  // namespace

bool host_has_apparmor() {
  return read_file("/sys/module/apparmor/parameters/enabled").value_or("").starts_with("Y");
}

bool host_has_selinux() {
  struct statfs info;
  if (::statfs("/sys/fs/selinux", &info) < 0 || info.f_type != SELINUX_MAGIC) return false;
  return read_attribute("/proc/thread-self/attr/current") != kWithoutPolicy;
}

Result<void> enter_apparmor_profile(const Fd& proc, const std::string& profile) {
  if (profile.empty()) return {};
  Fd file = TRY_CONTEXT(open_apparmor(proc), "apparmor failed to apply profile");
  auto changed = write_all(file.get(), "changeprofile " + profile);
  if (changed) return {};
  const Error& error = changed.error();
  return fail("apparmor failed to apply profile " + profile + ": " + why_no_profile(error), error.code());
}

Result<void> enter_selinux_label(const Fd& proc, const std::string& label) {
  if (label.empty()) return {};
  TRY_CONTEXT(write_attribute(proc, kCurrent, label), "can't set process label " + label);
  return {};
}

Result<void> confine(const Fd& proc, const Confinement& confinement) {
  TRY(enter_selinux_label(proc, confinement.selinux_label));
  return enter_apparmor_profile(proc, confinement.apparmor_profile);
}

Result<void> label_new_keyrings(const Fd& proc, const std::string& label) {
  TRY_CONTEXT(write_attribute(proc, kKeyCreate, label), "can't set the label of keyrings " + label);
  return {};
}

Result<void> label_new_sockets(const Fd& proc, const std::string& label) {
  TRY_CONTEXT(write_attribute(proc, kSocketCreate, label), "can't set the label of sockets " + label);
  return {};
}

Confinement confinement_of(pid_t pid, const Confinement& like) {
  const std::string attributes = "/proc/" + std::to_string(pid) + "/attr/";
  Confinement found;
  if (!like.apparmor_profile.empty()) {
    found.apparmor_profile = read_attribute(attributes + "apparmor/current");
    if (found.apparmor_profile.empty()) found.apparmor_profile = read_attribute(attributes + "current");
  }
  if (!like.selinux_label.empty()) found.selinux_label = read_attribute(attributes + "current");
  return found;
}

std::string mount_context(const std::string& label) {
  return "context=\"" + label + "\"";
}

}  // namespace nacre
