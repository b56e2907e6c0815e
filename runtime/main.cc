// SPDX-License-Identifier: Apache-2.0
#include "runtime/cmd/command.h"

int main(int argc, char** argv) {
  return nacre::cmd::main(argc, argv);
}
