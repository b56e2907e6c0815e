// SPDX-License-Identifier: Apache-2.0
#include "guest-init/kernel/cgroup_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace nacre::guest {

Result<std::unique_ptr<CgroupWatch>> CgroupWatch::create(EventLoop& loop, int cgroup, const char* file,
                                                         OnChange on_change) {
  std::unique_ptr<CgroupWatch> watch(new CgroupWatch(loop, TRY(open_at(cgroup, file, O_RDONLY)), std::move(on_change)));
  // EPOLLPRI: the file has changed since it was read, or has not been read yet.
  TRY(loop.add(watch->file_.get(), EPOLLPRI, [raw = watch.get()](uint32_t) { raw->look(); }));
  return watch;
}

CgroupWatch::~CgroupWatch() {
  if (file_) loop_.remove(file_.get());
}

void CgroupWatch::look() {
  if (!file_) return;
  OnChange on_change = on_change_;  // which may destroy this
  std::array<char, 1024> text;
  ssize_t length = ::pread(file_.get(), text.data(), text.size(), 0);
  if (length < 0) {  // the file of a removed cgroup is ready for ever
    loop_.remove(file_.get());
    file_.reset();
    on_change(std::nullopt);
    return;
  }
  on_change(std::string_view(text.data(), static_cast<size_t>(length)));
}

}  // namespace nacre::guest
