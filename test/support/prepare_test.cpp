#include "support/prepare_test.h"

#include <algorithm>

#include "base/hash.h"
#include "support/dataset_files.h"

namespace llm::test {

PrepareTest::PrepareTest() {
  options_.output = folder_ / "out";
  options_.tokenizer = "bytes";
  options_.threads = 2;
  options_.show_progress = false;
}

std::string PrepareTest::add(const std::string& name, const std::string& text) {
  const fs::path path = folder_ / name;
  fs::create_directories(path.parent_path());
  write_file(path, text);
  return path.string();
}

std::string PrepareTest::text_of(const TokenSequence& tokens) {
  const auto tokenizer = load_tokenizer(options_.output);
  std::string text;
  for (const TokenId id : all_tokens(tokens)) {
    text += tokenizer->end_of_text() == id ? "|" : std::string(tokenizer->token_bytes(id));
  }
  return text;
}

PrepareSummary PrepareTest::prepare() {
  const PrepareSummary summary = prepare_dataset(options_);
  const Dataset dataset = open_dataset(options_.output, 0);
  train_ = text_of(dataset.train);
  val_ = text_of(dataset.val);
  EXPECT_EQ(dataset.val_bytes, summary.val.bytes);
  EXPECT_EQ(dataset.tokenizer_hash, load_dataset_tokenizer(dataset)->hash());
  return summary;
}

std::vector<std::string> PrepareTest::files_in(const fs::path& path) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string PrepareTest::output_hash() {
  std::string all;
  for (const std::string& name : files_in(options_.output)) {
    all += name + " " + sha256_of_file(options_.output / name) + "\n";
  }
  return all;
}

}  // namespace llm::test
