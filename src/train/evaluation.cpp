#include "train/evaluation.h"

#include <algorithm>

#include "backend/dtype.h"
#include "base/error.h"

namespace llm {

namespace {

// The last batch of a split may have rows that hold nothing: they need not be computed.
DeviceBatch first_rows(const DeviceBatch& batch, int64_t rows) {
  DeviceBatch result = batch;
  const int64_t length = batch.input.tokens.dim(1);
  result.input.tokens = batch.input.tokens.slice(0, 0, rows);
  result.input.sample_ids = batch.input.sample_ids.slice(0, 0, rows);
  result.targets = batch.targets.slice(0, 0, rows * length);
  return result;
}

}  // namespace

EvaluationResult evaluate(Workspace& workspace, const EvaluationSource& source,
                          int64_t most_batches) {
  Comm& comm = workspace.comm;
  int64_t batches = source.batches(workspace.batch);
  if (most_batches > 0) batches = std::min(batches, most_batches);
  const ArenaScope scope(workspace.arena);
  const Tensor sum = workspace.arena.take(DType::f32, {1});
  double total = 0;
  int64_t targets = 0;
  for (int64_t i = comm.rank(); i < batches; i += comm.ranks()) {
    const Batch batch = source.batch(i, workspace.batch);
    targets += std::count_if(batch.targets.begin(), batch.targets.end(),
                             [](int32_t target) { return target >= 0; });
    workspace.backend.fill(sum, 0);
    const int64_t rows = std::min(workspace.batch, source.windows() - i * workspace.batch);
    workspace.objective.evaluate(sum, workspace.model, workspace.arena,
                                 first_rows(workspace.step.buffers().upload(batch), rows));
    float of_batch = 0;
    workspace.backend.copy_to_host(&of_batch, sum);
    total += of_batch;  // in double: a split may have billions of targets
  }
  if (!comm.alone()) {
    total = comm.all_reduce(total, Reduce::sum);
    targets = comm.all_reduce(targets, Reduce::sum);
  }
  return {targets > 0 ? total / static_cast<double>(targets) : 0, targets};
}

namespace {

int64_t batches_to_evaluate(const ExampleBatches& batches, int64_t most_batches) {
  const int64_t all = batches.batches_per_epoch();
  return most_batches > 0 ? std::min(all, most_batches) : all;
}

// The label with the largest of the first `labels` numbers in each row.
std::vector<int32_t> largest_of_rows(Backend& backend, Tensor logits, int64_t labels) {
  const int64_t rows = logits.dim(0), columns = logits.dim(1);
  std::vector<float> values(static_cast<size_t>(rows * columns));
  if (logits.dtype == DType::f32) {
    backend.copy_to_host(values.data(), logits);
  } else {
    std::vector<uint16_t> rounded(values.size());
    backend.copy_to_host(rounded.data(), logits);
    std::transform(rounded.begin(), rounded.end(), values.begin(), bf16_to_f32);
  }
  std::vector<int32_t> largest;
  for (int64_t row = 0; row < rows; ++row) {
    const auto begin = values.begin() + row * columns;
    largest.push_back(static_cast<int32_t>(std::max_element(begin, begin + labels) - begin));
  }
  return largest;
}

}  // namespace

EvaluationResult evaluate(Workspace& workspace, ExampleBatches& batches, int64_t most_batches) {
  Comm& comm = workspace.comm;
  BatchBuffers& buffers = workspace.step.buffers();
  const ArenaScope scope(workspace.arena);
  const Tensor sum = workspace.arena.take(DType::f32, {1});
  double total = 0, targets = 0;
  const int64_t count = batches_to_evaluate(batches, most_batches);
  for (int64_t i = comm.rank(); i < count; i += comm.ranks()) {
    const Batch batch = batches.batch(i);
    targets += workspace.objective.count(batch, buffers);
    workspace.backend.fill(sum, 0);
    workspace.objective.evaluate(sum, workspace.model, workspace.arena, buffers.upload(batch));
    float of_batch = 0;
    workspace.backend.copy_to_host(&of_batch, sum);
    total += of_batch;
  }
  if (!comm.alone()) {
    total = comm.all_reduce(total, Reduce::sum);
    targets = comm.all_reduce(targets, Reduce::sum);
  }
  return {targets > 0 ? total / targets : 0, static_cast<int64_t>(targets)};
}

ClassifierResult evaluate_classifier(Workspace& workspace, ExampleBatches& batches,
                                     int64_t most_batches) {
  Comm& comm = workspace.comm;
  BatchBuffers& buffers = workspace.step.buffers();
  auto* objective = dynamic_cast<Classification*>(&workspace.objective);
  LLM_ASSERT(objective != nullptr);
  const int64_t labels = std::ssize(workspace.model.config().labels);
  ClassifierResult result{0, ConfusionMatrix(labels)};
  double total = 0, weights = 0;
  const ArenaScope scope(workspace.arena);
  const Tensor sum = workspace.arena.take(DType::f32, {1});
  const int64_t count = batches_to_evaluate(batches, most_batches);
  for (int64_t i = comm.rank(); i < count; i += comm.ranks()) {
    const ArenaScope batch_scope(workspace.arena);
    const Batch batch = batches.batch(i);
    weights += objective->count(batch, buffers);
    workspace.backend.fill(sum, 0);
    const Tensor logits =
        objective->classify(sum, workspace.model, workspace.arena, buffers.upload(batch));
    const std::vector<int32_t> predicted = largest_of_rows(workspace.backend, logits, labels);
    float of_batch = 0;
    workspace.backend.copy_to_host(&of_batch, sum);
    total += of_batch;
    for (size_t row = 0; row < predicted.size(); ++row) {
      if (batch.labels[row] >= 0) result.confusion.add(batch.labels[row], predicted[row]);
    }
  }
  if (!comm.alone()) {
    total = comm.all_reduce(total, Reduce::sum);
    weights = comm.all_reduce(weights, Reduce::sum);
    result.confusion.sum_over_ranks(workspace.backend, comm);
  }
  result.loss = weights > 0 ? total / weights : 0;
  return result;
}

}  // namespace llm
