#include "train/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace llm {
namespace {

// Bytes of text of each token.
std::vector<int64_t> text_bytes(const Tokenizer& tokenizer) {
  std::vector<int64_t> bytes;
  bytes.reserve(static_cast<size_t>(tokenizer.vocab_size()));
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    bytes.push_back(static_cast<int64_t>(tokenizer.token_bytes(id).size()));
  }
  for (const SpecialToken& token : tokenizer.special_tokens()) {
    bytes[static_cast<size_t>(token.id)] = 0;
  }
  return bytes;
}

// Where window `index` ends if the text goes on.
int64_t end_of(const WindowOptions& options, int64_t index) {
  const bool apart = options.stride == options.context;
  return index * options.stride + options.context + (apart ? 1 : 0);
}

ScoredText read_window(const TokenText& text, const Window& window) {
  std::vector<TokenId> tokens(static_cast<size_t>(window.end - window.begin));
  text.read(window.begin, tokens);
  ScoredText scored;
  scored.targets.assign(tokens.begin() + (window.first - window.begin), tokens.end());
  tokens.pop_back();
  scored.tokens = std::move(tokens);
  return scored;
}

}  // namespace

Window window_at(const WindowOptions& options, int64_t tokens, int64_t index) {
  LLM_ASSERT(options.stride >= 1 && options.stride <= options.context && index >= 0);
  const int64_t first = index == 0 ? 1 : std::min(tokens, end_of(options, index - 1));
  return {index * options.stride, first, std::max(first, std::min(tokens, end_of(options, index)))};
}

int64_t count_windows(const WindowOptions& options, int64_t tokens) {
  if (tokens < 2) return 0;
  const int64_t first_end = end_of(options, 0);
  if (tokens <= first_end) return 1;
  return 1 + (tokens - first_end + options.stride - 1) / options.stride;
}

double TextScore::loss() const { return tokens > 0 ? loss_sum / static_cast<double>(tokens) : 0; }

double TextScore::perplexity() const { return tokens > 0 ? std::exp(loss()) : 0; }

double TextScore::bits_per_byte() const {
  return bytes > 0 ? loss_sum / std::log(2.0) / static_cast<double>(bytes) : 0;
}

TextScore score_text(TokenScorer& scorer, const Tokenizer& tokenizer, const TokenText& text,
                     const WindowOptions& options, const ScoreProgress& progress) {
  LLM_ASSERT(scorer.length() >= options.context);
  const std::vector<int64_t> bytes = text_bytes(tokenizer);
  const int64_t windows = count_windows(options, text.size);
  TextScore score;
  for (int64_t at = 0; at < windows; at += scorer.batch()) {
    std::vector<ScoredText> batch;
    for (int64_t i = at; i < std::min(windows, at + scorer.batch()); ++i) {
      batch.push_back(read_window(text, window_at(options, text.size, i)));
    }
    const std::vector<std::vector<float>> losses = scorer.losses(batch);
    for (size_t i = 0; i < batch.size(); ++i) {
      for (const float loss : losses[i]) score.loss_sum += loss;
      score.tokens += static_cast<int64_t>(losses[i].size());
      for (const TokenId id : batch[i].targets) {
        if (id < tokenizer.vocab_size()) score.bytes += bytes[static_cast<size_t>(id)];
      }
    }
    if (progress) progress(score);
  }
  return score;
}

}  // namespace llm
