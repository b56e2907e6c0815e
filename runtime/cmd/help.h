// SPDX-License-Identifier: Apache-2.0
// Prints --help in runc's form, which callers and users know.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace nacre::cmd {

class HelpText : public CLI::Formatter {
 public:
  // `name` is the full name, as in "nacre run".
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

}  // namespace nacre::cmd
