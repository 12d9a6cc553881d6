// A small dataset folder of characters, for tests of training.
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"

namespace llm::test {

// Sentences made from a few words by a formula, about `characters` of them.
std::string small_text(int64_t characters, uint64_t seed = 1);

// Writes directory/text.txt and the dataset directory/data from it, one token per character, the
// last tenth for validation. Returns the dataset's path.
fs::path make_small_dataset(const fs::path& directory, int64_t characters = 20'000,
                            uint64_t seed = 1);

}  // namespace llm::test
