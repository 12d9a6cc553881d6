// The objective of classifiers in training steps: it learns, weights count, rows of padding do not,
// lengths may differ from batch to batch, and packed rows are those that stand alone.
#include <gtest/gtest.h>

#include <cmath>

#include "cpu_ref/cpu_backend.h"
#include "support/small_model.h"
#include "train/training_step.h"

namespace llm {
namespace {

constexpr int64_t kArena = 64 << 20;

// Rows of one repeated token, whose label is told by the token; the padding is another token.
Batch labeled_batch(int64_t rows, int64_t length, int64_t step) {
  Batch batch;
  batch.batch = rows;
  batch.length = length;
  for (int64_t b = 0; b < rows; ++b) {
    const auto label = static_cast<int32_t>((b + step) % 3);
    const auto tokens = static_cast<int32_t>(1 + (b * 5 + step) % length);
    batch.labels.push_back(label);
    batch.lengths.push_back(tokens);
    batch.sample_ids.push_back(step * rows + b);
    for (int64_t t = 0; t < length; ++t) batch.tokens.push_back(t < tokens ? 10 + label : 0);
  }
  return batch;
}

class Classifying : public testing::Test {
 protected:
  Classifying() {
    config_ = test::golden_config();
    config_.labels = {"a", "b", "c"};
  }
  std::unique_ptr<Gpt> make() {
    auto model = std::make_unique<Gpt>(*backend_, config_, StoreOptions{true, DType::f32});
    model->parameters().initialize(1);
    model->parameters().set_weight_decay(0);
    return model;
  }
  BatchShape shape(int64_t rows, int64_t length) const {
    BatchShape shape{rows, length};
    shape.labels = true;
    shape.pooling = config_.pooling;
    return shape;
  }

  ModelConfig config_;
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  std::unique_ptr<Comm> comm_ = make_single_comm();
  Classification objective_;
};

TEST_F(Classifying, LearnsFromBatchesOfAnyLength) {
  for (const Pooling pooling : {Pooling::last_token, Pooling::mean}) {
    config_.pooling = pooling;
    const auto model = make();
    ActivationArena arena(*backend_, kArena);
    TrainingStep step(*backend_, *comm_, *model, objective_, arena, shape(6, 32));
    StepRequest request;
    request.learning_rate = 3e-3;
    request.loss_limit = INFINITY;
    float first = 0, last = 0;
    for (request.step = 1; request.step <= 40; ++request.step) {
      const Batch batch = labeled_batch(6, 8 + request.step % 3 * 8, request.step);
      step.enqueue(request, std::span(&batch, 1));
      last = step.read(request.step).loss;
      if (request.step == 1) first = last;
    }
    EXPECT_NEAR(first, std::log(3.0), 0.3);
    EXPECT_LT(last, 0.05);
  }
}

TEST_F(Classifying, PaddingChangesNothing) {
  const auto loss_of = [&](const Batch& batch) {
    const auto model = make();
    ActivationArena arena(*backend_, kArena);
    TrainingStep step(*backend_, *comm_, *model, objective_, arena, shape(batch.batch, 32));
    StepRequest request;
    request.loss_limit = INFINITY;
    step.enqueue(request, std::span(&batch, 1));
    return step.read(1);
  };
  const Batch batch = labeled_batch(3, 16, 1);
  const StepResult wanted = loss_of(batch);
  Batch wider = batch, more = batch;
  wider.length = 24;  // more padding behind each row
  wider.tokens.clear();
  for (size_t b = 0; b < 3; ++b) {
    const auto row = batch.tokens.begin() + static_cast<std::ptrdiff_t>(16 * b);
    wider.tokens.insert(wider.tokens.end(), row, row + 16);
    wider.tokens.insert(wider.tokens.end(), 8, 7);
  }
  more.batch = 4;  // a row that is nothing but padding
  more.tokens.insert(more.tokens.end(), 16, 5);
  more.labels.push_back(Batch::kIgnored);
  more.lengths.push_back(1);
  more.sample_ids.push_back(-1);
  for (const Batch& other : {wider, more}) {
    const StepResult got = loss_of(other);
    EXPECT_NEAR(got.loss, wanted.loss, 1e-6);
    EXPECT_NEAR(got.norm, wanted.norm, 1e-5 * static_cast<double>(wanted.norm));
  }
}

TEST_F(Classifying, AWeightOfTwoIsARowTwice) {
  Batch once = labeled_batch(2, 8, 1), twice = once;
  ASSERT_NE(once.labels[0], once.labels[1]);
  twice.batch = 3;
  for (int64_t t = 0; t < 8; ++t) twice.tokens.push_back(once.tokens[static_cast<size_t>(8 + t)]);
  twice.labels.push_back(once.labels[1]);
  twice.lengths.push_back(once.lengths[1]);
  twice.sample_ids.push_back(9);
  StepResult results[2];
  for (const bool weighted : {false, true}) {
    const auto model = make();
    ActivationArena arena(*backend_, kArena);
    BatchShape of_step = shape(weighted ? 2 : 3, 8);
    if (weighted) {
      of_step.class_weights.assign(3, 1);
      of_step.class_weights[static_cast<size_t>(once.labels[1])] = 2;
    }
    TrainingStep step(*backend_, *comm_, *model, objective_, arena, of_step);
    StepRequest request;
    request.loss_limit = INFINITY;
    const Batch& batch = weighted ? once : twice;
    step.enqueue(request, std::span(&batch, 1));
    results[weighted] = step.read(1);
  }
  EXPECT_NEAR(results[1].loss, results[0].loss, 1e-6);
  EXPECT_NEAR(results[1].norm, results[0].norm, 1e-5 * static_cast<double>(results[0].norm));
}

// Sequences behind each other in one row learn what they learn in rows of their own.
TEST(PackedRows, HaveTheLossAndGradientsOfRowsOfTheirOwn) {
  const auto backend = make_cpu_backend();
  const auto comm = make_single_comm();
  const ModelConfig config = test::golden_config();
  const std::vector<int32_t> lengths = {7, 12, 1, 9, 3};  // 32 tokens
  Batch alone, packed;
  alone.batch = std::ssize(lengths);
  alone.length = 12;
  packed.batch = 1;
  packed.length = 32;
  packed.sample_ids = {0};
  packed.sequence_offsets = {0};
  for (const int32_t length : lengths) {
    alone.sample_ids.push_back(std::ssize(alone.sample_ids));
    for (int32_t t = 0; t < 12; ++t) {
      const auto token = static_cast<int32_t>((t * t + length) % 60);
      const int32_t target = t % 4 == 1 ? Batch::kIgnored : (token * 7 + 1) % 60;
      alone.tokens.push_back(t < length ? token : 0);
      alone.targets.push_back(t < length ? target : Batch::kIgnored);
      if (t >= length) continue;
      packed.tokens.push_back(token);
      packed.targets.push_back(target);
      packed.positions.push_back(t);
    }
    packed.sequence_offsets.push_back(static_cast<int32_t>(std::ssize(packed.tokens)));
  }
  ASSERT_EQ(std::ssize(packed.tokens), 32);
  NextToken objective;
  StepResult results[2];
  std::vector<float> gradients[2];
  for (const bool pack : {false, true}) {
    Gpt model(*backend, config, StoreOptions{true, DType::f32});
    model.parameters().initialize(1);
    test::fill_golden_weights(model);
    ActivationArena arena(*backend, kArena);
    const Batch& batch = pack ? packed : alone;
    BatchShape shape{batch.batch, batch.length};
    if (pack) shape.packed_sequences = 8;  // more than there are
    TrainingStep step(*backend, *comm, model, objective, arena, shape);
    StepRequest request;
    request.loss_limit = INFINITY;
    step.enqueue(request, std::span(&batch, 1));
    results[pack] = step.read(1);
    const Tensor all = model.parameters().gradients();
    gradients[pack].assign(all.f32(), all.f32() + all.size());
  }
  EXPECT_NEAR(results[1].loss, results[0].loss, 1e-5);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    difference += std::pow(static_cast<double>(gradients[0][i] - gradients[1][i]), 2);
    norm += std::pow(static_cast<double>(gradients[0][i]), 2);
  }
  EXPECT_LT(std::sqrt(difference), 1e-5 * std::sqrt(norm));
  EXPECT_GT(norm, 0);
}

}  // namespace
}  // namespace llm
