// SPDX-License-Identifier: Apache-2.0
#include "runtime/vm/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

namespace nacre::runtime {

namespace {

// Files that are made only when they are needed. Linking makes them, since they must exist to be shared.
constexpr std::array kMadeLater = {kUpdateLockName, kVmCgroupName};
// The sockets come last: if a directory has them, it has all files.
constexpr std::array kFiles = {kUpdateLockName, kVmCgroupName,      kVmmConfigName, kVmmLogName,
                               kConsoleLogName, kControlSocketName, kSocketName};

}  // namespace

Result<void> link_vm_files(const ContainerDir& other, const ContainerDir& dir) {
  for (const char* name : kMadeLater) TRY(open_at(other.fd(), name, O_RDWR | O_CREAT, 0600));
  for (const char* name : kFiles) {
    // By path: the descriptors may be of two mount namespaces, and a link cannot lead from one mount to another.
    if (::link(other.file(name).c_str(), dir.file(name).c_str()) == 0) continue;
    if (errno == ENOENT && name == kConsoleLogName) continue;  // exists with --debug only
    return fail_errno("link " + dir.file(name));
  }
  return {};
}

bool has_vm(const ContainerDir& dir) {
  struct stat info;
  return ::fstatat(dir.fd(), kSocketName, &info, 0) == 0;
}

bool vm_is_shared(const ContainerDir& dir) {
  struct stat info;
  return ::fstatat(dir.fd(), kSocketName, &info, 0) == 0 && info.st_nlink > 1;
}

// The others count the links of this file. The control socket is needed until the end.
void leave_vm_files(const ContainerDir& dir) {
  ::unlinkat(dir.fd(), kSocketName, 0);
}

}  // namespace nacre::runtime
