#include "data/dataset_writer.h"

#include <algorithm>

#include "base/error.h"

namespace llm {
namespace {

// The checksums of a file as one string, eight hex digits per MiB: short enough to be looked at.
std::string crcs_to_text(std::span<const uint32_t> crcs) {
  std::string text;
  for (const uint32_t crc : crcs) text += fmt::format("{:08x}", crc);
  return text;
}

Json describe_split(const SplitRecord& split) {
  Json files = Json::array();
  for (const ShardRecord& file : split.files) {
    files.push_back(Json{
        {"name", file.name}, {"tokens", file.tokens}, {"crc32c_per_mib", crcs_to_text(file.crcs)}});
  }
  return Json{{"tokens", split.tokens},
              {"documents", split.documents},
              {"characters", split.characters},
              {"bytes", split.bytes},
              {"files", std::move(files)}};
}

}  // namespace

SplitWriter::SplitWriter(fs::path directory, std::string prefix, int64_t vocab_size,
                         int64_t shard_tokens)
    : directory_(std::move(directory)),
      prefix_(std::move(prefix)),
      vocab_size_(vocab_size),
      shard_tokens_(shard_tokens) {
  LLM_ASSERT(shard_tokens_ > 0 && shard_tokens_ <= kMaxShardTokens);
}

void SplitWriter::append(std::span<const TokenId> tokens) {
  tokens_ += static_cast<int64_t>(tokens.size());
  while (!tokens.empty()) {
    if (!shard_) {
      name_ = fmt::format("{}_{:06}.bin", prefix_, records_.size());
      shard_ = std::make_unique<ShardWriter>(directory_ / name_, vocab_size_);
    }
    const auto room = static_cast<size_t>(shard_tokens_ - shard_->tokens());
    const size_t count = std::min(tokens.size(), room);
    shard_->append(tokens.first(count));
    tokens = tokens.subspan(count);
    if (count == room) finish_shard();
  }
}

void SplitWriter::finish_shard() {
  const int64_t tokens = shard_->tokens();
  records_.push_back({name_, tokens, shard_->finish()});
  shard_.reset();
}

std::vector<ShardRecord> SplitWriter::finish() {
  if (shard_) finish_shard();
  return std::move(records_);
}

Json describe_dataset(const Tokenizer& tokenizer, const SplitRecord& train,
                      const SplitRecord& val) {
  Json description{{"format", "llm dataset"}, {"version", kDatasetVersion}};
  description["vocab_size"] = tokenizer.vocab_size();
  Json& about = description["tokenizer"];
  about["kind"] = tokenizer.kind();
  about["sha256"] = tokenizer.hash();
  const std::optional<TokenId> end_of_text = tokenizer.end_of_text();
  about["end_of_text"] = end_of_text ? Json(*end_of_text) : Json(nullptr);
  description["train"] = describe_split(train);
  description["val"] = describe_split(val);
  return description;
}

}  // namespace llm
