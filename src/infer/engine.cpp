#include "infer/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "infer/device_steps.h"
#include "infer/text_stream.h"

namespace llm {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Sequences that run together where nobody says how many.
constexpr int64_t kHostBatch = 16, kDeviceBatch = 64;

// How much of a full context a sliding window keeps.
int64_t kept_context(int64_t context) { return std::max<int64_t>(1, context / 2); }

// That prompts and what follows them take.
int64_t needed_context(const Gpt& model, const GenerateOptions& options,
                       std::span<const std::vector<TokenId>> prompts) {
  size_t longest = 0;
  for (const auto& prompt : prompts) longest = std::max(longest, prompt.size());
  return std::min(model.config().context, static_cast<int64_t>(longest) + options.max_tokens);
}

struct Sequence {
  int64_t sample;
  std::vector<TokenId> tokens;  // prompt and continuation
  size_t prompt_size;
  Sampler sampler;
  TextStream stream;
  Generation result;
  bool done = false;
};

// Sequences that run together, from their prompts to their ends.
class PromptBatch {
 public:
  // decoder: of as many sequences as there are prompts.
  PromptBatch(const Gpt& model, const Tokenizer& tokenizer, const GenerateOptions& options,
              const Engine::TextSink& sink, std::span<const std::vector<TokenId>> prompts,
              int64_t first_sample, Decoder& decoder)
      : model_(model), tokenizer_(tokenizer), options_(options), sink_(sink), decoder_(decoder) {
    int64_t sample = first_sample;
    for (const std::vector<TokenId>& prompt : prompts) {
      sequences_.push_back({sample, prompt, prompt.size(),
                            Sampler(options.sampler, options.seed, static_cast<uint64_t>(sample)),
                            TextStream(options.stop), Generation{}});
      ++sample;
    }
  }

  void prefill(GenerateFigures& figures) {
    const auto start = Clock::now();
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const std::vector<TokenId>& prompt = sequences_[s].tokens;
      const auto same =
          std::find_if(sequences_.begin(), sequences_.begin() + static_cast<std::ptrdiff_t>(s),
                       [&](const Sequence& earlier) { return earlier.tokens == prompt; });
      const auto earlier = static_cast<size_t>(same - sequences_.begin());
      if (earlier < s) {
        decoder_.copy(static_cast<int64_t>(s), static_cast<int64_t>(earlier));
        continue;
      }
      const std::span<const TokenId> read = window(prompt, decoder_.context());
      int64_t count = std::ssize(read);
      if (options_.keep_cache) {
        count = decoder_.extend(read);
      } else {
        decoder_.prefill(static_cast<int64_t>(s), read);
      }
      figures.prefill_tokens += count;
      figures.cached_tokens += std::ssize(read) - count;
    }
    figures.prefill_seconds += seconds_since(start);
  }

  void decode(GenerateFigures& figures) {
    const auto start = Clock::now();
    stays_on_device() ? decode_on_device(figures) : decode_on_host(figures);
    figures.decode_seconds += seconds_since(start);
  }

  std::vector<Sequence>& sequences() { return sequences_; }

 private:
  // Whether the device can go on by itself: nobody looks at logits, and no context slides.
  bool stays_on_device() const {
    if (model_.backend().is_host() || options_.logprobs > 0 || options_.max_tokens == 0) {
      return false;
    }
    return std::all_of(sequences_.begin(), sequences_.end(), [&](const Sequence& sequence) {
      const auto size = static_cast<int64_t>(sequence.tokens.size());
      return size <= decoder_.context() && (options_.overflow == ContextOverflow::stop ||
                                            size + options_.max_tokens <= decoder_.context());
    });
  }

  void decode_on_device(GenerateFigures& figures) {
    std::vector<std::span<const TokenId>> histories;
    std::vector<uint64_t> streams;
    for (const Sequence& sequence : sequences_) {
      histories.emplace_back(sequence.tokens);
      streams.push_back(Sampler::stream_of(static_cast<uint64_t>(sequence.sample)));
    }
    DeviceSteps steps(decoder_, options_.sampler, options_.seed, histories, streams, drawn_vocab());
    // One step ahead: the device goes on while the host looks at the last tokens.
    steps.queue();
    for (int64_t number = 0; number < options_.max_tokens; ++number) {
      if (number + 1 < options_.max_tokens) steps.queue();
      const std::vector<TokenId> drawn = steps.take();
      bool any = false;
      for (size_t s = 0; s < sequences_.size(); ++s) {
        if (sequences_[s].done) continue;
        if (drawn[s] < 0) {
          throw Error(ErrorKind::numerics, "sampling",
                      "a logit is NaN or infinite, or no token has a finite one",
                      "the model's weights or activations are not finite");
        }
        ++figures.decode_tokens;
        any = accept(sequences_[s], drawn[s], {}) >= 0 || any;
      }
      if (!any) break;
    }
    for (size_t s = 0; s < sequences_.size(); ++s) {
      decoder_.end_device_steps(static_cast<int64_t>(s), sequences_[s].tokens);
    }
  }

  void decode_on_host(GenerateFigures& figures) {
    while (true) {
      std::vector<TokenId> next(sequences_.size(), -1);
      bool any = false;
      for (size_t s = 0; s < sequences_.size(); ++s) {
        if (sequences_[s].done) continue;
        next[s] = advance(static_cast<int64_t>(s), sequences_[s], figures);
        any = any || next[s] >= 0;
      }
      if (!any) break;
      decoder_.step(next);
    }
  }

  // Neither padding nor what the tokenizer has no text for.
  int64_t drawn_vocab() const {
    return std::min(model_.config().vocab_size, static_cast<int64_t>(tokenizer_.vocab_size()));
  }

  // All of the tokens if they fit, else the last ones that a sliding window keeps.
  static std::span<const TokenId> window(std::span<const TokenId> tokens, int64_t context) {
    if (static_cast<int64_t>(tokens.size()) <= context) return tokens;
    return tokens.last(static_cast<size_t>(kept_context(context)));
  }

  // Draws the next token of a sequence and returns it if the model has to read it, -1 at the end.
  TokenId advance(int64_t index, Sequence& sequence, GenerateFigures& figures) {
    const auto number = static_cast<int64_t>(sequence.result.ids.size());
    if (number >= options_.max_tokens) return finish(sequence, FinishReason::length);
    const std::span<const float> logits =
        decoder_.logits(index).first(static_cast<size_t>(drawn_vocab()));
    const TokenId id =
        sequence.sampler.draw(logits, sequence.tokens, static_cast<uint64_t>(number));
    ++figures.decode_tokens;
    const TokenId next = accept(sequence, id, logits);
    if (next >= 0 && decoder_.length(index) >= decoder_.context()) slide(index, sequence);
    return next;
  }

  // Takes a drawn token into the text. Returns it if the model has to read it, -1 at the end.
  //   logits: only where logprobs are wanted
  TokenId accept(Sequence& sequence, TokenId id, std::span<const float> logits) {
    if ((!options_.ignore_end_of_text && ends_text(id)) || is_stop(id)) {
      return finish(sequence, FinishReason::end_of_text);
    }
    if (options_.logprobs > 0) {
      sequence.result.reports.push_back(
          {logprob_of(logits, id), top_logprobs(logits, options_.logprobs)});
    }
    sequence.tokens.push_back(id);
    sequence.result.ids.push_back(id);
    emit(sequence, sequence.stream.append(tokenizer_.token_bytes(id)));
    if (sequence.stream.stopped()) {
      drop_tokens_behind_text(sequence.result);
      return finish(sequence, FinishReason::stop_string);
    }
    if (std::ssize(sequence.result.ids) == options_.max_tokens) {
      return finish(sequence, FinishReason::length);
    }
    if (options_.interrupted && options_.interrupted()) {
      return finish(sequence, FinishReason::interrupted);
    }
    // The token itself is not in the cache yet.
    const bool full = std::ssize(sequence.tokens) > decoder_.context();
    if (full && options_.overflow == ContextOverflow::stop) {
      return finish(sequence, FinishReason::context);
    }
    return id;
  }

  // Reads what is kept of a full context again, but for its last token, which the next step reads.
  void slide(int64_t index, const Sequence& sequence) {
    const auto kept = static_cast<size_t>(kept_context(decoder_.context()));
    decoder_.prefill(index, std::span(sequence.tokens).last(kept).first(kept - 1));
  }

  bool ends_text(TokenId id) const {
    return id == tokenizer_.end_of_text() || id == model_.config().eos_token_id;
  }

  bool is_stop(TokenId id) const {
    return std::find(options_.stop_ids.begin(), options_.stop_ids.end(), id) !=
           options_.stop_ids.end();
  }

  // A stop string has cut the text: its tokens go too.
  void drop_tokens_behind_text(Generation& result) const {
    size_t needed = 0, bytes = 0;
    while (bytes < result.text.size()) bytes += tokenizer_.token_bytes(result.ids[needed++]).size();
    result.ids.resize(needed);
    if (!result.reports.empty()) result.reports.resize(needed);
  }

  void emit(Sequence& sequence, const std::string& text) {
    sequence.result.text += text;
    if (sink_ && !text.empty()) sink_(sequence.sample, text);
  }

  TokenId finish(Sequence& sequence, FinishReason reason) {
    emit(sequence, sequence.stream.finish());
    sequence.result.reason = reason;
    sequence.done = true;
    if (sink_) sink_(sequence.sample, {});
    return -1;
  }

  const Gpt& model_;
  const Tokenizer& tokenizer_;
  const GenerateOptions& options_;
  const Engine::TextSink& sink_;
  Decoder& decoder_;
  std::vector<Sequence> sequences_;
};

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::length:
      return "length";
    case FinishReason::end_of_text:
      return "end_of_text";
    case FinishReason::stop_string:
      return "stop_string";
    case FinishReason::context:
      return "context";
    case FinishReason::interrupted:
      return "interrupted";
  }
  return "";
}

Engine::Engine(Gpt& model, const Tokenizer& tokenizer) : model_(model), tokenizer_(tokenizer) {}

void Engine::check_prompt(std::span<const TokenId> prompt, const GenerateOptions& options) const {
  const ModelConfig& config = model_.config();
  if (prompt.empty()) fail_usage("prompt", "has no tokens");
  const auto size = static_cast<int64_t>(prompt.size());
  if (size > config.context && options.overflow == ContextOverflow::stop) {
    fail_usage("prompt",
               fmt::format("{} tokens, but the model's context is {}", with_commas(size),
                           with_commas(config.context)),
               "shorten it, or give --context-overflow slide to read only its end");
  }
  for (TokenId id : prompt) {
    if (id >= 0 && id < config.vocab_size) continue;
    fail_input("prompt",
               fmt::format("token {} is beyond the model's vocabulary of {}", id,
                           with_commas(config.vocab_size)),
               "this is not the model's tokenizer");
  }
}

// Of the whole context: the next prompt may be any.
Decoder& Engine::conversation() {
  if (!conversation_) {
    conversation_ = std::make_unique<Decoder>(model_, 1, model_.config().context);
  }
  return *conversation_;
}

int64_t Engine::batch_of(const GenerateOptions& options, int64_t context) const {
  const Backend& backend = model_.backend();
  if (options.batch_invariant && !backend.is_host() && !Decoder::has_step_kernel(model_)) return 1;
  if (options.max_batch > 0) return options.max_batch;
  if (backend.is_host()) return kHostBatch;
  const int64_t bytes = KvCache::sequence_bytes(model_.config(), context, model_.dtype());
  return std::clamp<int64_t>(backend.memory_total() / 4 / bytes, 1, kDeviceBatch);
}

std::vector<Generation> Engine::generate(std::span<const std::vector<TokenId>> prompts,
                                         const GenerateOptions& options, const TextSink& sink) {
  validate(options.sampler);
  LLM_ASSERT(options.max_tokens >= 0 && options.max_batch >= 0);
  LLM_ASSERT(!options.keep_cache || prompts.size() == 1, "{} prompts", prompts.size());
  for (const auto& prompt : prompts) check_prompt(prompt, options);
  figures_ = {};
  std::vector<Generation> results;
  const auto most =
      static_cast<size_t>(batch_of(options, needed_context(model_, options, prompts)));
  const size_t batches = (prompts.size() + most - 1) / most;
  for (size_t i = 0; i < batches; ++i) {
    const size_t begin = prompts.size() * i / batches, end = prompts.size() * (i + 1) / batches;
    const auto together = prompts.subspan(begin, end - begin);
    std::optional<Decoder> own;
    if (!options.keep_cache) {
      own.emplace(model_, std::ssize(together), needed_context(model_, options, together),
                  options.batch_invariant);
    }
    PromptBatch batch(model_, tokenizer_, options, sink, together, static_cast<int64_t>(begin),
                      own ? *own : conversation());
    batch.prefill(figures_);
    batch.decode(figures_);
    for (Sequence& sequence : batch.sequences()) results.push_back(std::move(sequence.result));
  }
  return results;
}

}  // namespace llm
