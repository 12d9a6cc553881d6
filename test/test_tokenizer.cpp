#include <gtest/gtest.h>

#include "base/error.h"
#include "support/sample_data.h"
#include "support/temporary_directory.h"
#include "support/text_samples.h"
#include "text/pattern.h"
#include "text/tokenizer.h"

namespace llm {
namespace {

TEST(Tokenizer, SavedBpeIsTheSame) {
  for (const std::string_view pattern : {kGpt2Pattern, kLlama3Pattern, std::string_view()}) {
    const test::TemporaryDirectory directory;
    const auto tokenizer = test::small_bpe_tokenizer(pattern);
    tokenizer->save(directory / "new/folder");
    EXPECT_EQ(load_tokenizer(directory / "new/folder")->hash(), tokenizer->hash());
  }
}

TEST(Tokenizer, Gpt2SavedIsTheSame) {
  const auto files = test::sample_data("gpt2");
  if (!files) GTEST_SKIP() << "the files of gpt2 are not here";
  const test::TemporaryDirectory directory;
  const auto tokenizer = open_tokenizer("gpt2", *files);
  tokenizer->save(directory.path());
  EXPECT_EQ(load_tokenizer(directory.path())->hash(), tokenizer->hash());
  EXPECT_EQ(read_text_file(directory / "merges.txt"), read_text_file(*files / "merges.txt"));
  fs::remove(directory / "tokenizer.json");
  EXPECT_EQ(load_tokenizer(directory.path())->hash(), tokenizer->hash());
}

TEST(Tokenizer, Opens) {
  const test::TemporaryDirectory directory;
  test::small_bpe_tokenizer(kGpt2Pattern)->save(directory.path());
  EXPECT_EQ(open_tokenizer("bytes", {})->kind(), "bytes");
  EXPECT_EQ(open_tokenizer(directory.path().string(), {})->kind(), "bpe");
  EXPECT_EQ(open_tokenizer("gpt2", directory.path())->kind(), "bpe");
}

TEST(Tokenizer, SaysWhatIsMissing) {
  const test::TemporaryDirectory directory;
  for (const char* name : {"gpt2", "chars", "", "no/such/folder"}) {
    try {
      open_tokenizer(name, {});
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << name;
      EXPECT_FALSE(error.hint().empty()) << name;
    }
  }
  for (const fs::path& path : {directory.path(), directory / "nothing"}) {
    try {
      load_tokenizer(path);
      FAIL() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
    }
  }
}

}  // namespace
}  // namespace llm
