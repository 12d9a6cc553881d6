// Losses and gradients of what fine-tuning adds to a model, against PyTorch: classifiers with each
// pooling, ignored targets, low-rank adapters; and what is frozen changes nothing of the rest.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/plan_backend.h"
#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "model/lora.h"
#include "support/small_model.h"
#include "train/objective.h"

namespace llm {
namespace {

constexpr int64_t kRows = 2;
constexpr int64_t kTrainArena = 64 << 20;

using Trainable = std::function<bool(const Parameter&)>;

bool is_adapter(const Parameter& parameter) { return parameter.adapter; }

class FinetuneGolden : public testing::Test {
 protected:
  FinetuneGolden() : golden_(read_json_file(LLM_SOURCE_DIR "/test/golden/finetune.json")) {}

  std::vector<int32_t> integers(const char* setting) const {
    return golden_["settings"][setting].get<std::vector<int32_t>>();
  }

  ModelConfig classifier_config(Pooling pooling) const {
    ModelConfig config = test::golden_config();
    config.labels = {"a", "b", "c"};
    config.pooling = pooling;
    return config;
  }
  LoraConfig lora() const {
    LoraConfig lora;
    lora.rank = golden_["settings"]["rank"];
    lora.alpha = golden_["settings"]["alpha"];
    return lora;
  }

  std::unique_ptr<Gpt> make(const ModelConfig& config, const Trainable& trainable = {}) {
    auto model =
        std::make_unique<Gpt>(*backend_, config, StoreOptions{true, DType::f32, trainable});
    model->parameters().initialize(1);
    test::fill_golden_weights(*model);
    fill_adapters(*model);
    return model;
  }

  // As scripts/golden_finetune.py: tensors 2000, 2001, ... in turns A and B, B as (out, R).
  void fill_adapters(Gpt& model) const {
    ParameterStore& store = model.parameters();
    uint64_t number = 2000;
    for (size_t index = 0; index < store.parameters().size(); ++index) {
      const Parameter& parameter = store.parameters()[index];
      if (!parameter.adapter) continue;
      const int64_t rank = parameter.shape[0], columns = parameter.shape[1];
      const bool is_b = parameter.name.ends_with("lora_B");
      const int64_t out = is_b && parameter.name.starts_with("score") ? 3 : columns;
      std::vector<float> host(static_cast<size_t>(parameter.size()));
      for (int64_t i = 0; i < rank * columns; ++i) {
        const int64_t r = i / columns, c = i % columns;
        const int64_t at = is_b ? c * rank + r : i;
        if (is_b && (c >= out || !in_part(model.config().lora, parameter, r, c))) continue;
        host[static_cast<size_t>(i)] =
            0.125f * test::golden_fraction(number, static_cast<uint64_t>(at));
      }
      store.write(static_cast<int>(index), store.values(), host);
      ++number;
    }
  }

  // Whether row r of a B meets column c of what it adds to.
  static bool in_part(const LoraConfig& lora, const Parameter& parameter, int64_t r, int64_t c) {
    if (parameter.name.find("c_attn") == std::string::npos || lora.qkv) return true;
    std::vector<int64_t> parts;
    if (lora.q) parts.push_back(0);
    if (lora.k) parts.push_back(1);
    if (lora.v) parts.push_back(2);
    return c / 48 == parts[static_cast<size_t>(r / lora.rank)];
  }

  test::TokenRows masked_rows() const {
    test::TokenRows rows = test::golden_tokens(0, kRows, 32, 65);
    for (int64_t b = 0; b < kRows; ++b) {
      const auto row = static_cast<size_t>(b);
      for (int64_t t = 0; t < 32; ++t) {
        if (t < integers("prompts")[row] || t >= integers("lengths")[row]) {
          rows.targets[static_cast<size_t>(b * 32 + t)] = -100;
        }
      }
    }
    return rows;
  }

  // Loss of a classifier; gradients are accumulated.
  double classify(Gpt& model, std::vector<float>* logits_of_rows, bool weighted) {
    const test::TokenRows rows = test::golden_tokens(0, kRows, 32, 65);
    Batch batch{rows.batch, rows.length, rows.tokens, {}, {0, 1}};
    batch.labels = integers("labels");
    batch.lengths = integers("lengths");
    BatchShape shape{batch.batch, batch.length};
    shape.labels = true;
    shape.pooling = model.config().pooling;
    if (weighted) {
      shape.class_weights = golden_["settings"]["class_weights"].get<std::vector<float>>();
    }
    BatchBuffers buffers(*backend_, shape);
    const DeviceBatch& device = buffers.upload(batch);
    Classification objective;
    ActivationArena arena(*backend_, kTrainArena);
    const Tensor inverse = arena.take(DType::f32, {1}), loss = arena.take(DType::f32, {1});
    backend_->fill(inverse, 1 / objective.count(batch, buffers));
    backend_->fill(loss, 0);
    if (logits_of_rows != nullptr) {
      const ArenaScope scope(arena);
      const Tensor hidden = model.forward_inference(arena, device.input, nullptr);
      const Tensor logits = model.classify(arena, device.input, hidden, /*training=*/false);
      for (int64_t i = 0; i < kRows * 3; ++i) {
        logits_of_rows->push_back(logits.f32()[i / 3 * model.padded_labels() + i % 3]);
      }
    }
    objective.accumulate(loss, model, arena, device, inverse, /*dropout_seed=*/0);
    return loss.f32()[0];
  }

  void expect_gradients(const Gpt& model, const Json& wanted) const {
    const ParameterStore& store = model.parameters();
    size_t found = 0, number = 0, adapter = 100;
    for (size_t index = 0; index < store.parameters().size(); ++index) {
      const Parameter& parameter = store.parameters()[index];
      const size_t tensor = parameter.adapter ? adapter++ : number++;
      if (!wanted.contains(parameter.name)) continue;
      ++found;
      std::vector<float> got = test::read_all(model, store.gradients(), static_cast<int>(index));
      if (parameter.name.ends_with("lora_B")) got = transposed_b(parameter, got);
      double squares = 0, product = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        const auto value = static_cast<double>(got[i]);
        squares += value * value;
        product += value * static_cast<double>(test::golden_fraction(5000 + tensor, i));
      }
      const double norm = wanted[parameter.name][0];
      EXPECT_NEAR(std::sqrt(squares), norm, 1e-5 * norm) << parameter.name;
      EXPECT_NEAR(product, wanted[parameter.name][1].get<double>(), 2e-5 * norm + 1e-7)
          << parameter.name;
    }
    EXPECT_EQ(found, wanted.size());
  }

  // (R, out) as (out, R), without padded columns.
  static std::vector<float> transposed_b(const Parameter& parameter,
                                         const std::vector<float>& values) {
    const auto rank = static_cast<size_t>(parameter.shape[0]);
    const auto columns = static_cast<size_t>(parameter.shape[1]);
    const size_t out = parameter.name.starts_with("score") ? 3 : columns;
    std::vector<float> result;
    for (size_t c = 0; c < out; ++c) {
      for (size_t r = 0; r < rank; ++r) result.push_back(values[r * columns + c]);
    }
    for (size_t r = 0; r < rank; ++r) {
      for (size_t c = out; c < columns; ++c) EXPECT_EQ(values[r * columns + c], 0) << c;
    }
    return result;
  }

  Json golden_;
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
};

TEST_F(FinetuneGolden, ClassifiersWithEachPooling) {
  for (const auto& [name, pooling] : {std::pair{"last-token", Pooling::last_token},
                                      {"last", Pooling::last},
                                      {"mean", Pooling::mean}}) {
    SCOPED_TRACE(name);
    const Json& wanted = golden_["classifier"][name];
    auto model = make(classifier_config(pooling));
    std::vector<float> logits;
    const double loss = classify(*model, &logits, /*weighted=*/false);
    EXPECT_NEAR(loss, wanted["loss"].get<double>(), 1e-6);
    for (size_t i = 0; i < logits.size(); ++i) {
      EXPECT_NEAR(logits[i], wanted["logits"][i].get<double>(), 1e-5) << i;
    }
    expect_gradients(*model, wanted["gradients"]);
  }
}

TEST_F(FinetuneGolden, WeightsOfClasses) {
  auto model = make(classifier_config(Pooling::last_token));
  EXPECT_NEAR(classify(*model, nullptr, /*weighted=*/true),
              golden_["weighted"]["loss"].get<double>(), 1e-6);
  expect_gradients(*model, golden_["weighted"]["gradients"]);
}

TEST_F(FinetuneGolden, IgnoredTargets) {
  auto model = make(test::golden_config());
  EXPECT_NEAR(test::training_loss_and_gradients(*model, masked_rows()),
              golden_["masked"]["loss"].get<double>(), 1e-6 * 5);
  expect_gradients(*model, golden_["masked"]["gradients"]);
}

TEST_F(FinetuneGolden, Adapters) {
  struct Case {
    const char* name;
    LoraConfig lora;
  };
  std::vector<Case> cases = {{"all", lora()}, {"q,v", lora()}, {"q,k,v,c_proj", lora()}};
  for (bool LoraConfig::*target :
       {&LoraConfig::qkv, &LoraConfig::projection, &LoraConfig::up, &LoraConfig::down}) {
    cases[0].lora.*target = true;
  }
  cases[1].lora.q = cases[1].lora.v = true;
  cases[2].lora.q = cases[2].lora.k = cases[2].lora.v = cases[2].lora.projection = true;
  for (const Case& each : cases) {
    for (const bool recompute : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", each.name, recompute));
      ModelConfig config = test::golden_config();
      config.lora = each.lora;
      auto model = make(config, is_adapter);
      model->set_recompute(recompute);
      const Json& wanted = golden_["adapters"][each.name];
      EXPECT_NEAR(test::training_loss_and_gradients(*model, masked_rows()),
                  wanted["loss"].get<double>(), 1e-6 * 5);
      expect_gradients(*model, wanted["gradients"]);
    }
  }
}

TEST_F(FinetuneGolden, AdaptersOfAClassifier) {
  ModelConfig config = classifier_config(Pooling::last_token);
  config.lora = lora();
  config.lora.q = config.lora.k = config.lora.v = true;
  config.lora.projection = config.lora.up = config.lora.down = config.lora.score = true;
  auto model = make(config, is_adapter);
  const Json& wanted = golden_["adapters"]["classifier"];
  std::vector<float> logits;
  EXPECT_NEAR(classify(*model, &logits, /*weighted=*/false), wanted["loss"].get<double>(), 1e-6);
  for (size_t i = 0; i < logits.size(); ++i) {
    EXPECT_NEAR(logits[i], wanted["logits"][i].get<double>(), 1e-5) << i;
  }
  expect_gradients(*model, wanted["gradients"]);
}

// Of any choice of what is trained, the gradients are those of training everything.
TEST_F(FinetuneGolden, WhatIsFrozenLeavesTheOtherGradientsAlone) {
  const std::vector<std::pair<const char*, Trainable>> choices = {
      {"head", [](const Parameter& p) { return p.name == "score.weight"; }},
      {"last block", [](const Parameter& p) { return p.layer >= 2; }},
      {"one bias", [](const Parameter& p) { return p.name == "h.1.mlp.c_fc.bias"; }},
      {"final norm", [](const Parameter& p) { return p.name.starts_with("ln_f"); }},
      {"norms", [](const Parameter& p) { return p.name.find("ln_") != std::string::npos; }},
      {"first weights", [](const Parameter& p) { return p.name == "h.0.attn.c_attn.weight"; }},
  };
  for (const float rate : {0.0f, 0.3f}) {
    ModelConfig config = classifier_config(Pooling::mean);
    config.set_dropout(rate);
    auto whole = make(config);
    const double loss = classify(*whole, nullptr, false);
    const ParameterStore& all = whole->parameters();
    for (const auto& [name, trainable] : choices) {
      SCOPED_TRACE(fmt::format("{} dropout {}", name, rate));
      auto model = make(config, trainable);
      EXPECT_EQ(classify(*model, nullptr, false), loss);
      const ParameterStore& store = model->parameters();
      int64_t trained = 0;
      for (int i = 0; i < static_cast<int>(store.parameters().size()); ++i) {
        const Parameter& parameter = store.parameters()[static_cast<size_t>(i)];
        EXPECT_EQ(static_cast<bool>(store.gradient(i)), parameter.trainable);
        if (!parameter.trainable) continue;
        trained += parameter.size();
        EXPECT_EQ(test::read_all(*model, store.gradients(), i),
                  test::read_all(*whole, all.gradients(), i))
            << parameter.name;
      }
      EXPECT_EQ(store.trainable_count(), trained);
      EXPECT_LE(store.gradients().size(), trained + 64 * 20) << "memory for what is frozen";
    }
  }
}

TEST_F(FinetuneGolden, MergedAdaptersGiveTheSameLogits) {
  ModelConfig config = test::golden_config();
  config.lora = lora();
  config.lora.q = config.lora.v = config.lora.projection = config.lora.up = config.lora.down = true;
  const auto adapted = make(config, is_adapter);
  const test::TokenRows rows = test::golden_tokens(0, kRows, 32, 65);
  const std::vector<float> wanted = test::inference_logits(*adapted, rows);
  config.lora = {};
  const auto plain = make(config);
  const std::vector<float> without = test::inference_logits(*plain, rows);
  merge_adapters(*adapted, *plain);
  const std::vector<float> merged = test::inference_logits(*plain, rows);
  ASSERT_EQ(merged.size(), wanted.size());
  double most = 0, added = 0;
  for (size_t i = 0; i < merged.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(merged[i] - wanted[i])));
    added = std::max(added, std::abs(static_cast<double>(without[i] - wanted[i])));
  }
  EXPECT_LT(most, 1e-4);
  EXPECT_GT(added, 0.1) << "the adapters add nothing";
}

// The book's count: rank 16 on every linear layer of GPT-2 124M, q, k and v apart, two classes.
TEST(Lora, CountsOfTrainableParameters) {
  ModelConfig config = model_preset("gpt2");
  config.labels = {"ham", "spam"};
  config.lora.rank = 16;
  config.lora.q = config.lora.k = config.lora.v = true;
  config.lora.projection = config.lora.up = config.lora.down = config.lora.score = true;
  const auto cpu = make_cpu_backend();
  const auto count = [&] {
    MemoryByPurpose usage;
    const auto planned = make_plan_backend(*cpu, usage);
    const Gpt model(*planned, config, StoreOptions{true, DType::f32, is_adapter});
    return model.parameters().trainable_count();
  };
  EXPECT_EQ(count(), 2'666'528);
  config.lora.score = false;
  EXPECT_EQ(count(), 2'654'208);
  config.lora.q = config.lora.k = config.lora.v = false;
  config.lora.qkv = true;
  EXPECT_EQ(count(), 12 * 16 * ((768 + 2304) + (768 + 768) + 2 * (768 + 3072)));
  config.lora.projection = config.lora.up = config.lora.down = config.lora.qkv = false;
  config.lora.q = config.lora.v = true;
  EXPECT_EQ(count(), 12 * 16 * 2 * (768 + 768));
}

}  // namespace
}  // namespace llm
