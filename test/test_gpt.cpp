// The whole model against PyTorch (scripts/golden_model.py) and against itself.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "model/gpt.h"
#include "support/small_model.h"

namespace llm {
namespace {

using test::TokenRows;

const fs::path kGoldenFolder = fs::path(LLM_SOURCE_DIR) / "test" / "golden";

double norm_of(std::span<const float> x) {
  double sum = 0;
  for (float value : x) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

double norm_of_difference(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

class GptTest : public testing::Test {
 protected:
  std::unique_ptr<Gpt> make(const ModelConfig& config) {
    auto model = std::make_unique<Gpt>(*backend_, config, StoreOptions{.training = true});
    model->parameters().initialize(1);
    test::fill_golden_weights(*model);
    return model;
  }
  TokenRows rows(const ModelConfig& config, int64_t step = 0) {
    return test::golden_tokens(step, 2, config.context, config.vocab_size);
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
};

TEST_F(GptTest, LossAndGradientsEqualPyTorch) {
  const Json golden = read_json_file(kGoldenFolder / "model.json");
  const MappedFile file(kGoldenFolder / "model_gradients.bin");
  std::vector<float> expected(file.bytes().size() / 4);
  std::memcpy(expected.data(), file.bytes().data(), file.bytes().size());

  const ModelConfig config = test::golden_config();
  auto model = make(config);
  const double loss = test::training_loss_and_gradients(*model, rows(config));
  const double wanted = golden["loss"];
  EXPECT_NEAR(loss, wanted, 1e-6 * wanted);

  size_t at = 0;
  const ParameterStore& store = model->parameters();
  for (size_t index = 0; index < store.parameters().size(); ++index) {
    const Parameter& parameter = store.parameters()[index];
    const auto size = static_cast<size_t>(parameter.size());
    const std::vector<float> got =
        test::read_all(*model, store.gradients(), static_cast<int>(index));
    ASSERT_LE(at + size, expected.size());
    const std::span<const float> want(expected.data() + at, size);
    at += size;
    if (parameter.name.ends_with("c_attn.bias")) {
      // A key bias adds the same to all scores of a query, so its true gradient is zero.
      const size_t third = size / 3;
      EXPECT_LT(norm_of(std::span(got).subspan(third, third)), 1e-6) << parameter.name;
      for (size_t part : {size_t{0}, size_t{2}}) {
        const auto g = std::span(got).subspan(part * third, third);
        const auto w = want.subspan(part * third, third);
        EXPECT_LT(norm_of_difference(g, w), 1e-5 * norm_of(w)) << parameter.name << part;
      }
      continue;
    }
    EXPECT_LT(norm_of_difference(got, want), 1e-5 * norm_of(want)) << parameter.name;
  }
  EXPECT_EQ(at, expected.size());
}

TEST_F(GptTest, TenOptimizerStepsEqualPyTorch) {
  const Json golden = read_json_file(kGoldenFolder / "model.json");
  const Json& steps = golden["steps"];
  const ModelConfig config = test::golden_config();
  auto model = make(config);
  ParameterStore& store = model->parameters();
  store.set_weight_decay(steps["weight_decay"]);
  ActivationArena arena(*backend_, 1 << 16);
  const auto scalar = [&](DType dtype) {
    const Tensor tensor = arena.take(dtype, {1});
    backend_->fill(tensor, 0);
    return tensor;
  };
  const UpdateState state{scalar(DType::f32), scalar(DType::f32), scalar(DType::f32),
                          scalar(DType::i32), scalar(DType::i32)};
  const Tensor squared = scalar(DType::f32), loss = scalar(DType::f32), limit = scalar(DType::f32);
  backend_->fill(limit, 1e30);
  for (size_t step = 0; step < steps["losses"].size(); ++step) {
    const double wanted = steps["losses"][step];
    store.zero_gradients();
    const double got =
        test::training_loss_and_gradients(*model, rows(config, static_cast<int64_t>(step)));
    EXPECT_NEAR(got, wanted, 1e-5 * wanted) << "step " << step;
    backend_->fill(loss, got);
    backend_->fill(state.learning_rate, steps["learning_rates"][step]);
    backend_->fill(squared, 0);
    backend_->squared_norm(squared, store.gradients());
    backend_->prepare_update(state, squared, loss, limit, steps["clip"]);
    float norm = 0;
    backend_->copy_to_host(&norm, state.gradient_norm);
    const double wanted_norm = steps["norms"][step];
    EXPECT_NEAR(norm, wanted_norm, 1e-4 * wanted_norm) << "step " << step;
    backend_->adamw_update(store.values(), {}, store.first_moments(), store.second_moments(),
                           store.gradients(), store.chunk_decay(), state, AdamWOptions{});
  }
}

// The directional derivative along the gradient is the squared norm of the gradient.
TEST_F(GptTest, GradientsOfVariantsMatchDifferences) {
  ModelConfig variants[4] = {test::golden_config(), test::golden_config(), test::golden_config(),
                             test::golden_config()};
  variants[0].bias = false;
  variants[1].qkv_bias = false;
  variants[2].tied = false;
  variants[3].set_dropout(0.2f);
  for (const ModelConfig& config : variants) {
    auto model = make(config);
    ParameterStore& store = model->parameters();
    const TokenRows batch = rows(config);
    test::training_loss_and_gradients(*model, batch, 7);
    std::vector<std::vector<float>> values, gradients;
    double squared = 0;
    for (size_t i = 0; i < store.parameters().size(); ++i) {
      values.push_back(test::read_all(*model, store.values(), static_cast<int>(i)));
      gradients.push_back(test::read_all(*model, store.gradients(), static_cast<int>(i)));
      squared += std::pow(norm_of(gradients.back()), 2);
    }
    ASSERT_GT(squared, 0);
    const double h = 1e-3 / std::sqrt(squared);
    double losses[2];
    for (int side : {0, 1}) {
      for (size_t i = 0; i < values.size(); ++i) {
        std::vector<float> moved = values[i];
        for (size_t j = 0; j < moved.size(); ++j) {
          moved[j] += static_cast<float>((side == 0 ? -h : h) * gradients[i][j]);
        }
        store.write(static_cast<int>(i), store.values(), moved);
      }
      losses[side] = test::training_loss(*model, batch, 7);
    }
    EXPECT_NEAR((losses[1] - losses[0]) / (2 * h), squared, 2e-3 * squared);
  }
}

TEST_F(GptTest, InferenceEqualsTraining) {
  const ModelConfig config = test::golden_config();
  auto model = make(config);
  const TokenRows batch = rows(config);
  const std::vector<float> logits = test::inference_logits(*model, batch);
  double sum = 0;
  for (size_t row = 0; row < batch.targets.size(); ++row) {
    const float* x = logits.data() + row * 65;
    double total = 0;
    for (int i = 0; i < 65; ++i) total += std::exp(static_cast<double>(x[i]));
    sum += std::log(total) - x[batch.targets[row]];
  }
  EXPECT_NEAR(sum / static_cast<double>(batch.targets.size()), test::training_loss(*model, batch),
              1e-5);
}

TEST_F(GptTest, CachedDecodingEqualsWholeSequence) {
  const ModelConfig config = test::golden_config();
  auto model = make(config);
  const TokenRows batch = rows(config);
  const int64_t B = batch.batch, T = batch.length, V = config.vocab_size;
  const std::vector<float> whole = test::inference_logits(*model, batch);

  KvCache cache(*backend_, config, B, config.context, DType::f32);
  ActivationArena arena(*backend_, 16 << 20);
  // A prefill of 5 tokens, a piece of 3, then one by one.
  for (int64_t begin = 0; begin < T;) {
    const int64_t count = begin == 0 ? 5 : begin == 5 ? 3 : 1;
    const ArenaScope scope(arena);
    std::vector<int32_t> tokens, positions;
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t t = begin; t < begin + count; ++t) {
        tokens.push_back(batch.tokens[static_cast<size_t>(b * T + t)]);
        positions.push_back(static_cast<int32_t>(t));
      }
    }
    ModelInput input;
    input.tokens = arena.take(DType::i32, {B, count});
    input.positions = arena.take(DType::i32, {B, count});
    backend_->copy_to_device(input.tokens, tokens.data());
    backend_->copy_to_device(input.positions, positions.data());
    cache.set_lengths(
        std::vector<int32_t>(static_cast<size_t>(B), static_cast<int32_t>(begin + count)));
    const Tensor hidden = model->forward_inference(arena, input, &cache);
    const Tensor logits = arena.take(DType::f32, {B * count, model->padded_vocab()});
    model->head_forward(logits, hidden.view({B * count, config.channels}));
    std::vector<float> got(static_cast<size_t>(logits.size()));
    backend_->copy_to_host(got.data(), logits);
    for (int64_t row = 0; row < B * count; ++row) {
      const int64_t b = row / count, t = begin + row % count;
      for (int64_t v = 0; v < V; ++v) {
        ASSERT_NEAR(got[static_cast<size_t>(row * model->padded_vocab() + v)],
                    whole[static_cast<size_t>((b * T + t) * V + v)], 1e-4)
            << "sequence " << b << " position " << t;
      }
    }
    begin += count;
  }
}

TEST_F(GptTest, PackedRowsEqualSeparateRows) {
  ModelConfig config = test::golden_config();
  auto model = make(config);
  const TokenRows two = test::golden_tokens(0, 2, 9, config.vocab_size);
  const std::vector<float> separate = test::inference_logits(*model, two);

  TokenRows packed{1, 18, two.tokens, two.targets};
  ActivationArena arena(*backend_, 16 << 20);
  const test::DeviceRows device(*backend_, packed);
  ModelInput input = device.input;
  std::vector<int32_t> positions, offsets = {0, 9, 18};
  for (int32_t i = 0; i < 18; ++i) positions.push_back(i % 9);
  input.positions = arena.take(DType::i32, {1, 18});
  input.sequence_offsets = arena.take(DType::i32, {3});
  backend_->copy_to_device(input.positions, positions.data());
  backend_->copy_to_device(input.sequence_offsets, offsets.data());
  const Tensor hidden = model->forward_inference(arena, input, nullptr);
  const Tensor logits = arena.take(DType::f32, {18, model->padded_vocab()});
  model->head_forward(logits, hidden.view({18, config.channels}));
  std::vector<float> got(static_cast<size_t>(logits.size()));
  backend_->copy_to_host(got.data(), logits);
  for (int64_t row = 0; row < 18; ++row) {
    for (int64_t v = 0; v < config.vocab_size; ++v) {
      EXPECT_NEAR(got[static_cast<size_t>(row * model->padded_vocab() + v)],
                  separate[static_cast<size_t>(row * config.vocab_size + v)], 1e-5);
    }
  }
}

TEST_F(GptTest, GradientHooksComeOncePerLayerFromTheTopDown) {
  auto model = make(test::golden_config());
  std::vector<int> ready;
  model->parameters().gradient_ready = [&](int layer) { ready.push_back(layer); };
  test::training_loss_and_gradients(*model, rows(test::golden_config()));
  EXPECT_EQ(ready, (std::vector<int>{3, 2, 1, 0}));
}

}  // namespace
}  // namespace llm
