// Small models with weights from a formula, and one training pass over them, for tests of the
// model.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/file.h"
#include "model/gpt.h"

namespace llm::test {

// 2 layers, 3 heads, 48 channels, vocabulary 65, context 32: the model of scripts/golden_model.py.
ModelConfig golden_config();
// With 2 heads of 64 channels, as the kernels of a GPU for whole steps want them.
ModelConfig wide_golden_config();

// The finalizer of splitmix64: well-mixed bits from a counter.
uint64_t mixed(uint64_t index);
// Element `index` of the golden tensor `number`: a 16-bit fraction in [-1, 1).
float golden_fraction(uint64_t number, uint64_t index);
// The weights of scripts/golden_model.py: an eighth of such fractions, around 1 for the weights of
// norms. Adapters are left alone.
void fill_golden_weights(Gpt& model);

// A model folder with these weights and the tokens of bytes; `change` makes the config another one.
void write_byte_model(const fs::path& folder, const std::function<void(ModelConfig&)>& change = {});

// Tokens (B, T) and the targets one later.
struct TokenRows {
  int64_t batch, length;
  std::vector<int32_t> tokens, targets;
};
// The random tokens of scripts/golden_model.py for one step.
TokenRows golden_tokens(int64_t step, int64_t batch, int64_t length, int64_t vocab);

// Device copies of a batch with sample ids 0, 1, ...
class DeviceRows {
 public:
  DeviceRows(Backend& backend, const TokenRows& rows);
  ModelInput input;
  Tensor targets;

 private:
  std::unique_ptr<DeviceMemory> memory_;
};

// Mean cross-entropy over all targets, forward only (through the training path with dropout_seed).
double training_loss(Gpt& model, const TokenRows& rows, uint64_t dropout_seed = 0);
// The same, and the gradients are added to the store's.
double training_loss_and_gradients(Gpt& model, const TokenRows& rows, uint64_t dropout_seed = 0);
// The logits of forward_inference without a cache: (B, T, vocab), padding left out.
std::vector<float> inference_logits(Gpt& model, const TokenRows& rows);

std::vector<float> read_all(const Gpt& model, Tensor arena, int index);

}  // namespace llm::test
