// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <utility>

#include "base/fd.h"
#include "oci/cgroup_files.h"

namespace nacre::oci {

namespace {

constexpr size_t kMaxFile = 64 << 10;

bool has_controller(const std::string& directory, const std::string& name) {
  auto text = read_file(directory + "/cgroup.controllers", kMaxFile);
  return text && (" " + *text).find(" " + name) != std::string::npos;
}

// Writes one file. Errors have runc's words.
Result<void> write_one(const std::string& directory, const CgroupFile& file) {
  std::string path = directory + "/" + file.name;
  auto written = [&]() -> Result<void> {
    Fd fd = TRY(open_file(path, O_WRONLY));
    auto outcome = write_all(fd.get(), file.value);
    if (!outcome) return fail_errno("failed to write \"" + file.value + "\": write " + path, outcome.error().code());
    return {};
  }();
  if (written) return written;
  const Error& error = written.error();
  if (file.optional && error.code() == ENOENT) return {};
  if (!file.unified) return written;
  std::string quoted = "unified resource \"" + file.name + "\"";
  if (error.code() == ENOENT || error.code() == EACCES || error.code() == EPERM) {
    std::string controller = file.name.substr(0, file.name.find('.'));
    if (!has_controller(directory, controller)) {
      return fail(quoted + " can't be set: controller \"" + controller + "\" not available", error.code());
    }
  }
  return std::unexpected(error.with_context("unable to set " + quoted));
}

}  // namespace

Result<std::vector<CgroupFile>> set_cgroup_files(const std::string& directory, const std::vector<CgroupFile>& files) {
  std::vector<CgroupFile> undo;
  std::vector<const CgroupFile*> refused;
  for (const auto& file : files) {
    auto before = read_file(directory + "/" + file.name, kMaxFile);
    if (before) undo.insert(undo.begin(), {.name = file.name, .value = std::move(*before)});
    // Some have to fit each other, cpu.max and cpu.max.burst for one: which goes first depends on their old values.
    if (!write_one(directory, file)) refused.push_back(&file);
  }
  Result<void> outcome;
  for (const CgroupFile* file : refused) {
    auto written = write_one(directory, *file);
    if (outcome) outcome = std::move(written);
  }
  if (outcome) return undo;
  for (int i = 0; i < 2; i++) {  // the order matters, as above
    for (const auto& file : undo) (void)write_one(directory, file);
  }
  return std::unexpected(outcome.error());
}

}  // namespace nacre::oci
