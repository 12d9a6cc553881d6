#include "data/inspect.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/rng.h"
#include "text/unicode.h"

namespace llm {
namespace {

constexpr int64_t kMaxSampleTokens = 100'000;

std::unique_ptr<Tokenizer> find_tokenizer(const InspectOptions& options, const Dataset& dataset) {
  if (!options.tokenizer.empty()) {
    std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(options.tokenizer, options.tokenizer_dir);
    require_same_tokenizer(dataset, tokenizer->hash(), options.tokenizer);
    return tokenizer;
  }
  if (!dataset.directory.empty()) return load_dataset_tokenizer(dataset);
  std::error_code error;
  fs::path folder = options.path.parent_path();
  if (folder.empty()) folder = ".";
  return fs::exists(folder / "tokenizer.json", error) ? load_tokenizer(folder) : nullptr;
}

void count_tokens(const TokenSequence& tokens, std::vector<bool>& seen) {
  std::vector<TokenId> buffer;
  constexpr int64_t kAtOnce = int64_t{1} << 16;
  for (int64_t at = 0; at < tokens.size(); at += kAtOnce) {
    buffer.resize(static_cast<size_t>(std::min(kAtOnce, tokens.size() - at)));
    tokens.read(at, buffer);
    const auto largest = static_cast<size_t>(*std::max_element(buffer.begin(), buffer.end()));
    // Ids above any vocabulary in use are counted as one, so that a damaged file takes no memory.
    constexpr size_t kMostIds = size_t{1} << 24;
    if (seen.size() <= std::min(largest, kMostIds)) seen.resize(std::min(largest, kMostIds) + 1);
    for (const TokenId id : buffer) seen[std::min(static_cast<size_t>(id), kMostIds)] = true;
  }
}

std::string decode_known(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::string text;
  for (const TokenId id : ids) {
    text += id < tokenizer.vocab_size() ? std::string(tokenizer.token_bytes(id))
                                        : fmt::format("<{}>", id);
  }
  return text;
}

}  // namespace

std::string printable_text(std::string_view text) {
  std::string line;
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_utf8(text, at);
    const std::string_view bytes = text.substr(at, static_cast<size_t>(character.length));
    at += bytes.size();
    const char32_t code_point = character.code_point;
    const bool control = code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
    if (bytes == "\n") {
      line += "\\n";
    } else if (bytes == "\t") {
      line += "\\t";
    } else if (bytes == "\\") {
      line += "\\\\";
    } else if (!character.valid || control) {
      for (const char byte : bytes) {
        line += fmt::format("\\x{:02x}", uint32_t{static_cast<unsigned char>(byte)});
      }
    } else {
      line += bytes;
    }
  }
  return line;
}

Inspection inspect_dataset(const InspectOptions& options) {
  if (options.samples < 0) fail_usage("--samples", "must not be negative");
  if (options.sample_tokens < 1 || options.sample_tokens > kMaxSampleTokens) {
    fail_usage("--sample-tokens", fmt::format("{} is outside [1, {}]", options.sample_tokens,
                                              with_commas(kMaxSampleTokens)));
  }
  Inspection result;
  result.dataset = open_dataset(options.path, 0, options.verify);
  const Dataset& dataset = result.dataset;
  const std::unique_ptr<Tokenizer> tokenizer = find_tokenizer(options, dataset);
  if (tokenizer) result.tokenizer_kind = tokenizer->kind();

  std::vector<bool> seen;
  for (const TokenSequence* tokens : {&dataset.train, &dataset.val}) {
    for (const Shard& shard : tokens->shards()) result.mebibytes += shard.blocks();
    if (options.verify) count_tokens(*tokens, seen);
  }
  result.distinct_tokens = std::count(seen.begin(), seen.end(), true);
  result.largest_token = static_cast<TokenId>(seen.size()) - 1;

  RandomSequence random(options.seed, stream_id("inspect"));
  const auto add_sample = [&](const char* split, const TokenSequence& tokens) {
    const int64_t count = std::min(options.sample_tokens, tokens.size());
    if (count == 0) return;
    TokenSample sample{split, 0, {}, {}};
    sample.position =
        static_cast<int64_t>(random.below(static_cast<uint64_t>(tokens.size() - count + 1)));
    sample.ids.resize(static_cast<size_t>(count));
    tokens.read(sample.position, sample.ids);
    if (tokenizer) sample.text = printable_text(decode_known(*tokenizer, sample.ids));
    result.samples.push_back(std::move(sample));
  };
  for (int64_t i = 0; i < options.samples; ++i) add_sample("train", dataset.train);
  if (options.samples > 0) add_sample("val", dataset.val);
  return result;
}

}  // namespace llm
