// The demo's own corpus, written from a seed: short stories from a small simulated world, spam and
// ham messages, and instruction/answer pairs over the same world. The same seed gives the same
// bytes on every machine. It is small enough to learn from in minutes, and correct enough to judge
// by.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

namespace llm {

struct SynthOptions {
  std::filesystem::path directory;  // made if it is not there; files of the same name are replaced
  int64_t stories = 12000;          // at least 5 MB of stories.jsonl
  uint64_t seed = 42;
  int64_t messages = 4000;      // at most kSynthMaxMessages
  int64_t instructions = 6000;  // at most kSynthMaxInstructions
  // Called now and then with the part being written and how far it is; empty means silence.
  std::function<void(std::string_view part, int64_t done, int64_t total)> progress = {};
};

// More than this many different ones the templates are not asked for.
inline constexpr int64_t kSynthMaxStories = 1000000;
inline constexpr int64_t kSynthMaxMessages = 20000;
inline constexpr int64_t kSynthMaxInstructions = 100000;

struct SynthSummary {
  int64_t stories = 0, story_bytes = 0;  // bytes of the file stories.jsonl
  int64_t messages = 0, spam = 0, ham = 0, message_bytes = 0;
  int64_t instructions = 0, instruction_bytes = 0;
};

// Writes into options.directory
//   stories.jsonl      one {"text": STORY} per line
//   messages.tsv       one LABEL<TAB>TEXT per line, LABEL ham or spam (about 3 ham to 1 spam)
//   instructions.json  [{"instruction": ..., "input": ..., "output": ...}, ...]
// No text occurs twice within its file; everything is printable ASCII. Throws Error{usage} when a
// count is negative or above its maximum, Error{disk} when a file cannot be written.
SynthSummary write_synthetic_corpus(const SynthOptions& options);

}  // namespace llm
