// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "runtime/cmd/command.h"
#include "runtime/state/record_json.h"
#include "runtime/state/store.h"

namespace nacre::cmd {

namespace {

using Row = std::array<std::string, 6>;

constexpr size_t kMinWidth = 12;
constexpr size_t kPadding = 3;

// Formats columns like Go's tabwriter, which runc uses.
std::string to_table(const std::vector<runtime::View>& views) {
  std::vector<Row> rows = {{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}};
  for (const auto& [record, status] : views) {
    int pid = status == runtime::Status::stopped ? 0 : record.standin.pid;
    rows.push_back(
        {record.id, std::to_string(pid), std::string(to_string(status)), record.bundle, record.created, record.owner});
  }
  std::string text;
  std::array<size_t, 6> widths{};
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); i++) widths[i] = std::max({widths[i], kMinWidth, row[i].size() + kPadding});
  }
  for (const Row& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); i++) text += row[i] + std::string(widths[i] - row[i].size(), ' ');
    text += row.back() + "\n";
  }
  return text;
}

}  // namespace

Result<int> list(const Globals& globals, const ListOptions& options) {
  if (options.format != "table" && options.format != "json") return fail("invalid format option");
  // The default directory need not exist yet, but a given one must.
  if (globals.root_given && ::access(globals.root.c_str(), F_OK) < 0) return fail_errno(globals.root);
  std::vector<std::string> ids = TRY(runtime::list_ids(globals.root));
  std::vector<runtime::View> views;
  for (const auto& id : ids) {
    auto view = runtime::view_container(globals.root, id);
    if (view) {
      views.push_back(std::move(*view));
    } else if (view.error().code() != ENOENT) {  // ENOENT: the container is being made or deleted
      log_warn("load container " + id + ": " + view.error().message());
    }
  }
  std::string text;
  if (options.quiet) {
    for (const auto& view : views) text += view.record.id + "\n";
  } else if (options.format == "json") {
    text = runtime::views_to_json(views) + "\n";
  } else {
    text = to_table(views);
  }
  TRY(write_all(1, text));
  return 0;
}

}  // namespace nacre::cmd
