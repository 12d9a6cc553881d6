#include "train/evaluation.h"

#include <algorithm>

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

}  // namespace llm
