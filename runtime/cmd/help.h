// --help in the form of runc's, which callers and their users know.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace nacre::cmd {

class HelpText : public CLI::Formatter {
 public:
  // `name` is all of it, as in "nacre run".
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

}  // namespace nacre::cmd
