// The TOML form of a configuration. Tables of fields, so that reading and writing cannot drift apart.
#include <toml++/toml.h>
#include <algorithm>
#include <concepts>
#include <sstream>

#include "vmm/api/config.h"

namespace nacre::vmm {

namespace {

// Reads the fields of one table: each get() takes a key away, and finish() complains of what is left.
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
  // "512M" or bytes.
  Result<void> get_size(const char* key, uint64_t& out) {
    if (!table_[key].is_string()) return get(key, out);
    std::string text;
    TRY(get(key, text));
    out = TRY_CONTEXT(parse_size(text), where(key));
    return {};
  }
  // [[key]]: calls `read` with each table of the array.
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
  // [key]: calls `read` if the table is there.
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

Result<Fs> read_fs(Table& table) {
  Fs fs;
  TRY(table.get("tag", fs.tag));
  TRY(table.get("path", fs.path));
  TRY(table.get("readonly", fs.readonly));
  TRY(table.each("mount", [&](Table& entry) -> Result<void> {
    FsMount mount;
    TRY(entry.get("source", mount.source));
    TRY(entry.get("target", mount.target));
    TRY(entry.get("readonly", mount.readonly));
    TRY(entry.get("recursive", mount.recursive));
    TRY(entry.get("readonly_below", mount.readonly_below));
    fs.mounts.push_back(std::move(mount));
    return {};
  }));
  return fs;
}

Result<Vsock> read_vsock(Table& table) {
  Vsock vsock;
  TRY(table.get("cid", vsock.cid));
  TRY(table.get("uds", vsock.uds));
  TRY(table.get("listen_fd", vsock.listen_fd));
  TRY(table.each("stream", [&](Table& entry) -> Result<void> {
    VsockStream stream{0, -1};
    TRY(entry.get("port", stream.port));
    TRY(entry.get("fd", stream.fd));
    vsock.streams.push_back(stream);
    return {};
  }));
  return vsock;
}

Result<Config> read_config(Table& table) {
  Config config;
  TRY(table.get("kernel", config.kernel));
  TRY(table.get("initrd", config.initrd));
  TRY(table.get("cmdline", config.cmdline));
  TRY(table.get_size("memory", config.memory));
  TRY(table.get("cpus", config.cpus));
  TRY(table.get_size("max_memory", config.max_memory));
  TRY(table.get("max_cpus", config.max_cpus));
  TRY(table.get("console", config.console));
  TRY(table.get("lifeline_fd", config.lifeline_fd));
  TRY(table.each("fs", [&](Table& entry) -> Result<void> {
    config.fs.push_back(TRY(read_fs(entry)));
    return {};
  }));
  TRY(table.one("vsock", [&](Table& entry) -> Result<void> {
    config.vsock = TRY(read_vsock(entry));
    return {};
  }));
  TRY(table.one("control", [&](Table& entry) -> Result<void> {
    config.control = Control{};
    TRY(entry.get("path", config.control->path));
    return entry.get("listen_fd", config.control->listen_fd);
  }));
  TRY(table.each("disk", [&](Table& entry) -> Result<void> {
    Disk disk;
    TRY(entry.get("path", disk.path));
    TRY(entry.get("readonly", disk.readonly));
    config.disks.push_back(std::move(disk));
    return {};
  }));
  TRY(table.each("net", [&](Table& entry) -> Result<void> {
    Net net;
    TRY(entry.get("tap", net.tap));
    TRY(entry.get("mac", net.mac));
    config.nets.push_back(std::move(net));
    return {};
  }));
  TRY(table.one("jail", [&](Table& entry) -> Result<void> {
    TRY(entry.get("enabled", config.jail.enabled));
    return entry.get("device_nodes", config.jail.device_nodes);
  }));
  TRY(table.finish());
  return config;
}

toml::table fs_table(const Fs& fs) {
  toml::table table{{"tag", fs.tag}, {"path", fs.path}, {"readonly", fs.readonly}};
  toml::array mounts;
  for (const FsMount& mount : fs.mounts) {
    mounts.push_back(toml::table{{"source", mount.source},
                                 {"target", mount.target},
                                 {"readonly", mount.readonly},
                                 {"recursive", mount.recursive},
                                 {"readonly_below", mount.readonly_below}});
  }
  if (!mounts.empty()) table.insert("mount", std::move(mounts));
  return table;
}

toml::table vsock_table(const Vsock& vsock) {
  toml::table table{
      {"cid", static_cast<int64_t>(vsock.cid)}, {"uds", vsock.uds}, {"listen_fd", int64_t{vsock.listen_fd}}};
  toml::array streams;
  for (const VsockStream& stream : vsock.streams) {
    streams.push_back(toml::table{{"port", int64_t{stream.port}}, {"fd", int64_t{stream.fd}}});
  }
  if (!streams.empty()) table.insert("stream", std::move(streams));
  return table;
}

}  // namespace

Result<Config> parse_toml(std::string_view text) try {
  toml::table parsed = toml::parse(text);
  Table table(parsed, "");
  return read_config(table);
} catch (const toml::parse_error& error) {
  return fail("line " + std::to_string(error.source().begin.line) + ": " + std::string(error.description()));
}

std::string to_toml(const Config& config) {
  toml::table table{
      {"kernel", config.kernel},
      {"initrd", config.initrd},
      {"cmdline", config.cmdline},
      {"memory", static_cast<int64_t>(config.memory)},
      {"cpus", int64_t{config.cpus}},
      {"max_memory", static_cast<int64_t>(config.max_memory)},
      {"max_cpus", int64_t{config.max_cpus}},
      {"console", config.console},
      {"lifeline_fd", int64_t{config.lifeline_fd}},
  };
  toml::array fs, disks, nets;
  for (const Fs& entry : config.fs) fs.push_back(fs_table(entry));
  for (const Disk& disk : config.disks) disks.push_back(toml::table{{"path", disk.path}, {"readonly", disk.readonly}});
  for (const Net& net : config.nets) nets.push_back(toml::table{{"tap", net.tap}, {"mac", net.mac}});
  if (!fs.empty()) table.insert("fs", std::move(fs));
  if (!disks.empty()) table.insert("disk", std::move(disks));
  if (!nets.empty()) table.insert("net", std::move(nets));
  if (config.vsock) table.insert("vsock", vsock_table(*config.vsock));
  if (config.control) {
    table.insert("control",
                 toml::table{{"path", config.control->path}, {"listen_fd", int64_t{config.control->listen_fd}}});
  }
  if (config.jail.enabled) {
    table.insert("jail", toml::table{{"enabled", true}, {"device_nodes", config.jail.device_nodes}});
  }
  std::ostringstream out;
  out << table << '\n';
  return out.str();
}

}  // namespace nacre::vmm
