#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/dropout_mask.h"
#include "cpu_ref/attention.h"
#include "cpu_ref/dropout.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/tile_product.h"
#include "cpu_ref/vector_rows.h"

namespace llm::cpu_ref {
namespace {

constexpr int64_t kQueryTile = 24;      // rows of a tile, a multiple of tile_product's 6
constexpr int64_t kBackwardKeys = 256;  // keys per tile of the backward pass

using Buffer = std::vector<float>;
Buffer buffer(int64_t elements) { return Buffer(static_cast<size_t>(elements)); }

// The keys that any of the queries [first, first + count) of a segment sees.
KeyRange tile_keys(const AttentionProblem& problem, const Segment& segment, int64_t first,
                   int64_t count) {
  return {visible_keys(problem, segment, first).begin,
          visible_keys(problem, segment, first + count - 1).end};
}

Threads useful_threads(const AttentionProblem& problem, Threads threads) {
  return threads_for_products(problem.B * problem.H * problem.Tq * problem.Tk * problem.D, threads);
}

void multiply_row(float* x, const float* factors, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factors[i];
}

// The dropout factors of probability (row, first_key + [0, count)) of a head.
void row_factors(float* factors, const AttentionProblem& problem, int64_t b, int64_t h, int64_t row,
                 int64_t first_key, int64_t count) {
  const auto element = static_cast<uint64_t>((h * problem.Tq + row) * problem.Tk + first_key);
  dropout_factors(factors, problem.dropout_seed,
                  dropout_stream(problem.dropout_site, problem.sample_ids[b]), element, count,
                  problem.dropout_rate);
}

// --- Forward: all keys of a head packed, a tile of queries at a time

struct ForwardScratch {
  ForwardScratch(const AttentionProblem& problem)
      : keys(buffer(problem.D * padded_columns(problem.Tk))),
        values(buffer(problem.Tk * padded_columns(problem.D))),
        queries(buffer(kQueryTile * padded_columns(problem.D))),
        scores(buffer(kQueryTile * padded_columns(problem.Tk))),
        sums(buffer(kQueryTile * padded_columns(problem.D))),
        factors(buffer(problem.dropout_rate > 0 ? problem.Tk : 0)) {}
  Buffer keys, values, queries, scores, sums, factors;
};

// Scores of a tile of queries -> probabilities (not yet divided by their sum) and lse.
void tile_softmax(ForwardScratch& scratch, float* totals, float* lse,
                  const AttentionProblem& problem, const Segment& segment, int64_t h, int64_t first,
                  int64_t count, KeyRange keys, int64_t width) {
  for (int64_t i = 0; i < count; ++i) {
    const auto [begin, end] = visible_keys(problem, segment, first + i);
    float* row = scratch.scores.data() + i * width;
    const SoftmaxRow result = exp_row(row + begin - keys.begin, end - begin);
    std::fill(row, row + (begin - keys.begin), 0.0f);
    std::fill(row + (end - keys.begin), row + width, 0.0f);
    totals[i] = static_cast<float>(result.total);
    const int64_t query = segment.query_begin + first + i;
    if (lse) {
      lse[(segment.batch * problem.H + h) * problem.Tq + query] =
          static_cast<float>(static_cast<double>(result.top) + std::log(result.total));
    }
    if (problem.dropout_rate > 0) {
      row_factors(scratch.factors.data(), problem, segment.batch, h, query,
                  segment.key_begin + begin, end - begin);
      multiply_row(row + begin - keys.begin, scratch.factors.data(), end - begin);
    }
  }
}

void forward_head(ForwardScratch& scratch, HeadView<float> out, float* lse, HeadView<const float> q,
                  HeadView<const float> k, HeadView<const float> v, const AttentionProblem& problem,
                  const Segment& segment, int64_t h) {
  const int64_t D = problem.D, padded = padded_columns(D), b = segment.batch;
  const int64_t g = h * problem.KV / problem.H, keys_stride = padded_columns(segment.key_count);
  pack_transposed(scratch.keys.data(), keys_stride, k.at(b, segment.key_begin, g), k.row,
                  segment.key_count, D);
  pack_rows(scratch.values.data(), v.at(b, segment.key_begin, g), v.row, segment.key_count, D, 1);
  for (int64_t first = 0; first < segment.query_count; first += kQueryTile) {
    const int64_t count = std::min(kQueryTile, segment.query_count - first);
    KeyRange keys = tile_keys(problem, segment, first, count);
    keys.begin = keys.begin / kTileColumns * kTileColumns;
    const int64_t width = padded_columns(keys.end - keys.begin);
    pack_rows(scratch.queries.data(), q.at(b, segment.query_begin + first, h), q.row, count, D,
              problem.scale);
    tile_product(scratch.scores.data(), width, scratch.queries.data(), padded, 1,
                 scratch.keys.data() + keys.begin, keys_stride, count, width, D, false);
    float totals[kQueryTile];
    tile_softmax(scratch, totals, lse, problem, segment, h, first, count, keys, width);
    tile_product(scratch.sums.data(), padded, scratch.scores.data(), width, 1,
                 scratch.values.data() + keys.begin * padded, padded, count, padded,
                 keys.end - keys.begin, false);
    for (int64_t i = 0; i < count; ++i) {
      const float inverse = totals[i] > 0 ? 1.0f / totals[i] : totals[i];  // NaN stays
      float* to = out.at(b, segment.query_begin + first + i, h);
      for (int64_t d = 0; d < D; ++d) to[d] = scratch.sums[i * padded + d] * inverse;
    }
  }
}

// --- Backward: a tile of keys packed, the queries that see it run by

struct BackwardScratch {
  BackwardScratch(const AttentionProblem& problem) {
    const int64_t padded = padded_columns(problem.D);
    const int64_t keys = std::min(kBackwardKeys, padded_columns(problem.Tk));
    keys_transposed = buffer(problem.D * keys);
    values_transposed = buffer(problem.D * keys);
    for (Buffer* rows : {&key_rows, &dkeys, &dvalues}) *rows = buffer(keys * padded);
    for (Buffer* rows : {&queries, &gradients, &dqueries}) *rows = buffer(kQueryTile * padded);
    for (Buffer* tile : {&scores, &dscores}) *tile = buffer(kQueryTile * keys);
    factors = buffer(problem.dropout_rate > 0 ? keys : 0);
  }
  Buffer keys_transposed, values_transposed, key_rows, dkeys, dvalues;
  Buffer queries, gradients, dqueries, scores, dscores, factors;
};

// One row: scores -> P, and dP -> dS = P (dP - row_sum); without dropout.
void backward_row(float* scores, float* dscores, int64_t count, float lse, float row_sum) {
  for_lanes(0, count, [&](int64_t j, int64_t lanes) {
    const bool whole = lanes == kLanes;
    const Floats p = exp((whole ? load(scores + j) : load_part(scores + j, lanes)) - lse);
    const Floats ds = p * ((whole ? load(dscores + j) : load_part(dscores + j, lanes)) - row_sum);
    whole ? store(scores + j, p) : store_part(scores + j, p, lanes);
    whole ? store(dscores + j, ds) : store_part(dscores + j, ds, lanes);
  });
}

// What one call works on, to keep parameter lists short.
struct BackwardCall {
  HeadView<float> dq, dk, dv;
  HeadView<const float> dout, out, q, k, v;
  const float* lse;
  const AttentionProblem& problem;
};

// Scores and their gradients of queries [first, first + count) against keys [keys.begin, keys.end).
void backward_scores(BackwardScratch& scratch, const BackwardCall& call, const Segment& segment,
                     int64_t h, int64_t first, int64_t count, KeyRange keys, int64_t width) {
  const AttentionProblem& problem = call.problem;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = segment.batch, row = segment.query_begin + first + i;
    const KeyRange own = visible_keys(problem, segment, first + i);
    const int64_t begin = std::clamp(own.begin, keys.begin, keys.end) - keys.begin;
    const int64_t end = std::max(begin, std::clamp(own.end, keys.begin, keys.end) - keys.begin);
    float* scores = scratch.scores.data() + i * width;
    float* dscores = scratch.dscores.data() + i * width;
    for (float* tile : {scores, dscores}) {
      std::fill(tile, tile + begin, 0.0f);
      std::fill(tile + end, tile + (keys.end - keys.begin), 0.0f);
    }
    if (begin == end) continue;
    const float row_sum = dot(call.dout.at(b, row, h), call.out.at(b, row, h), problem.D);
    const float lse = call.lse[(b * problem.H + h) * problem.Tq + row];
    if (problem.dropout_rate > 0) {
      row_factors(scratch.factors.data(), problem, b, h, row,
                  segment.key_begin + keys.begin + begin, end - begin);
      multiply_row(dscores + begin, scratch.factors.data(), end - begin);
    }
    backward_row(scores + begin, dscores + begin, end - begin, lse, row_sum);
    if (problem.dropout_rate > 0) {
      multiply_row(scores + begin, scratch.factors.data(), end - begin);
    }
  }
}

// width: row stride of the tiles, which may be wider than the keys that these queries see.
void backward_tile(BackwardScratch& scratch, const BackwardCall& call, const Segment& segment,
                   int64_t h, int64_t first, int64_t count, KeyRange keys, int64_t width) {
  const AttentionProblem& problem = call.problem;
  const int64_t D = problem.D, padded = padded_columns(D), b = segment.batch;
  const int64_t row = segment.query_begin + first, key_count = keys.end - keys.begin;
  const int64_t columns = padded_columns(key_count);
  pack_rows(scratch.queries.data(), call.q.at(b, row, h), call.q.row, count, D, problem.scale);
  pack_rows(scratch.gradients.data(), call.dout.at(b, row, h), call.dout.row, count, D, 1);
  tile_product(scratch.scores.data(), width, scratch.queries.data(), padded, 1,
               scratch.keys_transposed.data(), width, count, columns, D, false);
  tile_product(scratch.dscores.data(), width, scratch.gradients.data(), padded, 1,
               scratch.values_transposed.data(), width, count, columns, D, false);
  backward_scores(scratch, call, segment, h, first, count, keys, width);

  tile_product(scratch.dvalues.data(), padded, scratch.scores.data(), 1, width,
               scratch.gradients.data(), padded, key_count, padded, count, true);
  tile_product(scratch.dkeys.data(), padded, scratch.dscores.data(), 1, width,
               scratch.queries.data(), padded, key_count, padded, count, true);
  tile_product(scratch.dqueries.data(), padded, scratch.dscores.data(), width, 1,
               scratch.key_rows.data(), padded, count, padded, key_count, false);
  for (int64_t i = 0; i < count; ++i) {
    float* to = call.dq.at(b, row + i, h);
    for (int64_t d = 0; d < D; ++d) to[d] += problem.scale * scratch.dqueries[i * padded + d];
  }
}

// All that belongs to one key/value head of a segment.
void backward_head(BackwardScratch& scratch, const BackwardCall& call, const Segment& segment,
                   int64_t g) {
  const AttentionProblem& problem = call.problem;
  const int64_t D = problem.D, padded = padded_columns(D), b = segment.batch;
  const int64_t group = problem.H / problem.KV;
  for (int64_t i = 0; i < segment.query_count; ++i) {
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      std::fill_n(call.dq.at(b, segment.query_begin + i, h), D, 0.0f);
    }
  }
  for (int64_t key = 0; key < segment.key_count; key += kBackwardKeys) {
    const KeyRange keys{key, std::min(segment.key_count, key + kBackwardKeys)};
    const int64_t count = keys.end - keys.begin, width = padded_columns(count);
    const int64_t row = segment.key_begin + key;
    pack_transposed(scratch.keys_transposed.data(), width, call.k.at(b, row, g), call.k.row, count,
                    D);
    pack_transposed(scratch.values_transposed.data(), width, call.v.at(b, row, g), call.v.row,
                    count, D);
    pack_rows(scratch.key_rows.data(), call.k.at(b, row, g), call.k.row, count, D, 1);
    std::fill_n(scratch.dkeys.data(), count * padded, 0.0f);
    std::fill_n(scratch.dvalues.data(), count * padded, 0.0f);
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      for (int64_t first = 0; first < segment.query_count; first += kQueryTile) {
        const int64_t queries = std::min(kQueryTile, segment.query_count - first);
        const KeyRange seen = tile_keys(problem, segment, first, queries);
        if (seen.begin >= keys.end || seen.end <= keys.begin) continue;
        const KeyRange used{keys.begin, std::min(keys.end, seen.end)};
        backward_tile(scratch, call, segment, h, first, queries, used, width);
      }
    }
    for (int64_t j = 0; j < count; ++j) {
      std::copy_n(scratch.dkeys.data() + j * padded, D, call.dk.at(b, row + j, g));
      std::copy_n(scratch.dvalues.data() + j * padded, D, call.dv.at(b, row + j, g));
    }
  }
}

}  // namespace

void attention_forward_fast(HeadView<float> out, float* lse, HeadView<const float> q,
                            HeadView<const float> k, HeadView<const float> v,
                            const AttentionProblem& problem, Threads threads) {
  const int64_t H = problem.H;
  parallel_items(
      segment_count(problem) * H, useful_threads(problem, threads),
      [&] { return ForwardScratch(problem); },
      [&](int64_t item, ForwardScratch& scratch) {
        forward_head(scratch, out, lse, q, k, v, problem, segment_at(problem, item / H), item % H);
      });
}

void attention_backward_fast(HeadView<float> dq, HeadView<float> dk, HeadView<float> dv,
                             HeadView<const float> dout, HeadView<const float> out,
                             const float* lse, HeadView<const float> q, HeadView<const float> k,
                             HeadView<const float> v, const AttentionProblem& problem,
                             Threads threads) {
  const BackwardCall call{dq, dk, dv, dout, out, q, k, v, lse, problem};
  parallel_items(
      segment_count(problem) * problem.KV, useful_threads(problem, threads),
      [&] { return BackwardScratch(problem); },
      [&](int64_t item, BackwardScratch& scratch) {
        backward_head(scratch, call, segment_at(problem, item / problem.KV), item % problem.KV);
      });
}

}  // namespace llm::cpu_ref
