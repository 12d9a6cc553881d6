#include "data/document_encoder.h"

#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"

namespace llm {

DocumentEncoder::DocumentEncoder(const Tokenizer& tokenizer, int threads, bool allow_special,
                                 Sink sink, size_t batch_bytes)
    : tokenizer_(tokenizer),
      threads_(threads),
      allow_special_(allow_special),
      sink_(std::move(sink)),
      batch_bytes_(batch_bytes),
      open_limit_(batch_bytes) {}

void DocumentEncoder::add(std::string_view part) {
  open_ += part;
  if (open_.size() < open_limit_) return;
  encode_gathered();
  encode_open_prefix();
}

void DocumentEncoder::encode_open_prefix() {
  if (!open_begun_) begin_document();
  open_begun_ = true;
  const size_t covered = tokenizer_.encode_prefix(open_, ids_, threads_, allow_special_);
  open_.erase(0, covered);
  emit();
  // A long piece that cannot be cut yet: wait for much more, so that the time stays linear.
  open_limit_ = std::max(batch_bytes_, 2 * open_.size());
  if (open_.size() < kMaxUncut) return;
  fail_input("",
             fmt::format("{} bytes of text without a place where the tokenizer could cut",
                         with_commas(static_cast<long long>(open_.size()))),
             "is this text? A run of one kind of character that long cannot be learned from");
}

void DocumentEncoder::end_document() {
  if (open_begun_ || open_.size() >= batch_bytes_ / 8) {
    // Long enough to be encoded by all threads on its own.
    if (!open_begun_) {
      encode_gathered();
      begin_document();
    }
    tokenizer_.encode_parallel(open_, ids_, threads_, allow_special_);
    emit();
    open_.clear();
    open_begun_ = false;
    open_limit_ = batch_bytes_;
    return;
  }
  gathered_bytes_ += open_.size();
  gathered_.push_back(std::move(open_));
  open_.clear();
  // Very many very short documents count as well.
  if (gathered_bytes_ >= batch_bytes_ || gathered_.size() >= batch_bytes_ / 64) encode_gathered();
}

void DocumentEncoder::encode_gathered() {
  // A few groups of documents per thread: long enough to be worth a call, short enough to balance.
  const size_t group_bytes = gathered_bytes_ / (static_cast<size_t>(threads_) * 8) + 1;
  std::vector<size_t> starts{0};
  size_t bytes = 0;
  for (size_t i = 0; i < gathered_.size(); ++i) {
    bytes += gathered_[i].size();
    if (bytes < group_bytes && i + 1 < gathered_.size()) continue;
    starts.push_back(i + 1);
    bytes = 0;
  }
  std::vector<std::vector<TokenId>> groups(starts.size() - 1);
  std::vector<std::vector<size_t>> lengths(groups.size());
  parallel_for(static_cast<int64_t>(groups.size()), threads_, [&](int64_t index) {
    const auto group = static_cast<size_t>(index);
    for (size_t i = starts[group]; i < starts[group + 1]; ++i) {
      tokenizer_.encode(gathered_[i], groups[group], allow_special_);
      lengths[group].push_back(groups[group].size());
    }
  });
  for (size_t group = 0; group < groups.size(); ++group) {
    size_t from = 0;
    for (const size_t to : lengths[group]) {
      begin_document();
      ids_.insert(ids_.end(), groups[group].begin() + static_cast<std::ptrdiff_t>(from),
                  groups[group].begin() + static_cast<std::ptrdiff_t>(to));
      from = to;
    }
    emit();
  }
  gathered_.clear();
  gathered_bytes_ = 0;
}

void DocumentEncoder::begin_document() {
  const std::optional<TokenId> end_of_text = tokenizer_.end_of_text();
  if (any_document_ && end_of_text) ids_.push_back(*end_of_text);
  any_document_ = true;
}

void DocumentEncoder::emit() {
  if (!ids_.empty()) sink_(ids_);
  ids_.clear();
}

void DocumentEncoder::finish() {
  LLM_ASSERT(open_.empty() && !open_begun_);
  encode_gathered();
}

}  // namespace llm
