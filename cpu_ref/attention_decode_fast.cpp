#include <algorithm>
#include <vector>

#include "cpu_ref/attention_decode.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/vector_rows.h"

namespace llm::cpu_ref {
namespace {

struct DecodeScratch {
  std::vector<float> probabilities, row, sum;
};

// One query of one head against the first `visible` cached positions.
void decode_query(float* out, DecodeScratch& scratch, const float* query, const PagedCache& keys,
                  const PagedCache& values, int64_t b, int64_t g, int64_t visible, float scale) {
  const int64_t D = keys.D;
  float* probabilities = scratch.probabilities.data();
  for (int64_t j = 0; j < visible; ++j) {
    probabilities[j] = scale * dot(query, keys.row(b, j, g, scratch.row.data()), D);
  }
  const SoftmaxRow softmax = exp_row(probabilities, visible);
  std::fill(scratch.sum.begin(), scratch.sum.end(), 0.0f);
  for (int64_t j = 0; j < visible; ++j) {
    add_scaled(scratch.sum.data(), values.row(b, j, g, scratch.row.data()), probabilities[j], D);
  }
  const float inverse = visible > 0 ? static_cast<float>(1 / softmax.total) : 0.0f;
  for (int64_t d = 0; d < D; ++d) out[d] = scratch.sum[static_cast<size_t>(d)] * inverse;
}

}  // namespace

void attention_decode_fast(HeadView<float> out, HeadView<const float> q, const PagedCache& keys,
                           const PagedCache& values, const int32_t* lengths, int64_t B, int64_t Tq,
                           int64_t H, float scale, Threads threads) {
  const int64_t D = keys.D;
  const int64_t longest = B > 0 ? *std::max_element(lengths, lengths + B) : 0;
  const auto make_scratch = [&] {
    const auto size = [](int64_t count) { return std::vector<float>(static_cast<size_t>(count)); };
    return DecodeScratch{size(longest), size(D), size(D)};
  };
  parallel_items(B * H, threads_for_products(B * H * Tq * longest * D, threads), make_scratch,
                 [&](int64_t item, DecodeScratch& scratch) {
                   const int64_t b = item / H, h = item % H, g = h * keys.KV / H;
                   for (int64_t i = 0; i < Tq; ++i) {
                     decode_query(out.at(b, i, h), scratch, q.at(b, i, h), keys, values, b, g,
                                  std::max<int64_t>(0, lengths[b] - Tq + i + 1), scale);
                   }
                 });
}

}  // namespace llm::cpu_ref
