#include "train/evaluation.h"

#include <algorithm>

namespace llm {

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
    workspace.objective.evaluate(sum, workspace.model, workspace.arena,
                                 workspace.step.buffers().upload(batch));
    float of_batch = 0;
    workspace.backend.copy_to_host(&of_batch, sum);
    total += of_batch;  // in double: a split may have billions of targets
  }
  if (comm.ranks() > 1) {
    total = comm.all_reduce(total, Reduce::sum);
    targets = comm.all_reduce(targets, Reduce::sum);
  }
  return {targets > 0 ? total / static_cast<double>(targets) : 0, targets};
}

}  // namespace llm
