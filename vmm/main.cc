// SPDX-License-Identifier: Apache-2.0
#include "vmm/cli.h"

int main(int argc, char** argv) {
  return nacre::vmm::main(argc, argv);
}
