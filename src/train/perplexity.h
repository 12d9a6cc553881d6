// How well a model predicts a text: loss, perplexity and bits per byte with a sliding window.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "text/tokenizer.h"
#include "train/token_scorer.h"

namespace llm {

// A text of `size` tokens; read() fills the span with the tokens from `begin` on.
struct TokenText {
  int64_t size = 0;
  std::function<void(int64_t begin, std::span<TokenId> into)> read;
};

// Windows of `context` tokens begin every `stride` tokens. Every token but the first of the text is
// predicted once, in the first window that holds it, from all that the window has before it. Where
// windows do not overlap (stride = context), the first token of a window is predicted by the window
// before it: the windows that training evaluates.
struct WindowOptions {
  int64_t context = 1024, stride = 1024;  // 1 <= stride <= context
};

// One window: it holds tokens [begin, end) and predicts [first, end).
struct Window {
  int64_t begin, first, end;
};
// Window number `index`, or one that predicts nothing behind the last.
Window window_at(const WindowOptions& options, int64_t tokens, int64_t index);
int64_t count_windows(const WindowOptions& options, int64_t tokens);

struct TextScore {
  int64_t tokens = 0;   // predicted
  int64_t bytes = 0;    // of their text; special tokens are no text
  double loss_sum = 0;  // natural logarithm
  double loss() const;  // mean per token
  double perplexity() const;
  double bits_per_byte() const;  // 0 where there are no bytes
};

// Called after each batch with what was predicted so far.
using ScoreProgress = std::function<void(const TextScore& so_far)>;

// scorer.length() must be at least the context. Throws Error{numerics} and Error{input} as the
// scorer does; a text of fewer than two tokens gives no tokens.
TextScore score_text(TokenScorer& scorer, const Tokenizer& tokenizer, const TokenText& text,
                     const WindowOptions& options, const ScoreProgress& progress = {});

}  // namespace llm
