// SPDX-License-Identifier: Apache-2.0
// The TOML form of a configuration. One table of members for each structure serves reading and writing, so that the two
// cannot drift apart.
#include <toml++/toml.h>
#include <algorithm>
#include <concepts>
#include <sstream>
#include <tuple>
#include <type_traits>

#include "vmm/api/config.h"

namespace nacre::vmm {

namespace {

// A key of a TOML table and the member that it stands for. The member's type says which form the value has: a string,
// a truth value and an integer are values, a vector of structures is an array of tables, an optional structure and a
// structure are a table.
template <typename Owner, typename Value>
struct Field {
  const char* key;
  Value Owner::* member;
  bool is_size = false;  // the value may also be a string such as "512M"
};

// The fields of each structure, in the order in which they are written.
constexpr auto fields_of(const FsMount*) {
  return std::tuple(Field{"source", &FsMount::source}, Field{"target", &FsMount::target},
                    Field{"readonly", &FsMount::readonly}, Field{"recursive", &FsMount::recursive},
                    Field{"readonly_below", &FsMount::readonly_below}, Field{"tree_fd", &FsMount::tree_fd});
}

constexpr auto fields_of(const Fs*) {
  return std::tuple(Field{"tag", &Fs::tag}, Field{"path", &Fs::path}, Field{"readonly", &Fs::readonly},
                    Field{"mount", &Fs::mounts});
}

constexpr auto fields_of(const VsockStream*) {
  return std::tuple(Field{"port", &VsockStream::port}, Field{"fd", &VsockStream::fd});
}

constexpr auto fields_of(const Vsock*) {
  return std::tuple(Field{"cid", &Vsock::cid}, Field{"uds", &Vsock::uds}, Field{"listen_fd", &Vsock::listen_fd},
                    Field{"stream", &Vsock::streams});
}

constexpr auto fields_of(const Net*) {
  return std::tuple(Field{"tap", &Net::tap}, Field{"tap_fd", &Net::tap_fd}, Field{"mac", &Net::mac});
}

constexpr auto fields_of(const Control*) {
  return std::tuple(Field{"path", &Control::path}, Field{"listen_fd", &Control::listen_fd});
}

constexpr auto fields_of(const IdRange*) {
  return std::tuple(Field{"first", &IdRange::first}, Field{"count", &IdRange::count});
}

constexpr auto fields_of(const Jail*) {
  return std::tuple(Field{"enabled", &Jail::enabled}, Field{"seccomp", &Jail::seccomp},
                    Field{"device_nodes", &Jail::device_nodes}, Field{"apparmor_profile", &Jail::apparmor_profile},
                    Field{"selinux_label", &Jail::selinux_label}, Field{"mount_label", &Jail::mount_label},
                    Field{"keep_groups", &Jail::keep_groups}, Field{"uids", &Jail::uids}, Field{"gids", &Jail::gids});
}

constexpr auto fields_of(const Config*) {
  return std::tuple(Field{"kernel", &Config::kernel}, Field{"initrd", &Config::initrd},
                    Field{"cmdline", &Config::cmdline}, Field{"memory", &Config::memory, true},
                    Field{"memory_backing", &Config::memory_backing}, Field{"cpus", &Config::cpus},
                    Field{"max_memory", &Config::max_memory, true}, Field{"max_cpus", &Config::max_cpus},
                    Field{"console", &Config::console}, Field{"lifeline_fd", &Config::lifeline_fd},
                    Field{"fs", &Config::fs}, Field{"net", &Config::net}, Field{"vsock", &Config::vsock},
                    Field{"control", &Config::control}, Field{"jail", &Config::jail});
}

// Calls `visit` with each field of the structure.
template <typename Owner, typename Visit>
void each_field(Visit visit) {
  std::apply([&](const auto&... field) { (visit(field), ...); }, fields_of(static_cast<const Owner*>(nullptr)));
}

template <typename T>
inline constexpr bool kIsVector = false;
template <typename T>
inline constexpr bool kIsVector<std::vector<T>> = true;
template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <typename T>
inline constexpr bool kIsValue = std::is_same_v<T, std::string> || std::integral<T>;

// Reads one table of TOML. Each get() marks its key as known, and finish() refuses keys that nobody asked for.
class Table {
 public:
  Table(const toml::table& table, std::string name) : table_(table), name_(std::move(name)) {}

  Result<void> get(const char* key, std::string& out) {
    return get_as<std::string>(key, "a string", [&](const std::string& value) { out = value; });
  }
  Result<void> get(const char* key, bool& out) {
    return get_as<bool>(key, "true or false", [&](bool value) { out = value; });
  }
  template <std::integral T>
  Result<void> get(const char* key, T& out) {
    Result<void> range{};
    TRY(get_as<int64_t>(key, "an integer", [&](int64_t value) {
      if (!std::in_range<T>(value)) {
        range = fail(where(key) + " is out of range");
      } else {
        out = static_cast<T>(value);
      }
    }));
    return range;
  }
  // Reads a size: "512M", or an integer of bytes.
  Result<void> get_size(const char* key, uint64_t& out) {
    if (!table_[key].is_string()) return get(key, out);
    std::string text;
    TRY(get(key, text));
    out = TRY_CONTEXT(parse_size(text), where(key));
    return {};
  }
  // Calls `read` with each table of the array [[key]].
  template <typename Read>
  Result<void> each(const char* key, Read read) {
    seen_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) return {};
    const toml::array* array = node->as_array();
    if (array == nullptr) return fail(where(key) + " must be an array of tables");
    for (size_t i = 0; i < array->size(); i++) {
      const toml::table* entry = (*array)[i].as_table();
      if (entry == nullptr) return fail(where(key) + " must be an array of tables");
      Table table(*entry, where(key) + "[" + std::to_string(i) + "]");
      TRY(read(table));
      TRY(table.finish());
    }
    return {};
  }
  // Calls `read` with the table [key] if there is one.
  template <typename Read>
  Result<void> one(const char* key, Read read) {
    seen_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) return {};
    const toml::table* entry = node->as_table();
    if (entry == nullptr) return fail(where(key) + " must be a table");
    Table table(*entry, where(key));
    TRY(read(table));
    return table.finish();
  }

  Result<void> finish() const {
    for (const auto& [key, value] : table_) {
      if (std::ranges::find(seen_, std::string_view(key.str())) == seen_.end()) {
        return fail(where(std::string(key.str()).c_str()) + ": unknown key");
      }
    }
    return {};
  }

 private:
  std::string where(const char* key) const { return name_.empty() ? key : name_ + "." + key; }

  template <typename T, typename Set>
  Result<void> get_as(const char* key, const char* wanted, Set set) {
    seen_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) return {};
    const auto* value = node->as<T>();
    if (value == nullptr) return fail(where(key) + " must be " + wanted);
    set(value->get());
    return {};
  }

  const toml::table& table_;
  std::string name_;
  std::vector<std::string> seen_;
};

template <typename Owner>
Result<void> read_fields(Table& table, Owner& out);

template <typename Owner, typename Value>
Result<void> read_field(Table& table, const Field<Owner, Value>& field, Owner& out) {
  Value& value = out.*field.member;
  if constexpr (kIsVector<Value>) {
    return table.each(field.key, [&](Table& entry) { return read_fields(entry, value.emplace_back()); });
  } else if constexpr (kIsOptional<Value>) {
    return table.one(field.key, [&](Table& entry) { return read_fields(entry, value.emplace()); });
  } else if constexpr (!kIsValue<Value>) {
    return table.one(field.key, [&](Table& entry) { return read_fields(entry, value); });
  } else {
    if constexpr (std::is_same_v<Value, uint64_t>) {
      if (field.is_size) return table.get_size(field.key, value);
    }
    return table.get(field.key, value);
  }
}

template <typename Owner>
Result<void> read_fields(Table& table, Owner& out) {
  Result<void> result{};
  each_field<Owner>([&](const auto& field) {
    if (result) result = read_field(table, field, out);
  });
  return result;
}

template <typename Owner>
toml::table write_fields(const Owner& in) {
  toml::table table;
  each_field<Owner>([&](const auto& field) {
    const auto& value = in.*field.member;
    using Value = std::remove_cvref_t<decltype(value)>;
    if constexpr (kIsVector<Value>) {
      toml::array entries;
      for (const auto& entry : value) entries.push_back(write_fields(entry));
      if (!entries.empty()) table.insert(field.key, std::move(entries));
    } else if constexpr (kIsOptional<Value>) {
      if (value) table.insert(field.key, write_fields(*value));
    } else if constexpr (!kIsValue<Value>) {
      if (value != Value{}) table.insert(field.key, write_fields(value));
    } else if constexpr (std::integral<Value> && !std::is_same_v<Value, bool>) {
      table.insert(field.key, static_cast<int64_t>(value));
    } else {
      table.insert(field.key, value);
    }
  });
  return table;
}

}  // namespace

Result<Config> parse_toml(std::string_view text) try {
  toml::table parsed = toml::parse(text);
  Table table(parsed, "");
  Config config;
  TRY(read_fields(table, config));
  TRY(table.finish());
  return config;
} catch (const toml::parse_error& error) {
  return fail("line " + std::to_string(error.source().begin.line) + ": " + std::string(error.description()));
}

std::string to_toml(const Config& config) {
  std::ostringstream out;
  // Strings in double quotes, on one line: those are escaped. toml++ 3.3 writes others as they are, and a name with
  // line breaks and quotes would end its string.
  constexpr auto kFlags = toml::toml_formatter::default_flags & ~toml::format_flags::allow_multi_line_strings &
                          ~toml::format_flags::allow_literal_strings;
  const toml::table table = write_fields(config);
  out << toml::toml_formatter(table, kFlags) << '\n';
  return out.str();
}

}  // namespace nacre::vmm
