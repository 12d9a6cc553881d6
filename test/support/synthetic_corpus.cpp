#include "support/synthetic_corpus.h"

#include <cctype>
#include <sstream>
#include <utility>

#include "base/json.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

std::vector<std::string> lines_of(const fs::path& path) {
  std::istringstream stream(read_text_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

SynthCorpus make_synthetic_corpus(SynthOptions options) {
  TemporaryDirectory directory;
  options.directory = directory.path();
  SynthCorpus corpus;
  corpus.summary = write_synthetic_corpus(options);
  corpus.story_file_bytes = static_cast<int64_t>(fs::file_size(directory / "stories.jsonl"));
  corpus.message_file_bytes = static_cast<int64_t>(fs::file_size(directory / "messages.tsv"));
  corpus.instruction_file_bytes =
      static_cast<int64_t>(fs::file_size(directory / "instructions.json"));
  for (const std::string& line : lines_of(directory / "stories.jsonl")) {
    const Json json = parse_json(line, "stories.jsonl");
    corpus.stories.push_back(JsonObject(json, "stories.jsonl").text("text"));
  }
  for (const std::string& line : lines_of(directory / "messages.tsv")) {
    const size_t tab = line.find('\t');
    corpus.messages.push_back({line.substr(0, tab), line.substr(tab + 1)});
  }
  const Json pairs = read_json_file(directory / "instructions.json");
  for (const Json& json : pairs) {
    const JsonObject object(json, "instructions.json");
    corpus.pairs.push_back(
        {object.text("instruction"), object.text("input"), object.text("output")});
  }
  return corpus;
}

const SynthCorpus& sample_synthetic_corpus() {
  static const SynthCorpus corpus = make_synthetic_corpus({.directory = {}, .stories = 3000});
  return corpus;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char letter : std::string(text) + " ") {
    if (std::isalnum(static_cast<unsigned char>(letter)) || letter == '\'') {
      word += letter;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, ""));
    }
  }
  return words;
}

}  // namespace llm::test
