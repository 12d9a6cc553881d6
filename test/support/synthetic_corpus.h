// Writes a synthetic corpus into a temporary folder and reads it back, for tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "data/synth.h"

namespace llm::test {

struct SynthMessage {
  std::string label, text;
};
struct SynthPair {
  std::string instruction, input, output;
};
struct SynthCorpus {
  SynthSummary summary;
  int64_t story_file_bytes = 0, message_file_bytes = 0, instruction_file_bytes = 0;
  std::vector<std::string> stories;
  std::vector<SynthMessage> messages;
  std::vector<SynthPair> pairs;
};

// options.directory is ignored.
SynthCorpus make_synthetic_corpus(SynthOptions options);
// 3000 stories and the default numbers of messages and instructions; made once.
const SynthCorpus& sample_synthetic_corpus();

// Letters, digits and apostrophes count as part of a word.
std::vector<std::string> words_of(std::string_view text);

}  // namespace llm::test
