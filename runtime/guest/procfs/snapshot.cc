// SPDX-License-Identifier: Apache-2.0
#include "runtime/guest/procfs/snapshot.h"

#include <array>
#include <charconv>
#include <span>

#include "guest-init/protocol/proc_files.h"

namespace nacre::procfs {

namespace {

// proc(5): pids are below 2^22.
constexpr uint32_t kMaxPid = 1u << 22;

// A node has the pid above these bits, and below the number of the entry, which is its position in the table.
constexpr int kEntryBits = 8;
constexpr Node kEntryMask = (1u << kEntryBits) - 1;
constexpr Node kDirectoryEntry = 1;  // so that the machine's directory is the root
constexpr Node kNamespacesEntry = 2;
constexpr Node kFirstFile = 16;
constexpr Node kFirstLink = 64;
static_assert(kFirstFile + protocol::kProcessFiles.size() <= kFirstLink);

constexpr Node node_of(uint32_t pid, Node entry) {
  return (static_cast<Node>(pid) << kEntryBits) | entry;
}

std::span<const std::string_view> files_of(uint32_t pid) {
  if (pid == 0) return protocol::kMachineFiles;
  return protocol::kProcessFiles;
}

std::optional<uint32_t> to_pid(std::string_view name) {
  uint32_t pid = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error != std::errc() || end != name.data() + name.size() || pid == 0 || pid > kMaxPid || name[0] == '0') {
    return std::nullopt;
  }
  return pid;
}

bool is_namespace_link(std::string_view target) {
  size_t bracket = target.find(":[");
  if (bracket == std::string_view::npos || !target.ends_with(']')) return false;
  auto all_of = [](std::string_view text, std::string_view set) {
    return !text.empty() && text.find_first_not_of(set) == std::string_view::npos;
  };
  return all_of(target.substr(0, bracket), "abcdefghijklmnopqrstuvwxyz_") &&
         all_of(target.substr(bracket + 2, target.size() - bracket - 3), "0123456789");
}

const std::string* text_in(const protocol::Texts& texts, std::string_view name) {
  auto at = texts.find(std::string(name));
  return at == texts.end() ? nullptr : &at->second;
}

}  // namespace

Result<Snapshot> Snapshot::parse(const protocol::ProcfsReply& reply) {
  Snapshot snapshot;
  auto add_files = [&](uint32_t pid, const protocol::Texts& files) {
    auto names = files_of(pid);
    for (size_t i = 0; i < names.size(); i++) {
      if (auto text = text_in(files, names[i])) snapshot.nodes_[node_of(pid, kFirstFile + i)] = *text;
    }
  };
  snapshot.nodes_[kRoot] = "";
  add_files(0, reply.machine);
  for (const auto& [name, process] : reply.processes) {
    auto pid = to_pid(name);
    if (!pid) return fail("procfs.processes has what is not the number of a process", EPROTO);
    add_files(*pid, process.files);
    snapshot.nodes_[node_of(*pid, kDirectoryEntry)] = "";
    snapshot.nodes_[node_of(*pid, kNamespacesEntry)] = "";
    for (size_t i = 0; i < protocol::kNamespaceLinks.size(); i++) {
      auto target = text_in(process.namespaces, protocol::kNamespaceLinks[i]);
      if (target && is_namespace_link(*target)) snapshot.nodes_[node_of(*pid, kFirstLink + i)] = *target;
    }
  }
  return snapshot;
}

std::optional<Kind> Snapshot::kind(Node node) const {
  if (!nodes_.contains(node)) return std::nullopt;
  Node entry = node & kEntryMask;
  if (entry < kFirstFile) return Kind::directory;
  return entry < kFirstLink ? Kind::file : Kind::link;
}

const std::string* Snapshot::content(Node node) const {
  auto at = nodes_.find(node);
  if (at == nodes_.end() || (node & kEntryMask) < kFirstFile) return nullptr;
  return &at->second;
}

std::vector<Entry> Snapshot::list(Node directory) const {
  std::vector<Entry> entries;
  auto add = [&](std::string_view name, Node node) {
    if (auto kind = this->kind(node)) entries.push_back({.name = std::string(name), .node = node, .kind = *kind});
  };
  auto pid = static_cast<uint32_t>(directory >> kEntryBits);
  if ((directory & kEntryMask) == kNamespacesEntry) {
    for (size_t i = 0; i < protocol::kNamespaceLinks.size(); i++) {
      add(protocol::kNamespaceLinks[i], node_of(pid, kFirstLink + i));
    }
    return entries;
  }
  if ((directory & kEntryMask) != kDirectoryEntry) return entries;
  auto files = files_of(pid);
  for (size_t i = 0; i < files.size(); i++) add(files[i], node_of(pid, kFirstFile + i));
  if (pid != 0) {
    add("ns", node_of(pid, kNamespacesEntry));
    return entries;
  }
  for (const auto& [node, text] : nodes_) {
    if ((node & kEntryMask) == kDirectoryEntry && node != kRoot) add(std::to_string(node >> kEntryBits), node);
  }
  return entries;
}

std::optional<Entry> Snapshot::lookup(Node directory, std::string_view name) const {
  if (directory == kRoot) {
    if (auto pid = to_pid(name)) {
      Node node = node_of(*pid, kDirectoryEntry);
      if (!nodes_.contains(node)) return std::nullopt;
      return Entry{.name = std::string(name), .node = node, .kind = Kind::directory};
    }
  }
  for (Entry& entry : list(directory)) {
    if (entry.name == name) return std::move(entry);
  }
  return std::nullopt;
}

}  // namespace nacre::procfs
