#include "data/synth.h"

#include <fmt/format.h>

#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "data/synth_instructions.h"
#include "data/synth_messages.h"
#include "data/synth_stories.h"

namespace llm {
namespace {

// Remembers texts by a 64-bit hash: if two different texts ever share one, a text is rewritten.
class SeenTexts {
 public:
  bool add(std::string_view text) { return hashes_.insert(stream_id(text)).second; }

 private:
  std::unordered_set<uint64_t> hashes_;
};

void check_count(std::string_view option, int64_t count, int64_t maximum) {
  if (count >= 0 && count <= maximum) return;
  fail_usage(fmt::format("--{}", option), fmt::format("{} asked for", count),
             fmt::format("from 0 to {} are possible", with_commas(maximum)));
}

void report(const SynthOptions& options, std::string_view part, int64_t done, int64_t total) {
  if (options.progress && (done % 1000 == 0 || done == total)) options.progress(part, done, total);
}

// Draws until a text comes that was not there before. The maxima of synth.h are far enough from
// what the patterns can say for this to end soon.
template <typename Draw, typename KeyOf>
auto draw_new(SeenTexts& seen, Draw draw, KeyOf key_of) {
  constexpr int kTries = 10000;
  for (int i = 0; i < kTries; i++) {
    auto drawn = draw();
    if (seen.add(key_of(drawn))) return drawn;
  }
  LLM_ASSERT(false, "the patterns of the synthetic corpus have nothing new to say");
  return draw();
}

std::string itself(const std::string& text) { return text; }

void write_stories(SynthSummary& summary, const SynthOptions& options) {
  RandomSequence random(options.seed, stream_id("synth.stories"));
  SeenTexts seen;
  FileWriter file(options.directory / "stories.jsonl");
  for (int64_t i = 0; i < options.stories; i++) {
    const std::string story = draw_new(
        seen, [&random] { return synth::write_story(random); }, itself);
    file.write(to_line(Json{{"text", story}}) + "\n");
    report(options, "stories", i + 1, options.stories);
  }
  file.close();
  summary.stories = options.stories;
  summary.story_bytes = file.size();
}

void write_messages(SynthSummary& summary, const SynthOptions& options) {
  RandomSequence random(options.seed, stream_id("synth.messages"));
  SeenTexts seen;
  FileWriter file(options.directory / "messages.tsv");
  for (int64_t i = 0; i < options.messages; i++) {
    const bool spam = random.below(4) == 0;
    const std::string text = draw_new(
        seen, [&random, spam] { return synth::write_message(random, spam); }, itself);
    file.write(fmt::format("{}\t{}\n", spam ? "spam" : "ham", text));
    (spam ? summary.spam : summary.ham)++;
    report(options, "messages", i + 1, options.messages);
  }
  file.close();
  summary.messages = options.messages;
  summary.message_bytes = file.size();
}

void write_instructions(SynthSummary& summary, const SynthOptions& options) {
  RandomSequence random(options.seed, stream_id("synth.instructions"));
  SeenTexts seen;
  FileWriter file(options.directory / "instructions.json");
  file.write("[");
  for (int64_t i = 0; i < options.instructions; i++) {
    const synth::Example example = draw_new(
        seen, [&random] { return synth::write_example(random); },
        [](const synth::Example& one) { return one.instruction + "\n" + one.input; });
    const Json json{
        {"instruction", example.instruction}, {"input", example.input}, {"output", example.output}};
    file.write((i == 0 ? "\n" : ",\n") + to_line(json));
    report(options, "instructions", i + 1, options.instructions);
  }
  file.write("\n]\n");
  file.close();
  summary.instructions = options.instructions;
  summary.instruction_bytes = file.size();
}

}  // namespace

SynthSummary write_synthetic_corpus(const SynthOptions& options) {
  check_count("stories", options.stories, kSynthMaxStories);
  check_count("messages", options.messages, kSynthMaxMessages);
  check_count("instructions", options.instructions, kSynthMaxInstructions);
  make_directories(options.directory);
  SynthSummary summary;
  write_stories(summary, options);
  write_messages(summary, options);
  write_instructions(summary, options);
  return summary;
}

}  // namespace llm
