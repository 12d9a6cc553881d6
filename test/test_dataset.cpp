// open_dataset(): what it gives, and that it refuses every damage before the first step.
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/dataset_writer.h"
#include "data/shard.h"
#include "support/dataset_files.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

// A small dataset of the `bytes` tokenizer with two training shards.
class DatasetTest : public testing::Test {
 protected:
  DatasetTest() {
    const std::unique_ptr<Tokenizer> tokenizer = make_byte_tokenizer();
    SplitWriter train(folder_.path(), "train", 257, 600), val(folder_.path(), "val", 257, 600);
    train.append(counting_tokens(1000, 257));
    val.append(counting_tokens(100, 257));
    SplitRecord train_record{1000, 1, 1000, 1000, train.finish()};
    SplitRecord val_record{100, 1, 100, 99, val.finish()};
    description_ = describe_dataset(*tokenizer, train_record, val_record);
    tokenizer->save(folder_.path());
    save();
  }

  void save() { write_file(folder_ / "dataset.json", to_pretty_text(description_)); }
  void save_raw(const std::string& text) { write_file(folder_ / "dataset.json", text); }
  Dataset open(int64_t vocab_size = 0, bool verify = true) {
    return open_dataset(folder_.path(), vocab_size, verify);
  }
  void expect_refused(const std::string& part) {
    save();
    expect_error(ErrorKind::input, part, [&] { open(); });
    expect_error(ErrorKind::input, folder_.path().string(), [&] { open(); });
  }

  TemporaryDirectory folder_;
  Json description_;
};

TEST_F(DatasetTest, OpensWhatWasWritten) {
  const Dataset dataset = open(257);
  EXPECT_EQ(dataset.name, folder_.path().string());
  EXPECT_EQ(dataset.directory, folder_.path());
  EXPECT_EQ(dataset.vocab_size, 257);
  EXPECT_EQ(dataset.tokenizer_hash, make_byte_tokenizer()->hash());
  EXPECT_EQ(dataset.hash.size(), 64u);
  EXPECT_EQ(dataset.val_bytes, 99);
  EXPECT_EQ(dataset.train.shards().size(), 2u);
  EXPECT_EQ(all_tokens(dataset.train), counting_tokens(1000, 257));
  EXPECT_EQ(all_tokens(dataset.val), counting_tokens(100, 257));
  EXPECT_EQ(load_dataset_tokenizer(dataset)->kind(), "bytes");
}

TEST_F(DatasetTest, HashIsThatOfTheTokens) {
  const std::string hash = open().hash;
  EXPECT_EQ(open(257, false).hash, hash);
  description_["sources"] = "somewhere else";
  save();
  EXPECT_EQ(open().hash, hash);

  std::vector<TokenId> tokens = counting_tokens(100, 257);
  tokens[50] = 0;
  SplitWriter val(folder_.path(), "val", 257, 600);
  val.append(tokens);
  description_["val"] =
      describe_dataset(*make_byte_tokenizer(), {}, {100, 1, 100, 99, val.finish()})["val"];
  save();
  EXPECT_NE(open().hash, hash);
}

TEST_F(DatasetTest, RefusesAnotherVocabularyOrTokenizer) {
  expect_error(ErrorKind::input, "vocabulary of 257 tokens, the model has 256", [&] { open(256); });
  EXPECT_EQ(open(50'257).vocab_size, 257);
  const Dataset dataset = open();
  require_same_tokenizer(dataset, dataset.tokenizer_hash, "the model");
  require_same_tokenizer(dataset, "", "the model");
  expect_error(ErrorKind::input, "but run/ has 0123",
               [&] { require_same_tokenizer(dataset, std::string("0123456789abcdef"), "run/"); });
  make_char_tokenizer("abc")->save(folder_.path());
  expect_error(ErrorKind::input, "the tokenizer in its folder",
               [&] { load_dataset_tokenizer(dataset); });
}

TEST_F(DatasetTest, RefusesDamagedShards) {
  const fs::path shard = folder_ / "train_000001.bin";
  const std::string good = read_text_file(shard);
  const auto refuse = [&](const std::string& bytes, const std::string& part) {
    write_file(shard, bytes);
    expect_error(ErrorKind::input, part, [&] { open(); });
    expect_error(ErrorKind::input, "train_000001.bin", [&] { open(); });
  };
  refuse(good.substr(0, good.size() - 2), "truncated");
  refuse(good + "x", "header says");
  refuse("x" + good.substr(1), "magic");
  std::string flipped = good;
  flipped[1500] = static_cast<char>(flipped[1500] ^ 1);
  refuse(flipped, "checksum");
  EXPECT_EQ(open(0, /*verify=*/false).train.size(), 1000);
  // A shard of the same format with another number of tokens.
  fs::copy_file(folder_ / "val_000000.bin", shard, fs::copy_options::overwrite_existing);
  expect_error(ErrorKind::input, "100 tokens, dataset.json says 400", [&] { open(); });
  fs::remove(shard);
  expect_error(ErrorKind::input, "cannot open", [&] { open(); });
}

TEST_F(DatasetTest, RefusesIdsBeyondTheVocabularyThoughTheChecksumsFit) {
  description_["vocab_size"] = 256;
  expect_refused("token id 256 is beyond the vocabulary of 256");
}

TEST_F(DatasetTest, RefusesBrokenJson) {
  for (const char* text : {"", "{", "[]", "null", "{\"version\": 1, \"version\": 1}", "\xFF\xFE",
                           "{\"version\": 1}"}) {
    save_raw(text);
    expect_error(ErrorKind::input, "dataset.json", [&] { open(); });
  }
  fs::remove(folder_ / "dataset.json");
  expect_error(ErrorKind::input, "has no dataset.json", [&] { open(); });
  expect_error(ErrorKind::input, "no such dataset", [&] { open_dataset("/no/such/folder", 0); });
}

TEST_F(DatasetTest, RefusesWrongVersion) {
  description_["version"] = 2;
  expect_refused("this program knows 1");
}
TEST_F(DatasetTest, RefusesVocabularyOutOfRange) {
  description_["vocab_size"] = 0;
  expect_refused("vocab_size");
}
TEST_F(DatasetTest, RefusesHugeCount) {
  description_["train"]["files"][0]["tokens"] = 18446744073709551615u;
  expect_refused("tokens");
}
TEST_F(DatasetTest, RefusesWrongTotal) {
  description_["train"]["tokens"] = 1001;
  expect_refused("1,001, but the files have 1,000");
}
TEST_F(DatasetTest, RefusesNamesThatLeadOutOfTheFolder) {
  for (const char* name : {"../x.bin", "/etc/passwd", "..", "", "a/b.bin"}) {
    description_["train"]["files"][0]["name"] = name;
    expect_refused("plain file name");
  }
}
TEST_F(DatasetTest, RefusesBadChecksumTexts) {
  for (const char* crcs : {"", "0123", "0123456g", "0123456789abcdef", "ABCDEF01"}) {
    description_["train"]["files"][0]["crc32c_per_mib"] = crcs;
    expect_refused("crc32c_per_mib");
  }
  description_["train"]["files"][0]["crc32c_per_mib"] = 5;
  expect_refused("crc32c_per_mib");
}
TEST_F(DatasetTest, RefusesFilesOfTheWrongType) {
  description_["train"]["files"] = "train_000000.bin";
  expect_refused("files");
}

TEST_F(DatasetTest, OpensABareShard) {
  const fs::path shard = folder_ / "train_000000.bin";
  const Dataset dataset = open_dataset(shard, 300);
  EXPECT_EQ(dataset.train.size(), 600);
  EXPECT_EQ(dataset.val.size(), 0);
  EXPECT_EQ(dataset.vocab_size, 0);
  EXPECT_TRUE(dataset.tokenizer_hash.empty());
  EXPECT_EQ(load_dataset_tokenizer(dataset), nullptr);
  expect_error(ErrorKind::input, "token id 100 is beyond", [&] { open_dataset(shard, 100); });
  // Unverified it is refused where it is read.
  const Dataset unverified = open_dataset(shard, 100, false);
  expect_error(ErrorKind::input, "offset 1,224", [&] { all_tokens(unverified.train); });
  EXPECT_NE(dataset.hash, open_dataset(folder_ / "val_000000.bin", 300).hash);
}

TEST(SplitWriter, CutsShardsExactly) {
  const TemporaryDirectory folder;
  for (const int64_t count : {0, 1, 9, 10, 11, 20, 25}) {
    SplitWriter writer(folder.path(), "part", 50, 10);
    const std::vector<TokenId> tokens = counting_tokens(count, 50);
    for (const TokenId token : tokens) writer.append({&token, 1});
    const std::vector<ShardRecord> records = writer.finish();
    ASSERT_EQ(static_cast<int64_t>(records.size()), (count + 9) / 10);
    std::vector<TokenId> found;
    for (size_t i = 0; i < records.size(); ++i) {
      EXPECT_EQ(records[i].name, fmt::format("part_{:06}.bin", i));
      const Shard shard(folder / records[i].name);
      EXPECT_EQ(shard.tokens(), records[i].tokens);
      std::vector<TokenId> part(static_cast<size_t>(shard.tokens()));
      shard.read(0, part, 50);
      found.insert(found.end(), part.begin(), part.end());
    }
    EXPECT_EQ(found, tokens);
  }
}

}  // namespace
}  // namespace llm::test
