#include "cpu_ref/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "backend/dropout_mask.h"
#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
namespace {

double dot(const float* a, const float* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// What dropout multiplies probability (h, i, j) with; i and j count from the start of the row.
class ProbabilityMask {
 public:
  ProbabilityMask(const AttentionProblem& problem, int64_t b, int64_t h, int64_t i)
      : rate_(problem.dropout_rate),
        seed_(problem.dropout_seed),
        first_(static_cast<uint64_t>((h * problem.Tq + i) * problem.Tk)) {
    if (rate_ > 0) stream_ = dropout_stream(problem.dropout_site, problem.sample_ids[b]);
  }
  double factor(int64_t j) const {
    if (rate_ == 0) return 1;
    const bool keeps =
        dropout_keeps(seed_, stream_, first_ + static_cast<uint64_t>(j), dropout_threshold(rate_));
    return keeps ? 1.0f / (1.0f - rate_) : 0;
  }

 private:
  float rate_;
  uint64_t seed_, stream_ = 0, first_;
};

}  // namespace

int64_t segment_count(const AttentionProblem& problem) {
  return problem.query_offsets ? problem.sequences : problem.B;
}

Segment segment_at(const AttentionProblem& problem, int64_t index) {
  if (!problem.query_offsets) return {index, 0, problem.Tq, 0, problem.Tk};
  const int64_t query = problem.query_offsets[index], key = problem.key_offsets[index];
  return {0, query, problem.query_offsets[index + 1] - query, key,
          problem.key_offsets[index + 1] - key};
}

KeyRange visible_keys(const AttentionProblem& problem, const Segment& segment, int64_t i) {
  if (problem.mask == MaskKind::full) return {0, segment.key_count};
  // The last query sees the last key.
  const int64_t own = i + segment.key_count - segment.query_count;
  const int64_t end = std::clamp<int64_t>(own + 1, 0, segment.key_count);
  if (problem.mask == MaskKind::causal) return {0, end};
  return {std::min(end, std::max<int64_t>(0, own + 1 - problem.window)), end};
}

void attention_forward(HeadView<float> out, float* lse, HeadView<const float> q,
                       HeadView<const float> k, HeadView<const float> v,
                       const AttentionProblem& problem, Threads threads) {
  const int64_t H = problem.H, D = problem.D;
  parallel_items(segment_count(problem) * H, threads, [&](int64_t item) {
    const Segment segment = segment_at(problem, item / H);
    const int64_t b = segment.batch, h = item % H, g = h * problem.KV / H;
    std::vector<double> probability(static_cast<size_t>(segment.key_count));
    std::vector<double> sum(static_cast<size_t>(D));
    for (int64_t i = 0; i < segment.query_count; ++i) {
      const int64_t row = segment.query_begin + i, first = segment.key_begin;
      const auto [begin, end] = visible_keys(problem, segment, i);
      double top = -std::numeric_limits<double>::infinity(), total = 0;
      for (int64_t j = begin; j < end; ++j) {
        probability[j] = problem.scale * dot(q.at(b, row, h), k.at(b, first + j, g), D);
        top = std::max(top, probability[j]);
      }
      for (int64_t j = begin; j < end; ++j) {
        probability[j] = std::exp(probability[j] - top);
        total += probability[j];
      }
      std::fill(sum.begin(), sum.end(), 0.0);
      const ProbabilityMask mask(problem, b, h, row);
      for (int64_t j = begin; j < end; ++j) {
        const double weight = probability[j] / total * mask.factor(first + j);
        const float* value = v.at(b, first + j, g);
        for (int64_t d = 0; d < D; ++d) sum[d] += weight * value[d];
      }
      for (int64_t d = 0; d < D; ++d) out.at(b, row, h)[d] = static_cast<float>(sum[d]);
      if (lse) lse[(b * H + h) * problem.Tq + row] = static_cast<float>(top + std::log(total));
    }
  });
}

// With P = softmax(scores), M the dropout factors and out = (P * M) V:
//   dV = (P * M)^T dout,  dS = P * (M * (dout V^T) - rowsum(dout * out)),
//   dQ = scale dS K,  dK = scale dS^T Q.
// A thread owns a key/value head of a segment, so that nobody else adds to its dK and dV.
void attention_backward(HeadView<float> dq, HeadView<float> dk, HeadView<float> dv,
                        HeadView<const float> dout, HeadView<const float> out, const float* lse,
                        HeadView<const float> q, HeadView<const float> k, HeadView<const float> v,
                        const AttentionProblem& problem, Threads threads) {
  const int64_t H = problem.H, KV = problem.KV, D = problem.D;
  parallel_items(segment_count(problem) * KV, threads, [&](int64_t item) {
    const Segment segment = segment_at(problem, item / KV);
    const int64_t b = segment.batch, g = item % KV, first = segment.key_begin;
    std::vector<double> sum_dk(static_cast<size_t>(segment.key_count * D)), sum_dv(sum_dk);
    std::vector<double> sum_dq(static_cast<size_t>(D));
    for (int64_t h = g * (H / KV); h < (g + 1) * (H / KV); ++h) {
      for (int64_t i = 0; i < segment.query_count; ++i) {
        const int64_t row = segment.query_begin + i;
        const float* query = q.at(b, row, h);
        const float* gradient = dout.at(b, row, h);
        const double row_sum = dot(gradient, out.at(b, row, h), D);
        const double row_lse = lse[(b * H + h) * problem.Tq + row];
        const ProbabilityMask mask(problem, b, h, row);
        const auto [begin, end] = visible_keys(problem, segment, i);
        std::fill(sum_dq.begin(), sum_dq.end(), 0.0);
        for (int64_t j = begin; j < end; ++j) {
          const float* key = k.at(b, first + j, g);
          const double probability = std::exp(problem.scale * dot(query, key, D) - row_lse);
          const double factor = mask.factor(first + j);
          const double dprobability = factor * dot(gradient, v.at(b, first + j, g), D);
          const double dscore = problem.scale * probability * (dprobability - row_sum);
          for (int64_t d = 0; d < D; ++d) {
            sum_dq[d] += dscore * key[d];
            sum_dk[j * D + d] += dscore * query[d];
            sum_dv[j * D + d] += probability * factor * gradient[d];
          }
        }
        for (int64_t d = 0; d < D; ++d) dq.at(b, row, h)[d] = static_cast<float>(sum_dq[d]);
      }
    }
    for (int64_t j = 0; j < segment.key_count; ++j) {
      for (int64_t d = 0; d < D; ++d) {
        dk.at(b, first + j, g)[d] = static_cast<float>(sum_dk[j * D + d]);
        dv.at(b, first + j, g)[d] = static_cast<float>(sum_dv[j * D + d]);
      }
    }
  });
}

}  // namespace llm::cpu_ref
