// Whole steps on each device: what they compute in bf16, that they repeat to the bit, that a bad
// gradient changes nothing, and that a GPU follows the CPU.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "support/op_check.h"
#include "support/small_model.h"
#include "train/workspace.h"

namespace llm::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TrainOptions options_of(const std::string& dtype, float dropout = 0) {
  TrainOptions options;
  options.model = golden_config();
  options.model.set_dropout(dropout);
  options.dtype = dtype;
  options.batch = 4;
  options.length = options.model.context;
  options.total_batch_tokens = 2 * options.batch * options.length;
  return options;
}

// Next-token training that adds poison[0] to one gradient: also where a step is repeated from a
// recording.
class Poisoned : public Objective {
 public:
  explicit Poisoned(Backend& backend) : backend_(backend), memory_(backend.allocate(4, "poison")) {
    set(0);
  }
  void set(float value) { backend_.copy_to_device(poison(), &value); }
  const char* name() const override { return "poisoned"; }
  double count(const Batch& batch, const BatchBuffers& buffers) const override {
    return plain_.count(batch, buffers);
  }
  void accumulate(Tensor loss, Gpt& model, ActivationArena& arena, const DeviceBatch& batch,
                  Tensor inverse_targets, uint64_t seed) override {
    plain_.accumulate(loss, model, arena, batch, inverse_targets, seed);
    if (!armed) return;
    const Tensor gradient = model.parameters().gradients().slice(0, 1000, 1);
    model.backend().add(gradient, gradient, poison());
  }
  void evaluate(Tensor sum, Gpt& model, ActivationArena& arena, const DeviceBatch& batch) override {
    plain_.evaluate(sum, model, arena, batch);
  }
  bool armed = true;  // not while memory is planned

 private:
  Tensor poison() const { return Tensor(memory_->data(), DType::f32, {1}); }
  Backend& backend_;
  std::unique_ptr<DeviceMemory> memory_;
  NextToken plain_;
};

// Steps on one device from the golden weights, batch n the same everywhere.
class Training {
 public:
  Training(Backend& backend, const TrainOptions& options,
           std::unique_ptr<Comm> comm = make_single_comm())
      : options_(options), backend_(backend), comm_(std::move(comm)), objective_(backend) {
    NextToken plain;
    const MemoryPlan plan = plan_memory(backend, plain, options);
    workspace_.emplace(backend, *comm_, objective_, options_, plan.activations());
    ParameterStore& store = workspace_->model.parameters();
    store.initialize(1);
    fill_golden_weights(workspace_->model);
    store.set_weight_decay(0.1f);
  }

  double step() {
    StepRequest request;
    request.step = ++step_;
    request.learning_rate = 1e-3;
    request.loss_limit = std::numeric_limits<float>::infinity();
    request.max_norm = 1;
    request.dropout_seed = 42;
    const std::vector<Batch> batches = {batch(2 * step_), batch(2 * step_ + 1)};
    workspace_->step.enqueue(request, batches);
    last_ = workspace_->step.read(step_);
    return last_.loss;
  }

  // All bits that training keeps.
  std::vector<uint8_t> state() {
    const ParameterStore& store = workspace_->model.parameters();
    std::vector<uint8_t> bytes;
    for (const Tensor& arena :
         {store.values(), store.rounded_values(), store.first_moments(), store.second_moments()}) {
      if (!arena) continue;
      std::vector<uint8_t> some(static_cast<size_t>(arena.bytes()));
      backend_.copy_to_host(some.data(), arena);
      bytes.insert(bytes.end(), some.begin(), some.end());
    }
    const int32_t updates = workspace_->step.updates();
    bytes.push_back(static_cast<uint8_t>(updates));
    return bytes;
  }
  const StepResult& last() const { return last_; }
  Poisoned& objective() { return objective_; }
  Gpt& model() { return workspace_->model; }

 private:
  Batch batch(int64_t number) const {
    const TokenRows rows = golden_tokens(number, options_.batch, options_.length, 65);
    Batch batch{options_.batch, options_.length, rows.tokens, rows.targets, {}};
    for (int64_t b = 0; b < options_.batch; ++b) batch.sample_ids.push_back(number * 100 + b);
    return batch;
  }

  TrainOptions options_;
  Backend& backend_;
  std::unique_ptr<Comm> comm_;
  Poisoned objective_;
  std::optional<Workspace> workspace_;
  StepResult last_;
  int64_t step_ = 0;
};

TEST(TrainingStep, ANanInAGradientChangesNoBit) {
  for (const auto& [label, backend] : all_backends()) {
    for (const char* dtype : {"f32", "bf16"}) {
      Training training(*backend, options_of(dtype));
      for (int i = 0; i < 5; ++i) training.step();
      EXPECT_TRUE(training.last().applied) << label;
      const std::vector<uint8_t> before = training.state();
      training.objective().set(kNan);
      training.step();
      EXPECT_FALSE(training.last().applied) << label;
      EXPECT_TRUE(training.state() == before) << label << " " << dtype;
      training.objective().set(0);
      training.step();
      EXPECT_TRUE(training.last().applied) << label;
      EXPECT_FALSE(training.state() == before) << label << " " << dtype;
    }
  }
}

TEST(TrainingStep, RepeatsToTheBit) {
  for (const auto& [label, backend] : all_backends()) {
    for (const char* dtype : {"f32", "bf16"}) {
      const int steps = label.starts_with(kGpuLabel) ? 100 : 5;
      Training one(*backend, options_of(dtype, 0.1f)), two(*backend, options_of(dtype, 0.1f));
      for (int i = 0; i < steps; ++i) {
        ASSERT_EQ(one.step(), two.step()) << label << " " << dtype << " step " << i;
      }
      EXPECT_TRUE(one.state() == two.state()) << label << " " << dtype;
    }
  }
}

TEST(TrainingStep, RecomputedActivationsGiveTheSameBits) {
  for (const auto& [label, backend] : all_backends()) {
    for (const char* dtype : {"f32", "bf16"}) {
      TrainOptions options = options_of(dtype, 0.1f);
      Training kept(*backend, options);
      NextToken objective;
      const int64_t all = plan_memory(*backend, objective, options).activations();
      options.recompute = true;
      const int64_t fewer = plan_memory(*backend, objective, options).activations();
      EXPECT_LT(fewer, all) << label;
      Training recomputed(*backend, options);
      for (int i = 0; i < 4; ++i) EXPECT_EQ(kept.step(), recomputed.step()) << label << " " << i;
      EXPECT_TRUE(kept.state() == recomputed.state()) << label << " " << dtype;
    }
  }
}

TEST(TrainingStep, Bf16KeepsARoundedCopyOfTheWeights) {
  for (const auto& [label, backend] : all_backends()) {
    Training training(*backend, options_of("bf16"));
    for (int i = 0; i < 3; ++i) {
      const ParameterStore& store = training.model().parameters();
      std::vector<float> values(static_cast<size_t>(store.values().size()));
      std::vector<uint16_t> rounded(values.size());
      backend->copy_to_host(values.data(), store.values());
      backend->copy_to_host(rounded.data(), store.rounded_values());
      for (size_t n = 0; n < values.size(); ++n) {
        ASSERT_EQ(rounded[n], f32_to_bf16(values[n])) << label << " " << n << " step " << i;
      }
      training.step();
    }
  }
}

TEST(TrainingStep, Bf16TrainsLikeF32) {
  for (const auto& [label, backend] : all_backends()) {
    Training exact(*backend, options_of("f32")), rounded(*backend, options_of("bf16"));
    double first = 0, last = 0;
    for (int i = 0; i < 20; ++i) {
      last = exact.step();
      if (i == 0) first = last;
      EXPECT_NEAR(rounded.step(), last, 0.01 * last) << label << " step " << i;
    }
    EXPECT_LT(last, 0.98 * first) << label;
  }
}

// All collectives run, the reduction of each layer's gradients beside the backward pass.
TEST(TrainingStep, NcclWithOneProcessGivesTheSameBits) {
  const std::unique_ptr<Backend> gpu = make_gpu_backend();
  if (!gpu) GTEST_SKIP() << "no GPU here";
  std::unique_ptr<Comm> nccl = make_gpu_comm(*gpu);
  if (!nccl) GTEST_SKIP() << "no NCCL here";
  EXPECT_FALSE(nccl->alone());
  for (const char* dtype : {"f32", "bf16"}) {
    if (!nccl) nccl = make_gpu_comm(*gpu);
    Training alone(*gpu, options_of(dtype, 0.1f)),
        through_nccl(*gpu, options_of(dtype, 0.1f), std::move(nccl));
    for (int i = 0; i < 20; ++i) ASSERT_EQ(through_nccl.step(), alone.step()) << dtype << i;
    EXPECT_TRUE(through_nccl.state() == alone.state()) << dtype;
  }
}

TEST(TrainingStep, AGpuFollowsTheCpu) {
  const std::unique_ptr<Backend> gpu = make_gpu_backend();
  if (!gpu) GTEST_SKIP() << "no GPU here";
  for (float dropout : {0.0f, 0.1f}) {
    Training here(plain_backend(), options_of("f32", dropout)),
        there(*gpu, options_of("f32", dropout));
    for (int i = 0; i < 20; ++i) {
      const double wanted = here.step();
      EXPECT_NEAR(there.step(), wanted, 1e-4 * wanted) << "step " << i << " dropout " << dropout;
    }
  }
}

}  // namespace
}  // namespace llm::test
