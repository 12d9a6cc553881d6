// Opening datasets: everything that can be checked is checked here, before the first step.
#include <algorithm>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/parallel.h"
#include "data/dataset_writer.h"
#include "data/shard.h"

namespace llm {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 60;

struct OpenSplit {
  std::vector<Shard> shards;
  std::vector<std::vector<uint32_t>> crcs;  // by shard
};

std::vector<uint32_t> parse_crcs(const JsonObject& file) {
  const std::string text = file.text("crc32c_per_mib");
  if (text.size() % 8 != 0) file.fail("crc32c_per_mib", "expected 8 hex digits per MiB");
  std::vector<uint32_t> crcs;
  for (size_t at = 0; at < text.size(); at += 8) {
    uint32_t crc = 0;
    for (const char c : text.substr(at, 8)) {
      const bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
      if (!digit && !letter) file.fail("crc32c_per_mib", "expected lower-case hex digits");
      crc = crc * 16 + static_cast<uint32_t>(digit ? c - '0' : c - 'a' + 10);
    }
    crcs.push_back(crc);
  }
  return crcs;
}

// Names from a file must not lead out of its folder.
std::string plain_file_name(const JsonObject& file) {
  std::string name = file.text("name");
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
    file.fail("name", fmt::format("\"{}\" is not a plain file name", name));
  }
  return name;
}

OpenSplit open_split(const JsonObject& split, const fs::path& directory) {
  OpenSplit result;
  int64_t total = 0;
  for (const Json& entry : split.array("files")) {
    const JsonObject file(entry, split.where() + ": files");
    const std::string name = plain_file_name(file);
    const int64_t tokens = file.integer("tokens", 0, kMaxShardTokens);
    const Shard& shard = result.shards.emplace_back(directory / name);
    result.crcs.push_back(parse_crcs(file));
    if (shard.tokens() != tokens) {
      fail_input(shard.path().string(),
                 fmt::format("{} tokens, dataset.json says {}", with_commas(shard.tokens()),
                             with_commas(tokens)),
                 "the file is not the one that dataset.json describes: prepare the data again");
    }
    if (static_cast<int64_t>(result.crcs.back().size()) != shard.blocks()) {
      file.fail("crc32c_per_mib", fmt::format("{} checksums for {} MiB of {}",
                                              result.crcs.back().size(), shard.blocks(), name));
    }
    total += tokens;
  }
  const int64_t expected = split.integer("tokens", 0, kMaxCount);
  if (total != expected) {
    split.fail("tokens",
               fmt::format("{}, but the files have {}", with_commas(expected), with_commas(total)));
  }
  return result;
}

// All MiBs of some shards, looked at in parallel.
void for_each_block(const std::vector<const Shard*>& shards,
                    const std::function<void(size_t shard, int64_t block)>& body) {
  std::vector<std::pair<size_t, int64_t>> work;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (int64_t block = 0; block < shards[i]->blocks(); ++block) work.emplace_back(i, block);
  }
  parallel_for(static_cast<int64_t>(work.size()), thread_count(), [&](int64_t i) {
    const auto& [shard, block] = work[static_cast<size_t>(i)];
    body(shard, block);
  });
}

void verify_split(const OpenSplit& split, int64_t vocab_size) {
  std::vector<const Shard*> shards;
  for (const Shard& shard : split.shards) shards.push_back(&shard);
  for_each_block(shards, [&](size_t shard, int64_t block) {
    shards[shard]->verify_block(block, split.crcs[shard][static_cast<size_t>(block)]);
    shards[shard]->check_block_ids(block, vocab_size);
  });
}

// What identifies the tokens: tokenizer, and size and checksums of every shard in order.
std::string identity(const Dataset& dataset, const OpenSplit& train, const OpenSplit& val) {
  Sha256 hash;
  hash.update(fmt::format("llm dataset 1\n{} {}\n", dataset.vocab_size, dataset.tokenizer_hash));
  for (const auto* split : {&train, &val}) {
    hash.update(split == &train ? "train\n" : "val\n");
    for (size_t i = 0; i < split->shards.size(); ++i) {
      hash.update(fmt::format("{} {}\n", split->shards[i].tokens(), split->shards[i].wide()));
      hash.update(std::as_bytes(std::span(split->crcs[i])));
    }
  }
  return hash.hex_digest();
}

Dataset open_folder(const fs::path& path, int64_t expected_vocab_size, bool verify) {
  const fs::path json_path = path / kDatasetFile;
  std::error_code error;
  if (!fs::exists(json_path, error)) {
    fail_input(path.string(), "has no dataset.json",
               "a dataset folder is made by `llm data prepare`, which writes that file last: "
               "was it interrupted?");
  }
  Dataset dataset;
  dataset.name = path.string();
  dataset.directory = path;
  dataset.description = read_json_file(json_path);
  const JsonObject root(dataset.description, json_path.string());
  const int64_t version = root.integer("version", 1, kMaxCount);
  if (version > kDatasetVersion) {
    root.fail("version", fmt::format("{}, this program knows {}", version, kDatasetVersion));
  }
  dataset.vocab_size = root.integer("vocab_size", 1, kMaxShardTokens);
  dataset.tokenizer_hash = root.object("tokenizer").text("sha256");
  if (expected_vocab_size > 0 && dataset.vocab_size > expected_vocab_size) {
    fail_input(json_path.string(),
               fmt::format("made with a vocabulary of {} tokens, the model has {}",
                           with_commas(dataset.vocab_size), with_commas(expected_vocab_size)),
               "prepare the data with the model's tokenizer, or train a model of this vocabulary");
  }
  const JsonObject train_record = root.object("train"), val_record = root.object("val");
  OpenSplit train = open_split(train_record, path), val = open_split(val_record, path);
  dataset.val_bytes = val_record.integer("bytes", 0, kMaxCount, 0);
  dataset.hash = identity(dataset, train, val);
  if (verify) {
    verify_split(train, dataset.vocab_size);
    verify_split(val, dataset.vocab_size);
  }
  dataset.train = TokenSequence(std::move(train.shards), dataset.vocab_size);
  dataset.val = TokenSequence(std::move(val.shards), dataset.vocab_size);
  return dataset;
}

Dataset open_bare_shard(const fs::path& path, int64_t expected_vocab_size, bool verify) {
  log_warning(
      fmt::format("{}: a bare shard carries no checksums, and nothing says which tokenizer made it",
                  path.string()));
  Dataset dataset;
  dataset.name = path.string();
  OpenSplit train;
  const Shard& shard = train.shards.emplace_back(path);
  train.crcs.emplace_back(static_cast<size_t>(shard.blocks()));
  for_each_block({&shard}, [&](size_t, int64_t block) {
    train.crcs[0][static_cast<size_t>(block)] = shard.block_crc(block);
    if (verify) shard.check_block_ids(block, expected_vocab_size);
  });
  dataset.hash = identity(dataset, train, {});
  dataset.train = TokenSequence(std::move(train.shards), expected_vocab_size);
  return dataset;
}

}  // namespace

Dataset open_dataset(const fs::path& path, int64_t expected_vocab_size, bool verify) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    fail_input(path.string(), "no such dataset",
               "give a folder made by `llm data prepare`, or a .bin shard");
  }
  return with_hint("damaged or incomplete: write the dataset again with `llm data prepare`", [&] {
    return fs::is_directory(status) ? open_folder(path, expected_vocab_size, verify)
                                    : open_bare_shard(path, expected_vocab_size, verify);
  });
}

void require_same_tokenizer(const Dataset& dataset, const std::string& tokenizer_hash,
                            const std::string& owner) {
  if (dataset.tokenizer_hash.empty() || tokenizer_hash.empty()) return;
  if (dataset.tokenizer_hash == tokenizer_hash) return;
  fail_input(dataset.name,
             fmt::format("made with the tokenizer {:.12}, but {} has {:.12}",
                         dataset.tokenizer_hash, owner, tokenizer_hash),
             "prepare the data again with that tokenizer");
}

std::unique_ptr<Tokenizer> load_dataset_tokenizer(const Dataset& dataset) {
  if (dataset.directory.empty()) return nullptr;
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(dataset.directory);
  require_same_tokenizer(dataset, tokenizer->hash(), "the tokenizer in its folder");
  return tokenizer;
}

}  // namespace llm
