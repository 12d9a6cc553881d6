// Attention for any head size up to 256, mask, stride and type; see attention_plain.h. The kernels
// to read first: what attention_mma_*.cu do on tensor cores is done here with plain loops.
//
// Forward: a block has 4 query rows per warp of one head and walks over tiles of 32 keys that some
// of them see (attention_plain.cuh). Per tile: scores, the running maximum and sum of the online
// softmax (Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018), and the
// weighted sum of the values so far. Rows are independent of each other.
//
// Backward, with P = softmax(scores), M the dropout factors and out = (P * M) V:
//   dV = (P * M)^T dout,  dS = P * (M * (dout V^T) - delta),  delta = rowsum(dout * out),
//   dQ = scale dS K,  dK = scale dS^T Q.
// One kernel makes delta; one walks over keys for a block of queries and makes dQ; one walks over
// queries for a block of keys and makes dK and dV. Both make P again from lse. Nothing is added up
// across blocks, so the result is repeatable; the price is 7 products instead of 5.
//
// Rounding: inputs are widened, all arithmetic is f32 (a score is summed in the order of d, a
// result in the order of the columns), outputs are rounded once. Bytes: a query block reads all
// keys and values that it sees, so Tq / (4 * warps) times the keys and values, from L2 mostly;
// arithmetic is what takes the time.
#include <cmath>

#include "cuda/attention_plain.cuh"
#include "cuda/attention_plain.h"
#include "cuda/kernel_launch.cuh"

namespace llm::cuda {
namespace {

template <typename T>
__device__ __forceinline__ T* head_at(const Heads& heads, int64_t b, int64_t row, int64_t head) {
  return static_cast<T*>(heads.data) + b * heads.batch + row * heads.row + head * heads.head;
}

// One step of the online softmax: turns scores of this lane's key into weights relative to the
// running maximum, and moves the sums so far to it.
template <int kSlots>
__device__ __forceinline__ float softmax_step(float score, float& top, float& total,
                                              float (&sums)[kSlots]) {
  const float new_top = fmaxf(top, warp_max(score));
  if (new_top == -INFINITY) return 0;  // no key seen yet
  const float rescale = expf(top - new_top), weight = expf(score - new_top);
  total = total * rescale + weight;
#pragma unroll
  for (int s = 0; s < kSlots; ++s) sums[s] *= rescale;
  top = new_top;
  return weight;
}

// Bit r of the result: the probability of this lane's column and the warp's row r is kept.
// elements: what is added to `first` per row.
__device__ __forceinline__ uint32_t keeps_rows(const ProbabilityDropout& dropout, uint64_t stream,
                                               uint64_t first, uint64_t elements) {
  if (dropout.threshold == 0) return ~0u;
  uint32_t bits = 0;
#pragma unroll 1  // for few registers
  for (int r = 0; r < kPlainRows; ++r, first += elements) {
    bits |= static_cast<uint32_t>(dropout.keeps(stream, first)) << r;
  }
  return bits;
}

template <typename T, int kSlots>
__global__ void __launch_bounds__(plain_warps(kSlots) * kWarp)
    attention_plain_forward_kernel(AttentionForward tensors, AttentionProblem problem,
                                   ProbabilityDropout dropout, int tiles) {
  constexpr int kRows = plain_warps(kSlots) * kPlainRows;
  extern __shared__ float4 shared_words[];
  float* shared = reinterpret_cast<float*>(shared_words);
  const int D = static_cast<int>(problem.D), lane = threadIdx.x % kWarp;
  const BlockPlace block = place_of_block(tiles, problem.H);
  const int h = block.head, g = key_head_of(problem, h);
  const Tile place = tile_at(problem.query_offsets, problem.sequences, block.batch,
                             tiles - 1 - block.tile, kRows);  // the longest first
  const Segment segment = segment_at(problem, place.segment);
  const int64_t b = segment.batch;
  const int first = place.begin, end = min(first + kRows, segment.query_count);
  if (first >= end) return;
  const PlainRows queries = plain_rows(shared, kRows, D);
  const PlainRows keys = plain_rows(shared, kPlainColumns, D);
  const PlainRows values = plain_rows(shared, kPlainColumns, D);
  float4* weights = reinterpret_cast<float4*>(shared) + threadIdx.x / kWarp * kPlainColumns;

  const T* key_head = head_at<T>(tensors.k, b, segment.key_begin, g);
  const T* value_head = head_at<T>(tensors.v, b, segment.key_begin, g);
  fill_rows(queries, head_at<T>(tensors.q, b, segment.query_begin, h), tensors.q.row, first, end,
            kRows, D);
  const int own = first + threadIdx.x / kWarp * kPlainRows;  // the warp's first row
  Range seen[kPlainRows];
  float top[kPlainRows], total[kPlainRows] = {}, sums[kPlainRows][kSlots] = {};
#pragma unroll
  for (int r = 0; r < kPlainRows; ++r) {
    top[r] = -INFINITY;
    seen[r] = own + r < end ? visible_keys(problem, segment, own + r) : Range{0, 0};
  }
  const uint64_t stream = dropout.threshold ? dropout.stream(b) : 0;

  const int last = visible_keys(problem, segment, end - 1).end;
  for (int j0 = visible_keys(problem, segment, first).begin; j0 < last; j0 += kPlainColumns) {
    __syncthreads();
    fill_rows(keys, key_head, tensors.k.row, j0, segment.key_count, kPlainColumns, D);
    fill_rows(values, value_head, tensors.v.row, j0, segment.key_count, kPlainColumns, D);
    __syncthreads();
    const int j = j0 + lane;
    const uint64_t element =
        probability_element(problem, h, segment.query_begin + own, segment.key_begin + j);
    const uint32_t kept = keeps_rows(dropout, stream, element, problem.Tk);
    float scores[kPlainRows];
    dot_rows(scores, queries, keys);
#pragma unroll
    for (int r = 0; r < kPlainRows; ++r) {
      const bool visible = j >= seen[r].begin && j < seen[r].end;
      const float weight =
          softmax_step(visible ? problem.scale * scores[r] : -INFINITY, top[r], total[r], sums[r]);
      scores[r] = kept >> r & 1 ? weight : 0.0f;  // after the softmax: the total has every key
    }
    weights[lane] = make_float4(scores[0], scores[1], scores[2], scores[3]);
    __syncwarp();
    add_columns(sums, weights, values);
    __syncwarp();
  }

#pragma unroll
  for (int r = 0; r < kPlainRows; ++r) {
    if (own + r >= end) continue;
    const int64_t row = segment.query_begin + own + r;
    const float sum = warp_sum(total[r]);
    store_row(head_at<T>(tensors.out, b, row, h), sums[r], sum > 0 ? dropout.factor / sum : 0.0f,
              D);
    if (tensors.lse && lane == 0) {
      tensors.lse[(b * problem.H + h) * problem.Tq + row] = top[r] + logf(sum);
    }
  }
}

// delta: (B, H, Tq). A warp per row.
template <typename T>
__global__ void __launch_bounds__(8 * kWarp)
    attention_plain_delta_kernel(float* delta, Heads dout, Heads out, AttentionProblem problem) {
  const int64_t index = int64_t{blockIdx.x} * 8 + threadIdx.x / kWarp;
  if (index >= problem.B * problem.H * problem.Tq) return;
  const int64_t i = index % problem.Tq, h = index / problem.Tq % problem.H;
  const int64_t b = index / problem.Tq / problem.H;
  const T* gradient = head_at<T>(dout, b, i, h);
  const T* result = head_at<T>(out, b, i, h);
  float sum = 0;
  for (int64_t d = threadIdx.x % kWarp; d < problem.D; d += kWarp) {
    sum = fmaf(to_float(gradient[d]), to_float(result[d]), sum);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) delta[index] = sum;
}

// dq with queries as rows and keys as columns, or dk and dv with keys as rows and queries as
// columns. x is q or k, y is what goes with it in the second product: dout or v.
template <typename T, int kSlots, bool kKeysAsRows>
__global__ void __launch_bounds__(plain_warps(kSlots) * kWarp)
    attention_plain_backward_kernel(AttentionBackward tensors, const float* delta,
                                    AttentionProblem problem, ProbabilityDropout dropout,
                                    int tiles) {
  constexpr int kRows = plain_warps(kSlots) * kPlainRows;
  extern __shared__ float4 shared_words[];
  float* shared = reinterpret_cast<float*>(shared_words);
  const int D = static_cast<int>(problem.D), lane = threadIdx.x % kWarp;
  const int32_t* offsets = kKeysAsRows ? problem.key_offsets : problem.query_offsets;
  const BlockPlace block = place_of_block(tiles, kKeysAsRows ? problem.KV : problem.H);
  const Tile place = tile_at(offsets, problem.sequences, block.batch,
                             kKeysAsRows ? block.tile : tiles - 1 - block.tile, kRows);
  const Segment segment = segment_at(problem, place.segment);
  const int64_t b = segment.batch, group = problem.H / problem.KV;
  const int row_count = kKeysAsRows ? segment.key_count : segment.query_count;
  const int column_count = kKeysAsRows ? segment.query_count : segment.key_count;
  const int64_t row_begin = kKeysAsRows ? segment.key_begin : segment.query_begin;
  const int64_t column_begin = kKeysAsRows ? segment.query_begin : segment.key_begin;
  const int first = place.begin, end = min(first + kRows, row_count);
  if (first >= end) return;
  const Heads& row_x = kKeysAsRows ? tensors.k : tensors.q;
  const Heads& row_y = kKeysAsRows ? tensors.v : tensors.dout;
  const Heads& column_x = kKeysAsRows ? tensors.q : tensors.k;
  const Heads& column_y = kKeysAsRows ? tensors.dout : tensors.v;
  const PlainRows rows_x = plain_rows(shared, kRows, D), rows_y = plain_rows(shared, kRows, D);
  const PlainRows columns_x = plain_rows(shared, kPlainColumns, D);
  const PlainRows columns_y = plain_rows(shared, kPlainColumns, D);
  float4* weights = reinterpret_cast<float4*>(shared) + threadIdx.x / kWarp * 2 * kPlainColumns;
  float4* dscores = weights + kPlainColumns;

  fill_rows(rows_x, head_at<T>(row_x, b, row_begin, block.head), row_x.row, first, end, kRows, D);
  fill_rows(rows_y, head_at<T>(row_y, b, row_begin, block.head), row_y.row, first, end, kRows, D);
  const auto range_of = [&](int row) {
    return kKeysAsRows ? seeing_queries(problem, segment, row)
                       : visible_keys(problem, segment, row);
  };
  const int own = first + threadIdx.x / kWarp * kPlainRows;  // the warp's first row
  Range range[kPlainRows];
#pragma unroll
  for (int r = 0; r < kPlainRows; ++r) range[r] = own + r < end ? range_of(own + r) : Range{0, 0};
  float sums_x[kPlainRows][kSlots] = {}, sums_y[kPlainRows][kSlots] = {};
  const uint64_t stream = dropout.threshold ? dropout.stream(b) : 0;

  // All query heads of a key's group, or the one of a query.
  const int64_t h_begin = kKeysAsRows ? block.head * group : block.head;
  const int64_t h_end = kKeysAsRows ? h_begin + group : h_begin + 1;
  const int c_begin = range_of(first).begin, c_end = range_of(end - 1).end;
  for (int64_t h = h_begin; h < h_end; ++h) {
    const int64_t column_head = kKeysAsRows ? h : h / group;
    const int64_t statistics = (b * problem.H + h) * problem.Tq + segment.query_begin;
    for (int c0 = c_begin; c0 < c_end; c0 += kPlainColumns) {
      __syncthreads();
      fill_rows(columns_x, head_at<T>(column_x, b, column_begin, column_head), column_x.row, c0,
                column_count, kPlainColumns, D);
      fill_rows(columns_y, head_at<T>(column_y, b, column_begin, column_head), column_y.row, c0,
                column_count, kPlainColumns, D);
      __syncthreads();
      const int column = c0 + lane;
      const uint64_t element =
          probability_element(problem, h, segment.query_begin + (kKeysAsRows ? column : own),
                              segment.key_begin + (kKeysAsRows ? own : column));
      const uint32_t kept = keeps_rows(dropout, stream, element, kKeysAsRows ? 1 : problem.Tk);
      float scores[kPlainRows], dweights[kPlainRows];
      dot_rows(scores, rows_x, columns_x);
      dot_rows(dweights, rows_y, columns_y);
#pragma unroll
      for (int r = 0; r < kPlainRows; ++r) {
        float weight = 0, dscore = 0;
        if (column >= range[r].begin && column < range[r].end) {
          const int64_t row = statistics + (kKeysAsRows ? column : own + r);
          const float probability = expf(fmaf(problem.scale, scores[r], -tensors.lse[row]));
          const float factor = kept >> r & 1 ? dropout.factor : 0.0f;
          weight = probability * factor;
          dscore = probability * (factor * dweights[r] - delta[row]);
        }
        scores[r] = weight;
        dweights[r] = dscore;
      }
      if (kKeysAsRows) weights[lane] = make_float4(scores[0], scores[1], scores[2], scores[3]);
      dscores[lane] = make_float4(dweights[0], dweights[1], dweights[2], dweights[3]);
      __syncwarp();
      add_columns(sums_x, dscores, columns_x);
      if (kKeysAsRows) add_columns(sums_y, weights, columns_y);
      __syncwarp();
    }
  }

#pragma unroll
  for (int r = 0; r < kPlainRows; ++r) {
    if (own + r >= end) continue;
    const int64_t row = row_begin + own + r;
    store_row(head_at<T>(kKeysAsRows ? tensors.dk : tensors.dq, b, row, block.head), sums_x[r],
              problem.scale, D);
    if (kKeysAsRows) store_row(head_at<T>(tensors.dv, b, row, block.head), sums_y[r], 1.0f, D);
  }
}

// Bytes of shared memory: `row_sets` times the rows of a block, two tiles of columns, and weights.
template <int kSlots>
int64_t plain_shared_bytes(int64_t D, int row_sets, int weight_sets) {
  const int64_t warps = plain_warps(kSlots);
  const int64_t rows = row_sets * warps * kPlainRows + 2 * kPlainColumns;
  return rows * PlainRows::stride_of(D) * static_cast<int64_t>(sizeof(float)) +
         weight_sets * warps * kPlainColumns * static_cast<int64_t>(sizeof(float4));
}

template <int kSlots, typename Kernel, typename... Arguments>
void launch_plain(Kernel kernel, int64_t blocks, int64_t shared, cudaStream_t stream,
                  Arguments... arguments) {
  if (blocks == 0) return;
  if (shared > 48 * 1024) {
    allow_shared_memory(kernel, static_cast<int>(shared));
  }
  kernel<<<static_cast<unsigned>(blocks), plain_warps(kSlots) * kWarp, shared, stream>>>(
      arguments...);
}

template <typename T, int kSlots>
void forward(const AttentionForward& tensors, const AttentionProblem& problem,
             cudaStream_t stream) {
  const int64_t tiles = tiles_of_row(problem, problem.Tq, plain_warps(kSlots) * kPlainRows);
  launch_plain<kSlots>(attention_plain_forward_kernel<T, kSlots>, tiles * problem.H * problem.B,
                       plain_shared_bytes<kSlots>(problem.D, 1, 1), stream, tensors, problem,
                       probability_dropout(problem), static_cast<int>(tiles));
}

template <typename T, int kSlots>
void backward(const AttentionBackward& tensors, const AttentionProblem& problem, float* delta,
              cudaStream_t stream) {
  const int rows = plain_warps(kSlots) * kPlainRows;
  const int64_t shared = plain_shared_bytes<kSlots>(problem.D, 2, 2);
  const ProbabilityDropout dropout = probability_dropout(problem);
  const int64_t queries = problem.B * problem.H * problem.Tq;
  if (queries > 0) {
    attention_plain_delta_kernel<T>
        <<<static_cast<unsigned>(ceil_div(queries, 8)), 8 * kWarp, 0, stream>>>(
            delta, tensors.dout, tensors.out, problem);
  }
  const int64_t query_tiles = tiles_of_row(problem, problem.Tq, rows);
  launch_plain<kSlots>(attention_plain_backward_kernel<T, kSlots, false>,
                       query_tiles * problem.H * problem.B, shared, stream, tensors,
                       static_cast<const float*>(delta), problem, dropout,
                       static_cast<int>(query_tiles));
  const int64_t key_tiles = tiles_of_row(problem, problem.Tk, rows);
  launch_plain<kSlots>(attention_plain_backward_kernel<T, kSlots, true>,
                       key_tiles * problem.KV * problem.B, shared, stream, tensors,
                       static_cast<const float*>(delta), problem, dropout,
                       static_cast<int>(key_tiles));
}

template <typename T>
void forward_of(const AttentionForward& tensors, const AttentionProblem& problem,
                cudaStream_t stream) {
  if (problem.D <= 64) return forward<T, 2>(tensors, problem, stream);
  if (problem.D <= 128) return forward<T, 4>(tensors, problem, stream);
  forward<T, 8>(tensors, problem, stream);
}

template <typename T>
void backward_of(const AttentionBackward& tensors, const AttentionProblem& problem, float* delta,
                 cudaStream_t stream) {
  if (problem.D <= 64) return backward<T, 2>(tensors, problem, delta, stream);
  if (problem.D <= 128) return backward<T, 4>(tensors, problem, delta, stream);
  backward<T, 8>(tensors, problem, delta, stream);
}

}  // namespace

void attention_plain_forward(const AttentionForward& tensors, const AttentionProblem& problem,
                             Element element, cudaStream_t stream) {
  if (element == Element::f32) return forward_of<float>(tensors, problem, stream);
  forward_of<bf16>(tensors, problem, stream);
}

int64_t attention_plain_backward_scratch(const AttentionProblem& problem) {
  return problem.B * problem.H * problem.Tq * static_cast<int64_t>(sizeof(float));
}

void attention_plain_backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                              Element element, void* scratch, cudaStream_t stream) {
  float* delta = static_cast<float*>(scratch);
  if (element == Element::f32) return backward_of<float>(tensors, problem, delta, stream);
  backward_of<bf16>(tensors, problem, delta, stream);
}

}  // namespace llm::cuda
