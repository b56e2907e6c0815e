// SPDX-License-Identifier: Apache-2.0
#include "runtime/host/systemd/unit.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <string_view>
#include <thread>

#include "base/user_namespace.h"
#include "runtime/host/systemd/sd_bus.h"

namespace nacre::runtime {

namespace {

constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kPath = "/org/freedesktop/systemd1";
constexpr const char* kPrivateSocket = "/systemd/private";  // below /run or XDG_RUNTIME_DIR
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
constexpr std::chrono::seconds kJobTimeout{30};  // as in runc

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

// Opens a bus, and tries again for a while: the socket's queue may be full if many containers start at once.
template <typename Open>
int open_patiently(const Open& open) {
  constexpr int kAttempts = 7;
  for (int attempt = 0;; attempt++) {
    int code = open();
    if (code != -EAGAIN || attempt == kAttempts) return code;
    std::this_thread::sleep_for(std::chrono::milliseconds(10 << attempt));
  }
}

// Connects to systemd without a bus, for hosts on which dbus is not installed.
int open_private(sd_bus** bus, const std::string& socket) {
  int code = sd_bus_calls().make(bus);
  if (code >= 0) code = sd_bus_calls().set_address(*bus, ("unix:path=" + socket).c_str());
  return code < 0 ? code : sd_bus_calls().start(*bus);
}

std::string runtime_directory(bool users) {
  const char* directory = users ? std::getenv("XDG_RUNTIME_DIR") : "/run";
  return directory == nullptr ? "" : directory;
}

Result<Bus> connect() {
  TRY(load_sd_bus());
  sd_bus* bus = nullptr;
  bool users = is_users_systemd();
  int code = open_patiently([&] { return users ? sd_bus_calls().open_user(&bus) : sd_bus_calls().open_system(&bus); });
  if (code < 0) {
    sd_bus* direct = nullptr;
    int direct_code = open_patiently([&] { return open_private(&direct, runtime_directory(users) + kPrivateSocket); });
    Bus owned(direct);
    if (direct_code >= 0) return owned;
  }
  if (code < 0) return failed("unable to connect to systemd's bus", code);
  return Bus(bus);
}

// Appends a value as a variant of its type.
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

// Collects the outcomes of jobs from systemd's signals. A signal may come before the answer that names the job.
class Jobs {
 public:
  // Subscribes to the signals. Called before the call that makes a job.
  Result<void> listen(sd_bus* bus) {
    // Without a bus there are no names, and systemd is the only peer.
    const char* sender = sd_bus_calls().is_bus_client(bus) > 0 ? kService : nullptr;
    int code = sd_bus_calls().match_signal(bus, nullptr, sender, kPath, kManager, "JobRemoved", &Jobs::removed, this);
    if (code < 0) return failed("JobRemoved", code);
    CallError error;
    code = sd_bus_calls().call_method(bus, kService, kPath, kManager, "Subscribe", &error.error, nullptr, "");
    if (code < 0) return failed("Subscribe", code);
    return {};
  }

  // Returns "done" or another outcome of the job, or "" if the job has not ended in time.
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

// Makes a call and returns the path of its job.
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

// Cleans up after a unit that did not start.
void give_up(sd_bus* bus, const std::string& unit) {
  CallError error;
  (void)sd_bus_calls().call_method(bus, kService, kPath, kManager, "StopUnit", &error.error, nullptr, "ss",
                                   unit.c_str(), "replace");
  reset_failed(bus, unit);
}

}  // namespace

bool is_users_systemd() {
  return !is_host_root();
}

Result<void> start_unit(const std::string& unit, const UnitProperties& properties) {
  Bus bus = TRY(connect());
  Jobs jobs;
  TRY(jobs.listen(bus.get()));
  auto job = [&]() -> Result<std::string> {
    CallError error;
    auto first = start(bus.get(), unit, properties, error);
    if (first || !error.is("org.freedesktop.systemd1.UnitExists")) return first;
    // An earlier unit of this name may have failed: clear its state.
    reset_failed(bus.get(), unit);
    CallError again;
    return start(bus.get(), unit, properties, again);
  }();
  std::string what = "unable to start unit \"" + unit + "\"";
  if (!job) return std::unexpected(job.error().with_context(what));
  auto result = jobs.wait(bus.get(), *job);
  if (result && *result == "done") return {};
  give_up(bus.get(), unit);
  if (!result) return std::unexpected(result.error().with_context(what));
  if (result->empty()) return fail(what + ": timeout waiting for systemd to create " + unit, ETIMEDOUT);
  return fail(what + ": error creating systemd unit `" + unit + "`: got `" + *result + "`", EIO);
}

Result<void> set_unit_properties(const std::string& unit, const UnitProperties& properties) {
  if (properties.empty()) return {};
  Bus bus = TRY(connect());
  Message call = TRY(new_call(bus.get(), "SetUnitProperties"));
  int code = sd_bus_calls().message_append(call.get(), "sb", unit.c_str(), 1);  // true: until the unit's end
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
  auto result = job ? jobs.wait(bus.get(), *job) : Result<std::string>("");
  reset_failed(bus.get(), unit);
  if (!job && error.is("org.freedesktop.systemd1.NoSuchUnit")) return {};
  std::string what = "unable to stop unit \"" + unit + "\"";
  if (!job) return std::unexpected(job.error().with_context(what));
  if (!result) return std::unexpected(result.error().with_context(what));
  if (*result != "done") return fail(what + ": got `" + *result + "`", EIO);
  return {};
}

Result<void> attach_process(const std::string& unit, pid_t pid) {
  Bus bus = TRY(connect());
  CallError error;
  int code = sd_bus_calls().call_method(bus.get(), kService, kPath, kManager, "AttachProcessesToUnit", &error.error,
                                        nullptr, "ssau", unit.c_str(), "", 1, static_cast<uint32_t>(pid));
  if (code >= 0) return {};
  return fail(std::string("systemd: ") + (error.error.message != nullptr ? error.error.message : "no answer"), -code);
}

}  // namespace nacre::runtime
