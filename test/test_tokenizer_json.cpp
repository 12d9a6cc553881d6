#include <gtest/gtest.h>

#include "base/error.h"
#include "support/text_samples.h"
#include "text/byte_alphabet.h"
#include "text/pattern.h"
#include "text/tokenizer_json.h"

namespace llm {
namespace {

// A correct file, to be damaged by the tests: 256 bytes, "ab" and "abc", and an added token.
Json good_document() {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[to_byte_characters(std::string(1, static_cast<char>(byte)))] = byte;
  }
  vocabulary["ab"] = 256;
  vocabulary["abc"] = 257;
  return Json::parse(R"({
    "version": "1.0",
    "added_tokens": [{"id": 258, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
                      "rstrip": false, "normalized": false, "special": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
    "post_processor": {"type": "ByteLevel", "trim_offsets": false},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
              "end_of_word_suffix": "", "fuse_unk": false, "merges": ["a b", "ab c"]}})")
      .patch(Json::array({Json{{"op", "add"}, {"path", "/model/vocab"}, {"value", vocabulary}}}));
}

std::unique_ptr<Tokenizer> load(const Json& document) {
  return tokenizer_from_json(document.dump(), "tokenizer.json");
}

std::string error_of(const Json& document) {
  try {
    load(document);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(error.where().find("tokenizer.json"), std::string::npos) << error.what();
    return error.what();
  }
  return "no error";
}

void expect_refused(const Json& document, const std::string& part) {
  EXPECT_NE(error_of(document).find(part), std::string::npos) << error_of(document) << part;
}

TEST(TokenizerJson, ReadsAGoodFile) {
  const auto tokenizer = load(good_document());
  EXPECT_EQ(tokenizer->vocab_size(), 259);
  EXPECT_EQ(tokenizer->end_of_text(), 258);
  EXPECT_EQ(tokenizer->encode("abcab c"), std::vector<TokenId>({257, 256, ' ', 'c'}));
}

TEST(TokenizerJson, ReadsVariantsOfTheFormat) {
  const std::string hash = load(good_document())->hash();
  Json document = good_document();
  document["model"]["merges"] = Json::parse(R"([["a", "b"], ["ab", "c"]])");
  EXPECT_EQ(load(document)->hash(), hash);
  document = good_document();
  document["model"].erase("type");
  EXPECT_EQ(load(document)->hash(), hash);
  document["model"]["vocab"]["<|endoftext|>"] = 258;
  EXPECT_EQ(load(document)->hash(), hash);
  document["normalizer"] = Json::parse(R"({"type": "Sequence", "normalizers": []})");
  EXPECT_EQ(load(document)->hash(), hash);

  document["pre_tokenizer"] = Json::parse(R"({"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": false},
    {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})");
  Json& split = document["pre_tokenizer"]["pretokenizers"][0];
  split["pattern"]["Regex"] = kLlama3Pattern;
  const auto llama3 = load(document);
  EXPECT_EQ(dynamic_cast<BpeTokenizer&>(*llama3).spec().pattern, kLlama3Pattern);
  split["behavior"] = "Removed";
  split["invert"] = true;
  EXPECT_EQ(load(document)->hash(), llama3->hash());
  split["pattern"]["Regex"] = "a+";
  expect_refused(document, "Isolated");
  split["behavior"] = "Isolated";
  split["pattern"] = Json{{"String", "b."}};
  EXPECT_EQ(load(document)->encode("ab.ab"), std::vector<TokenId>({'a', 'b', '.', 256}));

  document = good_document();
  document["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(load(document)->encode("ab"), std::vector<TokenId>({' ', 256}));
  document["model"]["ignore_merges"] = true;
  EXPECT_TRUE(dynamic_cast<BpeTokenizer&>(*load(document)).spec().ignore_merges);
}

TEST(TokenizerJson, WhatItWritesItReads) {
  Json document = good_document();
  document["post_processor"] = Json::parse(R"({"type": "TemplateProcessing", "single": []})");
  document["added_tokens"][0]["special"] = false;
  const auto tokenizer = load(document);
  const std::string text = bpe_to_json(dynamic_cast<BpeTokenizer&>(*tokenizer).spec());
  const auto again = tokenizer_from_json(text, "again");
  EXPECT_EQ(again->hash(), tokenizer->hash());
  EXPECT_EQ(Json::parse(text)["post_processor"], document["post_processor"]);
}

TEST(TokenizerJson, RefusesWhatItDoesNotSupport) {
  const std::vector<std::pair<const char*, Json>> replacements = {
      {"/normalizer", Json{{"type", "NFC"}}},
      {"/pre_tokenizer", nullptr},
      {"/pre_tokenizer", Json{{"type", "Whitespace"}}},
      {"/pre_tokenizer", Json{{"type", "Sequence"}, {"pretokenizers", Json::array()}}},
      {"/pre_tokenizer", "ByteLevel"},
      {"/model/type", "Unigram"},
      {"/model/dropout", 0.1},
      {"/model/byte_fallback", true},
      {"/model/continuing_subword_prefix", "##"},
      {"/model/end_of_word_suffix", "</w>"},
      {"/added_tokens/0/lstrip", true},
      {"/added_tokens/0/single_word", true},
  };
  for (const auto& [path, value] : replacements) {
    Json document = good_document();
    document[Json::json_pointer(path)] = value;
    EXPECT_NE(error_of(document), "no error") << path << value;
  }
}

TEST(TokenizerJson, RefusesDamage) {
  const std::vector<std::pair<const char*, Json>> replacements = {
      {"/model", nullptr},
      {"/model/vocab", nullptr},
      {"/model/vocab", Json::array()},
      {"/model/vocab", Json::object()},
      {"/model/vocab/a", "x"},
      {"/model/vocab/a", -1},
      {"/model/vocab/a", 98},    // b's
      {"/model/vocab/a", 1000},  // a gap
      {"/model/vocab/a", 1.5},
      {"/model/vocab/a", uint64_t{1} << 63},
      {"/model/vocab/x y", 259},  // a space is no byte character
      {"/model/vocab/", 259},
      {"/model/vocab/日", 259},
      {"/model/merges", nullptr},
      {"/model/merges", "a b"},
      {"/model/merges/0", "ab"},
      {"/model/merges/0", "a  b"},
      {"/model/merges/0", "a b c"},
      {"/model/merges/0", " b"},
      {"/model/merges/0", "a "},
      {"/model/merges/0", "a q"},  // "aq" is no token
      {"/model/merges/0", 17},
      {"/model/merges/0", Json::array({"a"})},
      {"/model/merges/0", Json::array({"a", 1})},
      {"/model/merges/1", "a b"},  // twice
      {"/added_tokens", Json::object()},
      {"/added_tokens/0", 1},
      {"/added_tokens/0/id", 300},
      {"/added_tokens/0/id", 97},
      {"/added_tokens/0/id", -1},
      {"/added_tokens/0/content", ""},
      {"/added_tokens/0/content", "a"},
      {"/added_tokens/0/content", 5},
      {"/added_tokens/0/special", 5},
  };
  for (const auto& [path, value] : replacements) {
    Json document = good_document();
    document[Json::json_pointer(path)] = value;
    EXPECT_NE(error_of(document), "no error") << path << value;
  }
  Json document = good_document();
  document["added_tokens"].push_back(document["added_tokens"][0]);
  expect_refused(document, "twice");
  document = good_document();
  document["added_tokens"][0]["id"] = 257;
  document["added_tokens"][0]["content"] = "abc";
  expect_refused(document, "added token");
  document = good_document();
  document["model"]["vocab"].erase("Ġ");
  document["model"]["vocab"]["zz"] = 32;
  expect_refused(document, "byte 0x20");
}

TEST(TokenizerJson, RefusesBadPatterns) {
  for (const char* pattern : {"(", "[a&&b]", "", "\\C"}) {
    Json document = good_document();
    document["pre_tokenizer"] = Json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
    document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern;
    EXPECT_NE(error_of(document), "no error") << pattern;
  }
}

TEST(TokenizerJson, RefusesBrokenText) {
  const std::string good = good_document().dump();
  for (const size_t length : {size_t{0}, size_t{1}, good.size() / 2, good.size() - 1}) {
    EXPECT_THROW(tokenizer_from_json(good.substr(0, length), "tokenizer.json"), Error);
  }
  EXPECT_THROW(tokenizer_from_json("[]", "tokenizer.json"), Error);
  EXPECT_THROW(tokenizer_from_json(R"({"model": {"type": "BPE"}})", "tokenizer.json"), Error);
}

TEST(TokenizerJson, VocabAndMerges) {
  const auto base = load(good_document());
  const BpeSpec& spec = dynamic_cast<BpeTokenizer&>(*base).spec();
  const std::string vocab = bpe_to_vocab_json(spec), merges = bpe_to_merges_text(spec);
  EXPECT_EQ(merges, "#version: 0.2\na b\nab c\n");
  const auto read = [&](const std::string& v, const std::string& m) {
    return tokenizer_from_vocab_and_merges(v, "vocab.json", m, "merges.txt");
  };
  EXPECT_EQ(read(vocab, merges)->hash(), base->hash());
  EXPECT_EQ(read(vocab, "a b\r\nab c")->hash(), base->hash());
  for (const char* bad : {"a b\nab", "a b c\n", "a q\n", "a b\na b\n", "\xFF b\n", " \n"}) {
    try {
      read(vocab, bad);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
    }
  }
  EXPECT_THROW(read("[]", merges), Error);
  EXPECT_THROW(read("{}", merges), Error);
  EXPECT_THROW(read("{\"a\": 0}", "#version: 0.2\n"), Error);
}

TEST(TokenizerJson, RefusesOtherWordLevelModels) {
  const Json good = Json::parse(R"({"added_tokens": [],
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated"},
    "model": {"type": "WordLevel", "vocab": {"a": 0, "日": 1, "<0xFF>": 2}, "unk_token": "?"}})");
  EXPECT_EQ(load(good)->encode("日\xFF"), std::vector<TokenId>({1, 2}));
  const std::vector<std::pair<const char*, Json>> replacements = {
      {"/model/vocab/ab", 3},
      {"/model/vocab/", 3},
      {"/model/vocab/a", 1},
      {"/model/vocab/a", 3},
      {"/model/vocab/a", -1},
      {"/model/vocab/<0x41>", 3},
      {"/model/vocab", Json::object()},
      {"/pre_tokenizer/type", "Whitespace"},
      {"/pre_tokenizer/behavior", "Removed"},
      {"/added_tokens", Json::array({Json{{"id", 3}, {"content", "x"}}})},
  };
  for (const auto& [path, value] : replacements) {
    Json document = good;
    document[Json::json_pointer(path)] = value;
    EXPECT_NE(error_of(document), "no error") << path << value;
  }
}

}  // namespace
}  // namespace llm
