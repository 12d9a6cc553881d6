#include "support/small_model.h"

#include "base/error.h"
#include "cpu_ref/cpu_backend.h"
#include "text/tokenizer.h"
#include "weights/model_folder.h"

namespace llm::test {
namespace {

constexpr int64_t kArenaBytes = int64_t{64} << 20;

float download(Backend& backend, Tensor scalar) {
  float value = 0;
  backend.copy_to_host(&value, scalar);
  return value;
}

double run_training(Gpt& model, const TokenRows& rows, uint64_t dropout_seed, bool backward) {
  Backend& backend = model.backend();
  ActivationArena arena(backend, kArenaBytes);
  const DeviceRows device(backend, rows);
  const int64_t count = rows.batch * rows.length, C = model.config().channels;
  int64_t valid = 0;
  for (int32_t target : rows.targets) valid += target >= 0;

  const Tensor loss = arena.take(DType::f32, {1});
  const Tensor scale = arena.take(DType::f32, {1});
  backend.fill(loss, 0);
  backend.fill(scale, 1.0 / static_cast<double>(valid));
  const Tensor hidden = model.forward(arena, device.input, dropout_seed);
  const Tensor logits = arena.take(DType::f32, {count, model.padded_vocab()});
  const Tensor losses = arena.take(DType::f32, {count});
  model.head_forward(logits, hidden.view({count, C}));
  backend.cross_entropy_forward_backward(losses, logits, device.targets, model.config().vocab_size,
                                         scale);
  backend.accumulate_sum(loss, losses, scale);
  const double result = download(backend, loss);
  if (!backward) return result;
  const Tensor dhidden = arena.take(DType::f32, {rows.batch, rows.length, C});
  model.head_backward(dhidden.view({count, C}), logits, hidden.view({count, C}));
  model.backward(arena, device.input, dhidden);
  return result;
}

}  // namespace

ModelConfig golden_config() {
  ModelConfig config;
  config.layers = 2;
  config.heads = config.kv_heads = 3;
  config.channels = 48;
  config.hidden = 192;
  config.context = 32;
  config.vocab_size = 65;
  return config;
}

ModelConfig wide_golden_config() {
  ModelConfig config = golden_config();
  config.channels = 128, config.heads = config.kv_heads = 2, config.hidden = 512;
  return config;
}

uint64_t mixed(uint64_t index) {
  uint64_t z = index * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

float golden_fraction(uint64_t number, uint64_t index) {
  return static_cast<float>(mixed(index + ((number + 1) << 32)) >> 48) / 32768.0f - 1.0f;
}

void fill_golden_weights(Gpt& model) {
  ParameterStore& store = model.parameters();
  uint64_t number = 0;
  for (size_t index = 0; index < store.parameters().size(); ++index) {
    const Parameter& parameter = store.parameters()[index];
    if (parameter.adapter) continue;
    const float center = parameter.init == Init::ones ? 1.0f : 0.0f;
    std::vector<float> host(static_cast<size_t>(parameter.size()));
    for (size_t i = 0; i < host.size(); ++i) {
      host[i] = center + 0.125f * golden_fraction(number, i);
    }
    store.write(static_cast<int>(index), store.values(), host);
    ++number;
  }
}

void write_byte_model(const fs::path& folder, const std::function<void(ModelConfig&)>& change) {
  ModelConfig config = golden_config();
  config.vocab_size = 257;
  if (change) change(config);
  const auto backend = make_cpu_backend();
  Gpt model(*backend, config, {});
  fill_golden_weights(model);
  write_model_folder(folder, model, make_byte_tokenizer().get());
}

TokenRows golden_tokens(int64_t step, int64_t batch, int64_t length, int64_t vocab) {
  TokenRows rows{batch, length, {}, {}};
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t <= length; ++t) {
      const auto at = static_cast<uint64_t>(b * (length + 1) + t);
      const uint64_t bits = mixed(at + (static_cast<uint64_t>(1000 + step) << 32));
      const auto id = static_cast<int32_t>((bits >> 40) % static_cast<uint64_t>(vocab));
      if (t < length) rows.tokens.push_back(id);
      if (t > 0) rows.targets.push_back(id);
    }
  }
  return rows;
}

DeviceRows::DeviceRows(Backend& backend, const TokenRows& rows) {
  const int64_t count = rows.batch * rows.length;
  memory_ = backend.allocate(count * 8 + rows.batch * 8, "batch");
  auto* at = static_cast<std::byte*>(memory_->data());
  input.sample_ids = Tensor(at, DType::i64, {rows.batch});
  input.tokens = Tensor(at + rows.batch * 8, DType::i32, {rows.batch, rows.length});
  targets = Tensor(at + rows.batch * 8 + count * 4, DType::i32, {count});
  std::vector<int64_t> ids;
  for (int64_t b = 0; b < rows.batch; ++b) ids.push_back(b);
  backend.copy_to_device(input.sample_ids, ids.data());
  backend.copy_to_device(input.tokens, rows.tokens.data());
  backend.copy_to_device(targets, rows.targets.data());
}

double training_loss(Gpt& model, const TokenRows& rows, uint64_t dropout_seed) {
  return run_training(model, rows, dropout_seed, false);
}

double training_loss_and_gradients(Gpt& model, const TokenRows& rows, uint64_t dropout_seed) {
  return run_training(model, rows, dropout_seed, true);
}

std::vector<float> inference_logits(Gpt& model, const TokenRows& rows) {
  Backend& backend = model.backend();
  ActivationArena arena(backend, kArenaBytes);
  const DeviceRows device(backend, rows);
  const int64_t count = rows.batch * rows.length, V = model.config().vocab_size;
  const Tensor hidden = model.forward_inference(arena, device.input, nullptr);
  const Tensor logits = arena.take(DType::f32, {count, model.padded_vocab()});
  model.head_forward(logits, hidden.view({count, model.config().channels}));
  std::vector<float> padded(static_cast<size_t>(logits.size())), result;
  backend.copy_to_host(padded.data(), logits);
  for (int64_t row = 0; row < count; ++row) {
    const auto begin = padded.begin() + row * model.padded_vocab();
    result.insert(result.end(), begin, begin + V);
  }
  return result;
}

std::vector<float> read_all(const Gpt& model, Tensor arena, int index) {
  return model.parameters().read(index, arena);
}

}  // namespace llm::test
