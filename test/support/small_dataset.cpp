#include "support/small_dataset.h"

#include <array>

#include "data/prepare.h"
#include "support/small_model.h"

namespace llm::test {

std::string small_text(int64_t characters, uint64_t seed) {
  constexpr std::array kNames = {"the fox", "a bird", "the old king", "my dog", "she", "the river"};
  constexpr std::array kVerbs = {"sees", "follows", "hears", "likes", "finds", "forgets"};
  constexpr std::array kEnds = {"the moon.", "a stone.", "the way home.", "nothing.", "two keys."};
  std::string text;
  for (uint64_t i = seed << 32; static_cast<int64_t>(text.size()) < characters; ++i) {
    const uint64_t bits = mixed(i);
    text += kNames[bits % kNames.size()];
    text += ' ';
    text += kVerbs[(bits >> 16) % kVerbs.size()];
    text += ' ';
    text += kEnds[(bits >> 32) % kEnds.size()];
    text += (bits >> 48) % 4 == 0 ? '\n' : ' ';
  }
  return text;
}

fs::path make_small_dataset(const fs::path& directory, int64_t characters, uint64_t seed) {
  const fs::path text = directory / "text.txt";
  FileWriter writer(text);
  writer.write(small_text(characters, seed));
  writer.close();
  PrepareOptions options;
  options.inputs = {text.string()};
  options.tokenizer = "chars";
  options.output = directory / "data";
  options.show_progress = false;
  prepare_dataset(options);
  return options.output;
}

}  // namespace llm::test
