#include <gtest/gtest.h>

#include "data/inspect.h"
#include "support/dataset_files.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

TEST(PrintableText, EscapesWhatATerminalWouldAct0n) {
  EXPECT_EQ(printable_text("a\n\tb\\ \x1B[0m \x80 \u4E2D\u0085"),
            "a\\n\\tb\\\\ \\x1b[0m \\x80 \u4E2D\\xc2\\x85");
}

class InspectTest : public testing::Test {
 protected:
  InspectTest() {
    write_file(folder_ / "a.txt", "abcdefghij");
    PrepareOptions prepare;
    prepare.inputs = {(folder_ / "a.txt").string()};
    prepare.tokenizer = "chars";
    prepare.val_fraction = 0.2;
    prepare.output = folder_ / "out";
    prepare.show_progress = false;
    prepare_dataset(prepare);
    options_.path = folder_ / "out";
    options_.sample_tokens = 4;
  }
  TemporaryDirectory folder_;
  InspectOptions options_;
};

TEST_F(InspectTest, CountsAndDecodes) {
  const Inspection result = inspect_dataset(options_);
  EXPECT_EQ(result.distinct_tokens, 10);
  EXPECT_EQ(result.largest_token, 9);
  EXPECT_EQ(result.mebibytes, 2);
  EXPECT_EQ(result.tokenizer_kind, "chars");
  ASSERT_EQ(result.samples.size(), 4u);
  for (const TokenSample& sample : result.samples) {
    const std::string text = sample.split == "train" ? "abcdefgh" : "ij";
    EXPECT_EQ(sample.text, text.substr(static_cast<size_t>(sample.position), 4));
  }
  EXPECT_EQ(result.samples[3].split, "val");
}

TEST_F(InspectTest, DecodesABareShardWithTheTokenizerBesideIt) {
  options_.path = folder_ / "out" / "val_000000.bin";
  const Inspection result = inspect_dataset(options_);
  EXPECT_EQ(result.samples.front().text, "ij");
  EXPECT_EQ(result.tokenizer_kind, "chars");
  fs::remove(folder_ / "out" / "tokenizer.json");
  EXPECT_EQ(inspect_dataset(options_).samples.front().text, "");
  EXPECT_EQ(inspect_dataset(options_).samples.front().ids, (std::vector<TokenId>{8, 9}));
  options_.tokenizer = "bytes";
  EXPECT_EQ(inspect_dataset(options_).samples.front().text, "\\x08\\t");
}

TEST_F(InspectTest, RefusesDamageAndForeignTokenizers) {
  options_.tokenizer = "bytes";
  expect_error(ErrorKind::input, "made with the tokenizer", [&] { inspect_dataset(options_); });
  options_.tokenizer.clear();
  const fs::path shard = folder_ / "out" / "train_000000.bin";
  std::string bytes = read_text_file(shard);
  bytes.back() ^= 1;
  write_file(shard, bytes);
  expect_error(ErrorKind::input, "checksum", [&] { inspect_dataset(options_); });
  options_.verify = false;
  EXPECT_EQ(inspect_dataset(options_).dataset.train.size(), 8);
}

}  // namespace
}  // namespace llm::test
