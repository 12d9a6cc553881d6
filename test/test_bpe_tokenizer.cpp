#include <gtest/gtest.h>
#include <time.h>

#include <fstream>
#include <thread>

#include "base/error.h"
#include "support/sample_data.h"
#include "support/temporary_directory.h"
#include "support/text_samples.h"
#include "text/bpe_tokenizer.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace llm {
namespace {

using test::hash_ids;
using test::tokenizer_golden;

std::unique_ptr<Tokenizer> gpt2() {
  const auto directory = test::sample_data("gpt2");
  return directory ? load_tokenizer(*directory) : nullptr;
}

// GPT-2's vocabulary with another pattern.
std::unique_ptr<Tokenizer> gpt2_with(std::string_view pattern) {
  const std::unique_ptr<Tokenizer> tokenizer = gpt2();
  BpeSpec spec = dynamic_cast<const BpeTokenizer&>(*tokenizer).spec();
  spec.pattern = pattern;
  return std::make_unique<BpeTokenizer>(std::move(spec), "test");
}

#define REQUIRE_GPT2(tokenizer)  \
  const auto tokenizer = gpt2(); \
  if (!tokenizer) GTEST_SKIP() << "the files of gpt2 are not here"

TEST(BpeTokenizer, Gpt2HasItsVocabulary) {
  REQUIRE_GPT2(tokenizer);
  EXPECT_EQ(tokenizer->vocab_size(), 50257);
  EXPECT_EQ(tokenizer->end_of_text(), 50256);
  EXPECT_EQ(tokenizer->kind(), "bpe");
  EXPECT_EQ(tokenizer->encode("Hello world"), std::vector<TokenId>({15496, 995}));
  const std::string text = "a<|endoftext|>b";
  EXPECT_EQ(tokenizer->encode(text, true), std::vector<TokenId>({64, 50256, 65}));
  EXPECT_EQ(tokenizer->encode(text).size(), 9u);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, true)), text);
  EXPECT_THROW(tokenizer->token_bytes(50257), Error);
  EXPECT_THROW(tokenizer->token_bytes(-1), Error);
}

TEST(BpeTokenizer, FilesEncodeAsInTiktoken) {
  REQUIRE_GPT2(tokenizer);
  const auto llama3 = gpt2_with(kLlama3Pattern);
  for (const auto& [name, golden] : tokenizer_golden().at("files").items()) {
    const auto path = test::sample_data(name);
    if (!path) GTEST_SKIP() << name << " is not here";
    const std::string text = read_text_file(*path);
    const std::vector<TokenId> ids = tokenizer->encode(text);
    EXPECT_EQ(ids.size(), golden.at("tokens").get<size_t>()) << name;
    EXPECT_EQ(hash_ids(ids), golden.at("ids").get<std::string>()) << name;
    EXPECT_EQ(tokenizer->decode(ids), text);
    EXPECT_EQ(hash_ids(llama3->encode(text)), golden.at("llama3_pattern_ids").get<std::string>());
    EXPECT_TRUE(name != "the-verdict.txt" || ids.size() == 5145);
  }
}

TEST(BpeTokenizer, RandomUnicodeEncodesAsInTiktoken) {
  REQUIRE_GPT2(tokenizer);
  const auto llama3 = gpt2_with(kLlama3Pattern);
  test::GoldenStrings strings;
  const Json& groups = tokenizer_golden().at("random");
  ASSERT_EQ(groups.size(), 100u);
  for (size_t group = 0; group < groups.size(); ++group) {
    std::vector<TokenId> ids, llama3_ids;
    for (int i = 0; i < 1000; ++i) {
      const std::string text = strings.next();
      const size_t before = ids.size();
      tokenizer->encode(text, ids, false);
      ASSERT_EQ(tokenizer->decode(std::span(ids).subspan(before)), text);
      llama3->encode(text, llama3_ids, false);
    }
    EXPECT_EQ(hash_ids(ids), groups[group].get<std::string>()) << group;
    EXPECT_EQ(hash_ids(llama3_ids),
              tokenizer_golden().at("random_llama3_pattern")[group].get<std::string>())
        << group;
  }
}

double thread_seconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // several times slower, and frames are larger
#else
constexpr bool kSanitized = false;
#endif

// 1 MiB of one character, or of characters in turn, within 256 KiB of stack and a second.
TEST(BpeTokenizer, RepetitionNeitherRecursesNorGoesQuadratic) {
  REQUIRE_GPT2(tokenizer);
  const auto llama3 = gpt2_with(kLlama3Pattern);
  for (const Tokenizer* each : {tokenizer.get(), llama3.get()}) {
    for (const std::string part : {"a", "7", " ", "\n", "^", "日", "\xCC\x81", "\xFF", "a ", "\n ",
                                   "a\xFF", "\xE2\x80\xA8"}) {
      std::string text;
      while (text.size() < 1 << 20) text += part;
      std::vector<TokenId> ids;
      double seconds = 0;
      test::run_on_small_stack(kSanitized ? 8 << 20 : 256 << 10, [&] {
        const double start = thread_seconds();
        each->encode(text, ids, false);
        seconds = thread_seconds() - start;
      });
      EXPECT_TRUE(each->decode(ids) == text) << part;
      EXPECT_TRUE(kSanitized || seconds < 1.0) << part << ": " << seconds;
    }
    // Spaces before something: the lookahead gives one back.
    const std::string text = std::string(1 << 20, ' ') + "x";
    EXPECT_TRUE(each->decode(each->encode(text)) == text);
  }
}

TEST(BpeTokenizer, AnyBytesComeBack) {
  std::mt19937_64 random(5);
  for (const std::string_view pattern : {kGpt2Pattern, kLlama3Pattern, std::string_view()}) {
    const auto tokenizer = test::small_bpe_tokenizer(pattern);
    for (int round = 0; round < 500; ++round) {
      std::string text(random() % 64, 0);
      for (char& byte : text) byte = static_cast<char>(random());
      if (round % 2) text = test::messy_text(random, random() % 400);
      for (const bool allow_special : {false, true}) {
        ASSERT_EQ(tokenizer->decode(tokenizer->encode(text, allow_special)), text);
      }
    }
  }
}

TEST(BpeTokenizer, ParallelIsTheSame) {
  std::mt19937_64 random(6);
  for (const std::string_view pattern :
       {kGpt2Pattern, kLlama3Pattern, std::string_view("(?<=a)b|\\s+"), std::string_view()}) {
    const auto tokenizer = test::small_bpe_tokenizer(pattern);
    for (const size_t size : {0, 1000, 300'000, 5'000'000}) {
      if (size > 1'000'000 && pattern != kGpt2Pattern) continue;
      const std::string text = test::messy_text(random, size);
      for (const bool allow_special : {false, true}) {
        const std::vector<TokenId> expected = tokenizer->encode(text, allow_special);
        for (const int threads : {2, 7}) {
          std::vector<TokenId> ids = {-5};
          tokenizer->encode_parallel(text, ids, threads, allow_special);
          ASSERT_EQ(ids.size(), expected.size() + 1);
          ASSERT_TRUE(std::equal(expected.begin(), expected.end(), ids.begin() + 1))
              << pattern << " " << size << " " << threads;
        }
      }
    }
    EXPECT_EQ(encode_parallel(*tokenizer, "the words", 2), tokenizer->encode("the words"));
  }
}

// One word over several windows of the parallel encoder.
TEST(BpeTokenizer, ParallelWithAWordLongerThanTheWindow) {
  const auto tokenizer = test::small_bpe_tokenizer(kGpt2Pattern, 257);
  const std::string text = "the " + std::string(5 << 20, 'a') + " the 12 words";
  EXPECT_EQ(encode_parallel(*tokenizer, text, 2), tokenizer->encode(text));
}

TEST(BpeTokenizer, TextInPartsIsTheSame) {
  std::mt19937_64 random(7);
  for (const std::string_view pattern :
       {kGpt2Pattern, kLlama3Pattern, std::string_view("(?<=a)b|\\s+")}) {
    const auto tokenizer = test::small_bpe_tokenizer(pattern);
    for (int round = 0; round < 60; ++round) {
      const std::string text = test::messy_text(random, random() % 4000);
      for (const bool allow_special : {false, true}) {
        std::vector<TokenId> ids;
        std::string pending;
        for (size_t at = 0; at < text.size();) {
          const size_t size = 1 + random() % 300;
          pending += text.substr(at, size);
          at += size;
          pending.erase(0, tokenizer->encode_prefix(pending, ids, 2, allow_special));
        }
        tokenizer->encode_parallel(pending, ids, 2, allow_special);
        ASSERT_EQ(ids, tokenizer->encode(text, allow_special));
      }
    }
  }
}

TEST(BpeTokenizer, PartsNeedNotBeKept) {
  const auto tokenizer = test::small_bpe_tokenizer(kGpt2Pattern);
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += "some words, ";
  std::vector<TokenId> ids;
  EXPECT_GE(tokenizer->encode_prefix(text, ids, 1), text.size() - 10);
}

TEST(BpeTokenizer, ThreadsShareATokenizer) {
  const auto tokenizer = test::small_bpe_tokenizer(kGpt2Pattern);
  std::vector<std::thread> threads;
  std::vector<int> failures(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int round = 0; round < 200; ++round) {
        const std::string text = test::messy_text(random, 300);
        failures[t] += tokenizer->decode(tokenizer->encode(text)) != text;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, std::vector<int>(4, 0));
}

TEST(BpeTokenizer, OptionsOfTheFormat) {
  const auto base = test::small_bpe_tokenizer(kGpt2Pattern);
  BpeSpec spec = dynamic_cast<const BpeTokenizer&>(*base).spec();
  spec.add_prefix_space = true;
  const BpeTokenizer prefixed(spec, "test");
  EXPECT_EQ(prefixed.encode("the"), base->encode(" the"));
  EXPECT_EQ(prefixed.encode(" the"), base->encode(" the"));
  EXPECT_EQ(encode_parallel(prefixed, "the", 2), base->encode(" the"));
  EXPECT_NE(prefixed.hash(), base->hash());

  // A token that the merges do not reach is found as a whole piece only with ignore_merges.
  spec = dynamic_cast<const BpeTokenizer&>(*base).spec();
  spec.tokens.push_back("zebra");
  const auto zebra = static_cast<TokenId>(spec.tokens.size() - 1);
  EXPECT_EQ(BpeTokenizer(spec, "test").encode("zebra").size(), 5u);
  spec.ignore_merges = true;
  EXPECT_EQ(BpeTokenizer(spec, "test").encode("zebra"), std::vector<TokenId>({zebra}));

  // Added tokens that are not special are found always.
  spec.added.push_back({"<x>", static_cast<TokenId>(spec.tokens.size()), /*special=*/false});
  spec.tokens.push_back("<x>");
  const BpeTokenizer added(spec, "test");
  EXPECT_EQ(added.encode("<x>"), std::vector<TokenId>({zebra + 1}));
  EXPECT_EQ(added.special_tokens().size(), 1u);
}

TEST(BpeTokenizer, TheFolderNamesWhatEndsTexts) {
  BpeSpec spec = dynamic_cast<const BpeTokenizer&>(*test::small_bpe_tokenizer(kGpt2Pattern)).spec();
  ASSERT_EQ(spec.added.size(), 1u);
  const TokenId end = spec.added[0].id;
  spec.added[0].text = spec.tokens[static_cast<size_t>(end)] = "</s>";
  const test::TemporaryDirectory directory;
  BpeTokenizer(spec, "test").save(directory.path());
  EXPECT_EQ(load_tokenizer(directory.path())->end_of_text(), std::nullopt);
  const auto with = [&](const char* config) {
    std::ofstream(directory / "tokenizer_config.json") << config;
    return load_tokenizer(directory.path());
  };
  EXPECT_EQ(with(R"({"eos_token": "<none>"})")->end_of_text(), std::nullopt);
  EXPECT_EQ(with(R"({"eos_token": "</s>"})")->end_of_text(), end);
  const auto tokenizer = with(R"({"eos_token": {"content": "</s>", "lstrip": false}})");
  EXPECT_EQ(tokenizer->end_of_text(), end);
  // It goes where the tokenizer goes.
  const test::TemporaryDirectory other;
  tokenizer->save(other.path());
  EXPECT_EQ(load_tokenizer(other.path())->end_of_text(), end);
  EXPECT_EQ(load_tokenizer(other.path())->hash(), tokenizer->hash());
}

TEST(BpeTokenizer, HashDependsOnWhatDecidesTheIds) {
  const auto base = test::small_bpe_tokenizer(kGpt2Pattern);
  EXPECT_EQ(base->hash(), test::small_bpe_tokenizer(kGpt2Pattern)->hash());
  EXPECT_EQ(base->hash().size(), 64u);
  EXPECT_NE(base->hash(), test::small_bpe_tokenizer(kLlama3Pattern)->hash());
  EXPECT_NE(base->hash(), test::small_bpe_tokenizer(kGpt2Pattern, 270)->hash());
}

}  // namespace
}  // namespace llm
