#include "runtime/cgroup/unit.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>

#include "runtime/cgroup/sd_bus.h"

namespace nacre::runtime {

namespace {

constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
constexpr std::chrono::seconds kJobTimeout{30};  // runc's

struct Release {
  void operator()(sd_bus* bus) const { sd_bus_calls().flush_close_unref(bus); }
  void operator()(sd_bus_message* message) const { sd_bus_calls().message_unref(message); }
};
using Bus = std::unique_ptr<sd_bus, Release>;
using Message = std::unique_ptr<sd_bus_message, Release>;

struct CallError {
  CallError() = default;
  CallError(const CallError&) = delete;
  CallError& operator=(const CallError&) = delete;
  ~CallError() { sd_bus_calls().error_free(&error); }
  bool is(const char* name) const { return sd_bus_calls().error_has_name(&error, name) > 0; }
  sd_bus_error error = SD_BUS_ERROR_NULL;
};

std::unexpected<Error> failed(std::string_view what, int code) {
  return fail_errno(what, -code);
}

Result<Bus> connect() {
  TRY(load_sd_bus());
  sd_bus* bus = nullptr;
  int code = ::geteuid() == 0 ? sd_bus_calls().open_system(&bus) : sd_bus_calls().open_user(&bus);
  if (code < 0) return failed("unable to connect to systemd's bus", code);
  return Bus(bus);
}

// A value as a variant, by its type.
struct Appender {
  sd_bus_message* message;
  int operator()(bool v) const { return sd_bus_calls().message_append(message, "v", "b", static_cast<int>(v)); }
  int operator()(int32_t v) const { return sd_bus_calls().message_append(message, "v", "i", v); }
  int operator()(uint32_t v) const { return sd_bus_calls().message_append(message, "v", "u", v); }
  int operator()(int64_t v) const { return sd_bus_calls().message_append(message, "v", "x", v); }
  int operator()(uint64_t v) const { return sd_bus_calls().message_append(message, "v", "t", v); }
  int operator()(double v) const { return sd_bus_calls().message_append(message, "v", "d", v); }
  int operator()(const std::string& v) const { return sd_bus_calls().message_append(message, "v", "s", v.c_str()); }
  int operator()(const std::vector<uint32_t>& v) const { return append_array("au", 'u', v); }
  int operator()(const std::vector<uint8_t>& v) const { return append_array("ay", 'y', v); }
  int operator()(const std::vector<std::string>& v) const {
    int code = sd_bus_calls().message_open_container(message, 'v', "as");
    if (code >= 0) code = sd_bus_calls().message_open_container(message, 'a', "s");
    for (const auto& text : v) {
      if (code >= 0) code = sd_bus_calls().message_append(message, "s", text.c_str());
    }
    if (code >= 0) code = sd_bus_calls().message_close_container(message);
    return code < 0 ? code : sd_bus_calls().message_close_container(message);
  }

  template <typename Number>
  int append_array(const char* type, char element, const std::vector<Number>& v) const {
    int code = sd_bus_calls().message_open_container(message, 'v', type);
    if (code >= 0) code = sd_bus_calls().message_append_array(message, element, v.data(), v.size() * sizeof(Number));
    return code < 0 ? code : sd_bus_calls().message_close_container(message);
  }
};

int append_properties(sd_bus_message* message, const UnitProperties& properties) {
  int code = sd_bus_calls().message_open_container(message, 'a', "(sv)");
  for (const auto& [name, value] : properties) {
    if (code >= 0) code = sd_bus_calls().message_open_container(message, 'r', "sv");
    if (code >= 0) code = sd_bus_calls().message_append(message, "s", name.c_str());
    if (code >= 0) code = std::visit(Appender{message}, value);
    if (code >= 0) code = sd_bus_calls().message_close_container(message);
  }
  return code < 0 ? code : sd_bus_calls().message_close_container(message);
}

Result<Message> new_call(sd_bus* bus, const char* method) {
  sd_bus_message* message = nullptr;
  int code = sd_bus_calls().message_new_method_call(bus, &message, kService, kPath, kManager, method);
  if (code < 0) return failed(method, code);
  return Message(message);
}

// The outcome of jobs, from systemd's signals: they may come before the answer that names ours.
class Jobs {
 public:
  // Before the call that makes a job.
  Result<void> listen(sd_bus* bus) {
    int code = sd_bus_calls().match_signal(bus, nullptr, kService, kPath, kManager, "JobRemoved", &Jobs::removed, this);
    if (code < 0) return failed("JobRemoved", code);
    CallError error;
    code = sd_bus_calls().call_method(bus, kService, kPath, kManager, "Subscribe", &error.error, nullptr, "");
    if (code < 0) return failed("Subscribe", code);
    return {};
  }

  // "done", or how else it ended; "" if it has not in time.
  Result<std::string> wait(sd_bus* bus, const std::string& job) {
    auto deadline = std::chrono::steady_clock::now() + kJobTimeout;
    while (!results_.contains(job)) {
      int code = sd_bus_calls().process(bus, nullptr);
      if (code < 0) return failed("systemd's bus", code);
      if (code > 0) continue;
      auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() <= 0) return "";
      code = sd_bus_calls().wait(bus, static_cast<uint64_t>(left.count()));
      if (code < 0 && code != -EINTR) return failed("systemd's bus", code);
    }
    return results_[job];
  }

 private:
  static int removed(sd_bus_message* message, void* self, sd_bus_error*) {
    uint32_t id = 0;
    const char *job = nullptr, *unit = nullptr, *result = nullptr;
    if (sd_bus_calls().message_read(message, "uoss", &id, &job, &unit, &result) >= 0) {
      static_cast<Jobs*>(self)->results_[job] = result;
    }
    return 0;
  }

  std::map<std::string, std::string> results_;
};

// The job's path.
Result<std::string> call_for_job(sd_bus* bus, sd_bus_message* message, CallError& error) {
  sd_bus_message* answer = nullptr;
  int code = sd_bus_calls().call(bus, message, 0, &error.error, &answer);
  Message owned(answer);
  if (code < 0) return fail(error.error.message != nullptr ? error.error.message : "no answer", -code);
  const char* job = nullptr;
  code = sd_bus_calls().message_read(answer, "o", &job);
  if (code < 0) return failed("systemd's answer", code);
  return job;
}

void reset_failed(sd_bus* bus, const std::string& unit) {
  CallError error;
  (void)sd_bus_calls().call_method(bus, kService, kPath, kManager, "ResetFailedUnit", &error.error, nullptr, "s",
                                   unit.c_str());
}

Result<std::string> start(sd_bus* bus, const std::string& unit, const UnitProperties& properties, CallError& error) {
  Message call = TRY(new_call(bus, "StartTransientUnit"));
  int code = sd_bus_calls().message_append(call.get(), "ss", unit.c_str(), "replace");
  if (code >= 0) code = append_properties(call.get(), properties);
  if (code >= 0) code = sd_bus_calls().message_append(call.get(), "a(sa(sv))", 0);
  if (code < 0) return failed("StartTransientUnit", code);
  return call_for_job(bus, call.get(), error);
}

std::optional<uint64_t> number_in(const std::string& text) {
  if (text == "max") return UINT64_MAX;
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return std::strtoull(text.c_str(), nullptr, 10);
}

// "QUOTA PERIOD": systemd has microseconds of a second, in steps of ten milliseconds, rounded up as runc does.
void add_quota(const std::string& text, UnitProperties& properties) {
  constexpr uint64_t kSecond = 1'000'000, kStep = 10'000, kDefaultPeriod = 100'000;
  size_t space = std::min(text.find(' '), text.size());
  auto quota = number_in(text.substr(0, space));
  auto period = space < text.size() ? number_in(text.substr(space + 1)) : kDefaultPeriod;
  if (!quota || !period || *period == 0) return;
  uint64_t each = *quota == UINT64_MAX ? UINT64_MAX : (*quota * kSecond / *period + kStep - 1) / kStep * kStep;
  properties.push_back({"CPUQuotaPeriodUSec", *period});
  properties.push_back({"CPUQuotaPerSecUSec", each});
}

// "0-2,5" as a bit for each.
std::optional<std::vector<uint8_t>> bits_of(const std::string& list) {
  constexpr uint64_t kMost = 8192;
  std::vector<uint8_t> bits;
  for (size_t at = 0; at < list.size();) {
    std::string part = list.substr(at, list.find(',', at) - at);
    at += part.size() + 1;
    size_t dash = std::min(part.find('-'), part.size());
    auto first = number_in(part.substr(0, dash));
    auto last = dash < part.size() ? number_in(part.substr(dash + 1)) : first;
    if (!first || !last || *last < *first || *last >= kMost) return std::nullopt;
    for (uint64_t bit = *first; bit <= *last; bit++) {
      if (bits.size() <= bit / 8) bits.resize(bit / 8 + 1);
      bits[bit / 8] |= static_cast<uint8_t>(1u << (bit % 8));
    }
  }
  return bits;
}

}  // namespace

Result<void> start_unit(const std::string& unit, const UnitProperties& properties) {
  Bus bus = TRY(connect());
  Jobs jobs;
  TRY(jobs.listen(bus.get()));
  auto job = [&]() -> Result<std::string> {
    CallError error;
    auto first = start(bus.get(), unit, properties, error);
    if (first || !error.is("org.freedesktop.systemd1.UnitExists")) return first;
    // One that has failed before, perhaps.
    reset_failed(bus.get(), unit);
    CallError again;
    return start(bus.get(), unit, properties, again);
  }();
  std::string what = "unable to start unit \"" + unit + "\"";
  if (!job) return std::unexpected(job.error().with_context(what));
  std::string result = TRY(jobs.wait(bus.get(), *job));
  if (result == "done") return {};
  reset_failed(bus.get(), unit);
  if (result.empty()) return fail(what + ": timeout waiting for systemd to create " + unit, ETIMEDOUT);
  return fail(what + ": error creating systemd unit `" + unit + "`: got `" + result + "`", EIO);
}

Result<void> set_unit_properties(const std::string& unit, const UnitProperties& properties) {
  if (properties.empty()) return {};
  Bus bus = TRY(connect());
  Message call = TRY(new_call(bus.get(), "SetUnitProperties"));
  int code = sd_bus_calls().message_append(call.get(), "sb", unit.c_str(), 1);  // until the unit's end
  if (code >= 0) code = append_properties(call.get(), properties);
  if (code < 0) return failed("SetUnitProperties", code);
  CallError error;
  code = sd_bus_calls().call(bus.get(), call.get(), 0, &error.error, nullptr);
  if (code >= 0) return {};
  std::string why = error.error.message != nullptr ? error.error.message : "no answer";
  return fail("unable to set unit properties: " + why, -code);
}

Result<void> stop_unit(const std::string& unit) {
  Bus bus = TRY(connect());
  Jobs jobs;
  TRY(jobs.listen(bus.get()));
  Message call = TRY(new_call(bus.get(), "StopUnit"));
  int code = sd_bus_calls().message_append(call.get(), "ss", unit.c_str(), "replace");
  if (code < 0) return failed("StopUnit", code);
  CallError error;
  auto job = call_for_job(bus.get(), call.get(), error);
  if (job) (void)jobs.wait(bus.get(), *job);
  reset_failed(bus.get(), unit);
  if (job || error.is("org.freedesktop.systemd1.NoSuchUnit")) return {};
  return std::unexpected(job.error().with_context("unable to stop unit \"" + unit + "\""));
}

Result<std::string> manager_cgroup() {
  Bus bus = TRY(connect());
  CallError error;
  char* text = nullptr;
  int code =
      sd_bus_calls().get_property_string(bus.get(), kService, kPath, kManager, "ControlGroup", &error.error, &text);
  if (code < 0) return failed("systemd's ControlGroup", code);
  std::string path = text;
  std::free(text);
  return path;
}

UnitProperties properties_of(const std::vector<protocol::CgroupFile>& files) {
  constexpr std::pair<std::string_view, const char*> kNumbers[] = {
      {"memory.max", "MemoryMax"}, {"memory.low", "MemoryLow"}, {"memory.min", "MemoryMin"},
      {"pids.max", "TasksMax"},    {"cpu.weight", "CPUWeight"}, {"memory.swap.max", "MemorySwapMax"}};
  UnitProperties properties;
  for (const auto& file : files) {
    for (auto [name, property] : kNumbers) {
      auto value = file.name == name ? number_in(file.value) : std::nullopt;
      if (value) properties.push_back({property, *value});
    }
    if (file.name == "cpu.max") add_quota(file.value, properties);
    for (auto [name, property] :
         {std::pair("cpuset.cpus", "AllowedCPUs"), std::pair("cpuset.mems", "AllowedMemoryNodes")}) {
      auto bits = file.name == name ? bits_of(file.value) : std::nullopt;
      if (bits) properties.push_back({property, std::move(*bits)});
    }
  }
  return properties;
}

}  // namespace nacre::runtime
