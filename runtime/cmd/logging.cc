// SPDX-License-Identifier: Apache-2.0
#include "runtime/cmd/logging.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/log.h"

namespace nacre::cmd {

namespace {

struct Log {
  std::shared_ptr<spdlog::logger> logger;
  bool json = false;
  bool debug = false;
  pid_t owner = 0;  // the process that holds lines back: not a forked stand-in
  bool holding = false;
  std::vector<std::pair<LogLevel, std::string>> held;
};

Log& instance() {
  static Log log;
  return log;
}

std::string_view name_of(LogLevel level) {
  constexpr std::array<std::string_view, 4> kNames = {"debug", "info", "warning", "error"};
  return kNames[static_cast<size_t>(level)];
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  constexpr std::array kLevels = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  return kLevels[static_cast<size_t>(level)];
}

std::string now() {
  time_t seconds = ::time(nullptr);
  tm utc;
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text;
  ::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

// Makes text fit for the terminal of whoever reads the log, or gets the text from an engine that has read it. A
// console's output keeps its lines.
std::string readable(std::string_view text) {
  std::string result;
  for (;;) {
    size_t end = text.find('\n');
    result += one_line(text.substr(0, end));
    if (end == std::string_view::npos) return result;
    result += '\n';
    text.remove_prefix(end + 1);
  }
}

// Formats a line in one of logrus's two formats. The text format is quoted like JSON.
std::string format(bool json, LogLevel level, std::string_view line) {
  using Json = nlohmann::ordered_json;
  std::string quoted = Json(readable(line)).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string level_name(name_of(level));
  if (json) return "{\"level\":\"" + level_name + "\",\"msg\":" + quoted + ",\"time\":\"" + now() + "\"}";
  return "time=\"" + now() + "\" level=" + level_name + " msg=" + quoted;
}

void write(LogLevel level, std::string_view line) {
  Log& log = instance();
  log.logger->log(to_spdlog(level), format(log.json, level, line));
  log.logger->flush();
}

void sink(LogLevel level, std::string_view line) {
  Log& log = instance();
  if (level == LogLevel::debug && !log.debug) return;
  if (log.holding && log.owner == ::getpid()) {
    log.held.emplace_back(level, line);
  } else {
    write(level, line);
  }
}

}  // namespace

Result<void> open_log(const Globals& globals) {
  Log& log = instance();
  try {
    std::shared_ptr<spdlog::sinks::sink> target;
    if (globals.log.empty()) {
      target = std::make_shared<spdlog::sinks::stderr_sink_st>();
    } else {
      target = std::make_shared<spdlog::sinks::basic_file_sink_st>(globals.log);
    }
    log.logger = std::make_shared<spdlog::logger>("nacre", std::move(target));
  } catch (const spdlog::spdlog_ex& error) {
    return fail("--log: " + std::string(error.what()));
  }
  log.logger->set_pattern("%v");
  log.logger->set_level(spdlog::level::trace);
  log.json = globals.log_format == "json";
  log.debug = globals.debug;
  log.owner = ::getpid();
  log.holding = log.json && !log.debug;
  set_log_sink(sink);
  return {};
}

void keep_log() {
  Log& log = instance();
  log.holding = false;
  for (const auto& [level, line] : std::exchange(log.held, {})) write(level, line);
}

void log_failure(const Globals& globals, const std::string& message) {
  std::string line = one_line(message);
  if (instance().logger) {
    instance().held.clear();
    write(LogLevel::error, line);
    if (globals.log.empty()) return;
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace nacre::cmd
