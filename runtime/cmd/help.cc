// SPDX-License-Identifier: Apache-2.0
#include "runtime/cmd/help.h"

namespace nacre::cmd {

namespace {

bool is_command(const CLI::App* app) {
  return app->get_parent() != nullptr;
}

std::string usage(const CLI::App* app, const std::string& name) {
  if (!is_command(app)) return name + " [global options] command [command options] [arguments...]";
  std::string text = name + " [command options]";
  for (const CLI::Option* option : app->get_options([](const CLI::Option* each) { return each->get_positional(); })) {
    std::string argument = option->get_name();
    text += option->get_required() ? " <" + argument + ">" : " [" + argument + "]";
  }
  // A prefix command (exec, ps) has no arguments that the parser knows.
  return app->get_prefix_command() ? text + " <container-id> [arguments...]" : text;
}

}  // namespace

std::string HelpText::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode) const {
  std::string text = "NAME:\n   " + name + " - " + app->get_description() + "\n\nUSAGE:\n   " + usage(app, name) + "\n";
  if (!is_command(app)) {
    text += "\nCOMMANDS:\n";
    for (const CLI::App* command : app->get_subcommands({})) text += make_subcommand(command);
  }
  text += is_command(app) ? "\nOPTIONS:\n" : "\nGLOBAL OPTIONS:\n";
  for (const CLI::Option* option : app->get_options([](const CLI::Option* each) { return each->nonpositional(); })) {
    if (!option->get_group().empty()) text += make_option(option, false);
  }
  return text;
}

}  // namespace nacre::cmd
