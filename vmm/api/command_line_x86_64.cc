// SPDX-License-Identifier: Apache-2.0
#include "vmm/api/command_line.h"

namespace nacre::vmm {

namespace {

constexpr size_t kCommandLineSize = 2048;  // Linux's COMMAND_LINE_SIZE for x86, with the terminating zero

// panic=-1 and reboot=k: a kernel that panics, or whose init ends, pulls the reset line at once, and vmm ends.
// (reboot=t would be a triple fault, which vmm tells apart.)
constexpr const char* kCommandLine =
    "rdinit=/init panic=-1 reboot=k pci=off nomodule tsc=reliable no_timer_check rcupdate.rcu_expedited=1 "
    "random.trust_cpu=on i8042.noaux cryptomgr.notests net.ifnames=0 swiotlb=noforce "
    "dummy.numdummies=0";
// Without a console only emergencies are printed, for vmm's error message (vmm/machine/crash_log.h): a serial line
// takes two exits to the host for each character.
constexpr const char* kSilent = " loglevel=1 8250.nr_uarts=0 earlycon=uart8250,io,0x3f8";
constexpr const char* kConsole = " console=ttyS0";

}  // namespace

std::string default_command_line(bool console) {
  return std::string(kCommandLine) + (console ? kConsole : kSilent);
}

size_t max_command_line() {
  return kCommandLineSize - 1;
}

}  // namespace nacre::vmm
