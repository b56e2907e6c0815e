// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target without libFuzzer, as a test: first the files of the corpus, then as many mutations of them as
// asked for. The mutations are the same each time.
//
//   NAME-fuzz CORPUS ROUNDS
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

std::vector<Bytes> read_corpus(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<Bytes> corpus;
  for (const auto& file : files) {
    std::ifstream stream(file, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return corpus;
}

// Makes one to eight changes to a file of the corpus: flips a bit, sets a byte, takes a piece out, or inserts a piece
// of another file.
Bytes mutate(const std::vector<Bytes>& corpus, std::mt19937& random) {
  auto below = [&random](size_t end) { return end == 0 ? 0 : random() % end; };
  Bytes bytes = corpus[below(corpus.size())];
  for (size_t changes = 1 + below(8); changes > 0; changes--) {
    size_t at = below(bytes.size());
    switch (below(4)) {
      case 0:
        if (!bytes.empty()) bytes[at] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 1:
        if (!bytes.empty()) bytes[at] = static_cast<uint8_t>(random());
        break;
      case 2:
        bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at),
                    bytes.begin() + static_cast<ptrdiff_t>(std::min(bytes.size(), at + below(16))));
        break;
      default: {
        const Bytes& other = corpus[below(corpus.size())];
        size_t from = below(other.size()), count = std::min(other.size() - from, below(64));
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at), other.begin() + static_cast<ptrdiff_t>(from),
                     other.begin() + static_cast<ptrdiff_t>(from + count));
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s CORPUS ROUNDS\n", argv[0]);
    return EXIT_FAILURE;
  }
  std::vector<Bytes> corpus = read_corpus(argv[1]);
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: the corpus is empty\n", argv[1]);
    return EXIT_FAILURE;
  }
  for (const Bytes& input : corpus) LLVMFuzzerTestOneInput(input.data(), input.size());
  std::mt19937 random(1);
  for (long rounds = std::atol(argv[2]); rounds > 0; rounds--) {
    Bytes input = mutate(corpus, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  return EXIT_SUCCESS;
}
