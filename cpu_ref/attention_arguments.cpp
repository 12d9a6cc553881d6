#include "cpu_ref/attention_arguments.h"

#include "base/error.h"
#include "cpu_ref/checks.h"

namespace llm::cpu_ref {

namespace {

// Packed rows: offsets from 0 to the lengths.
void set_offsets(const char* op, AttentionProblem& problem, const AttentionOptions& options) {
  if (!options.query_offsets) return;
  problem.sequences = options.query_offsets.size() - 1;
  problem.query_offsets = options.query_offsets.i32();
  problem.key_offsets = options.key_offsets.i32();
  const auto covers = [&](const int32_t* offsets, int64_t length) {
    for (int64_t n = 0; n < problem.sequences; ++n) {
      if (offsets[n] > offsets[n + 1]) return false;
    }
    return offsets[0] == 0 && offsets[problem.sequences] == length;
  };
  LLM_ASSERT(covers(problem.query_offsets, problem.Tq) && covers(problem.key_offsets, problem.Tk),
             "{}: offsets do not run from 0 to {} and {}", op, problem.Tq, problem.Tk);
}

}  // namespace

AttentionProblem attention_problem(const char* op, const Tensor& q, const Tensor& k,
                                   const Tensor& v, const AttentionOptions& options) {
  check_attention(op, q, k, v, options);
  AttentionProblem problem{};
  problem.B = q.dim(0), problem.Tq = q.dim(1), problem.H = q.dim(2), problem.D = q.dim(3);
  problem.Tk = k.dim(1), problem.KV = k.dim(2);
  problem.mask = options.mask;
  problem.window = options.window;
  problem.scale = options.scale;
  problem.dropout_rate = options.dropout.rate;
  if (problem.dropout_rate > 0) {
    problem.dropout_seed = options.dropout.seed;
    problem.dropout_site = options.dropout.site;
    problem.sample_ids = options.dropout.sample_ids.i64();
  }
  set_offsets(op, problem, options);
  return problem;
}

PagedCache paged_cache(const Tensor& cache, const Tensor& block_table) {
  return {cache.data,   cache.dtype,       cache.dim(1),      cache.dim(2),
          cache.dim(3), block_table.i32(), block_table.dim(1)};
}

void check_cache(const char* op, const Tensor& keys, const Tensor& values, const Tensor& table,
                 const Tensor& lengths, int64_t B, int64_t T) {
  check_cache_shapes(op, keys, values, table, lengths, B);
  for (int64_t b = 0; b < B; ++b) {
    const int64_t length = lengths.i32()[b], size = keys.dim(1);
    LLM_ASSERT(length >= T && length <= table.dim(1) * size, "{}: sequence {} has length {}", op, b,
               length);
    for (int64_t n = 0; n < (length + size - 1) / size; ++n) {
      const int64_t block = table.i32()[b * table.dim(1) + n];
      LLM_ASSERT(block >= 0 && block < keys.dim(0), "{}: sequence {} in block {}", op, b, block);
    }
  }
}

}  // namespace llm::cpu_ref
