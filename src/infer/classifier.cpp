#include "infer/classifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backend/plan_backend.h"
#include "base/error.h"
#include "data/example_batches.h"

namespace llm {
namespace {

// Rows of (B, T) tokens and what is pooled of each, at `memory`.
ModelInput input_at(void* memory, int64_t batch, int64_t length) {
  auto* next = static_cast<int32_t*>(memory);
  ModelInput input;
  input.pool_begin = Tensor(next, DType::i32, {batch});
  input.pool_end = Tensor(next + batch, DType::i32, {batch});
  input.tokens = Tensor(next + 2 * batch, DType::i32, {batch, length});
  return input;
}

// Logits (B, padded labels) as float32, in the arena.
Tensor run(Gpt& model, ActivationArena& arena, const ModelInput& input) {
  const Tensor hidden = model.forward_inference(arena, input, nullptr);
  const Tensor logits = model.classify(arena, input, hidden, /*training=*/false);
  if (logits.dtype == DType::f32) return logits;
  const Tensor wide = arena.take(DType::f32, {logits.dim(0), logits.dim(1)});
  model.backend().convert(wide, logits);
  return wide;
}

// Takes the scratch of a full batch and returns the bytes of its activations, learnt from a pass
// that computes nothing.
int64_t reserve_for_texts(const Gpt& model, int64_t batch, int64_t longest) {
  constexpr int64_t kUnlimited = int64_t{1} << 60;
  MemoryByPurpose usage;
  const std::unique_ptr<Backend> plan = make_plan_backend(model.backend(), usage);
  Gpt outline(*plan, model.config(), {.dtype = model.dtype()});
  ActivationArena arena(*plan, kUnlimited);
  int32_t never_read = 0;
  run(outline, arena, input_at(&never_read, batch, longest));
  model.backend().reserve_scratch(usage["scratch"]);
  return arena.high_water();
}

void check_ids(std::span<const TokenizedExample> texts, const ModelConfig& config) {
  for (const TokenizedExample& text : texts) {
    for (const TokenId id : text.tokens) {
      if (id >= 0 && id < config.vocab_size) continue;
      fail_input("tokenizer",
                 fmt::format("token {} is beyond the model's vocabulary of {}", id,
                             with_commas(config.vocab_size)),
                 "is it the model's?");
    }
  }
}

// Softmax in float64.
LabelProbabilities probabilities_of(std::span<const float> logits) {
  if (!std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); })) {
    throw Error(ErrorKind::numerics, "model", "its outputs are NaN or infinite",
                "are the weights damaged?");
  }
  const double most = *std::max_element(logits.begin(), logits.end());
  LabelProbabilities result;
  double sum = 0;
  for (const float logit : logits) sum += result.emplace_back(std::exp(logit - most));
  for (double& probability : result) probability /= sum;
  return result;
}

}  // namespace

int32_t likeliest(const LabelProbabilities& probabilities) {
  return static_cast<int32_t>(std::max_element(probabilities.begin(), probabilities.end()) -
                              probabilities.begin());
}

Classifier::Classifier(Gpt& model, int64_t batch, int64_t longest, TokenId pad_id)
    : model_(model),
      batch_(batch),
      longest_(longest),
      pad_id_(pad_id),
      arena_(model.backend(), reserve_for_texts(model, batch, longest)),
      input_memory_(model.backend().allocate(4 * batch * (longest + 2), "batch")),
      logits_(static_cast<size_t>(batch * model.padded_labels())) {
  LLM_ASSERT(model.config().is_classifier());
  LLM_ASSERT(batch > 0 && longest > 0 && longest <= model.config().context, "{}", longest);
}

std::span<const float> Classifier::logits_of(const Batch& batch) {
  Backend& backend = model_.backend();
  const Pooling pooling = model_.config().pooling;
  std::vector<int32_t> begin, end;
  for (const int32_t length : batch.lengths) {
    end.push_back(pooling == Pooling::last ? static_cast<int32_t>(batch.length) : length);
    begin.push_back(pooling == Pooling::mean ? 0 : end.back() - 1);
  }
  const ModelInput input = input_at(input_memory_->data(), batch.batch, batch.length);
  backend.copy_to_device(input.pool_begin, begin.data());
  backend.copy_to_device(input.pool_end, end.data());
  backend.copy_to_device(input.tokens, batch.tokens.data());
  arena_.reset();
  backend.copy_to_host(logits_.data(), run(model_, arena_, input));
  return logits_;
}

std::vector<LabelProbabilities> Classifier::classify(
    std::span<const TokenizedExample> texts, const std::function<void(int64_t done)>& progress) {
  std::vector<LabelProbabilities> results(texts.size());
  if (texts.empty()) return results;
  check_ids(texts, model_.config());
  ExampleBatchOptions options;
  options.batch = std::min(batch_, static_cast<int64_t>(texts.size()));
  options.shuffle = false;
  options.length = model_.config().pooling == Pooling::last ? longest_ : 0;
  options.max_length = longest_;
  options.pad_id = pad_id_;
  ExampleBatches batches(texts, options);
  const auto columns = static_cast<size_t>(model_.padded_labels());
  int64_t done = 0;
  for (int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
    const Batch batch = batches.batch(i);
    const std::span<const float> logits = logits_of(batch);
    for (size_t row = 0; row < batch.sample_ids.size(); ++row) {
      const int64_t text = batch.sample_ids[row];
      if (text < 0) continue;  // padding
      results[static_cast<size_t>(text)] =
          probabilities_of(logits.subspan(row * columns, model_.config().labels.size()));
      ++done;
    }
    if (progress) progress(done);
  }
  return results;
}

}  // namespace llm
