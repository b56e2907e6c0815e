// SPDX-License-Identifier: Apache-2.0
// Fuzzes the opening and making of paths in a root file system that its owner fills with links.
//
// The input builds a tree of directories, files and links, in any order with the calls that resolve paths in it, so
// that links change in between. What is opened or made lies below the root, and what lies beside the root stays as it
// is.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <fstream>

#include "base/rootfs.h"
#include "tests/fuzz/input.h"

namespace {

using namespace nacre;

constexpr size_t kMaxSteps = 60;

// Parts of paths: short, so that paths meet.
constexpr const char* kParts[] = {"a", "b", "c", "..", ".", "", "outside", "secret", "a/b", "../..", "proc/self/root"};

std::string take_path(fuzz::Input& input) {
  auto shape = input.take<uint8_t>();
  if (shape == UINT8_MAX) {
    std::string path = input.short_text();
    std::erase(path, '\0');
    return path.empty() ? "a" : path;
  }
  std::string path = shape & 1 ? "/" : "";
  for (int i = 0; i <= shape / 2 % 4; i++) path += (i > 0 ? "/" : "") + std::string(input.one_of(kParts));
  return path.empty() ? "a" : path;
}

class World {
 public:
  World() {
    std::filesystem::create_directory(top_ / "outside");
    std::ofstream(top_ / "outside/secret") << "secret";
  }
  Fd fresh_root() {
    std::filesystem::remove_all(top_ / "root");
    std::filesystem::create_directories(top_ / "root/a");
    return Fd(::open(root().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  std::string root() const { return top_ / "root"; }

  // Returns whether an open file lies below the root: by the kernel's own word for it, from the top.
  void check_inside(int fd) const {
    std::array<char, PATH_MAX> text;
    ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), text.data(), text.size());
    fuzz::check(size > 0, "an open file has no path");
    std::string path(text.data(), static_cast<size_t>(size));
    fuzz::check(path == root() || path.starts_with(root() + "/"), "a path leads out of the root");
  }
  void check_outside() const {
    struct stat info{};
    bool whole = ::lstat((top_ / "outside/secret").c_str(), &info) == 0 && info.st_size == 6 && info.st_nlink == 1;
    fuzz::check(whole, "a file beside the root has changed");
    fuzz::check(entries(top_.path()) == 2 && entries(top_ / "outside") == 1, "something was made beside the root");
  }

 private:
  static size_t entries(const std::string& directory) {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) count++;
    return count;
  }
  const fuzz::Scratch top_;
};

// What the owner of the tree does: at paths below the root, with no link on the way, since it is his tree.
void change_tree(const World& world, fuzz::Input& input) {
  std::string name = world.root() + clean_path("/" + take_path(input));
  if (name.size() >= PATH_MAX || name == world.root() + "/") return;
  std::error_code ignored;
  // The parent may lead elsewhere by now: the owner's links are his, but this test stays below the root.
  std::filesystem::path parent = std::filesystem::canonical(std::filesystem::path(name).parent_path(), ignored);
  if (ignored || !(parent.string() + "/").starts_with(world.root() + "/")) return;
  name = parent.string() + "/" + base_name(name);
  switch (input.take<uint8_t>() % 4) {
    case 0:
      std::filesystem::create_directory(name, ignored);
      break;
    case 1:
      std::filesystem::remove_all(name, ignored);
      break;
    case 2:
      if (Fd made(::open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)); made) break;
      break;
    default:
      (void)!::symlink(take_path(input).c_str(), name.c_str());
  }
}

void resolve(const World& world, const Rootfs& rootfs, fuzz::Input& input) {
  std::string path = take_path(input);
  switch (input.take<uint8_t>() % 3) {
    case 0: {
      auto file = rootfs.open(path, O_PATH);
      if (!file) return;
      world.check_inside(file->get());
      auto shown = rootfs.path_of(file->get());
      fuzz::check(shown && shown->starts_with('/'), "a path in the container has no root");
      auto again = rootfs.open(*shown, O_PATH | O_NOFOLLOW);
      struct stat first{}, second{};
      bool same = again && ::fstat(file->get(), &first) == 0 && ::fstat(again->get(), &second) == 0 &&
                  first.st_ino == second.st_ino;
      fuzz::check(same, "the path of a file leads to another file");
      return;
    }
    case 1: {
      auto directory = rootfs.make_directory(path);
      if (!directory || !*directory) return;
      world.check_inside(directory->get());
      return fuzz::check(rootfs.open(path, O_PATH | O_DIRECTORY).has_value(), "a directory that was made is not there");
    }
    default: {
      auto file = rootfs.make_file(path);
      if (!file) return;
      world.check_inside(file->get());
      fuzz::check(rootfs.open(path, O_PATH).has_value(), "a file that was made is not there");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  fuzz::Input input(data, size);
  Rootfs rootfs(world.fresh_root());
  for (size_t i = 0; i < kMaxSteps && !input.empty(); i++) {
    if (input.take<uint8_t>() & 1) {
      change_tree(world, input);
    } else {
      resolve(world, rootfs, input);
    }
  }
  world.check_outside();
  return 0;
}
