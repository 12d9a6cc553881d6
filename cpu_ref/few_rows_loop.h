// The loops that the bodies of few_rows.h share, around what they do with one row of the weight.
#pragma once

#include <algorithm>

#include "cpu_ref/few_rows.h"

namespace llm::cpu_ref {

inline constexpr int64_t kPartialSums = 32;

// The last columns of a row, fewer than kPartialSums, with zeros behind them.
template <typename Element>
inline void load_rest(Element* to, const Element* from, int64_t count) {
  std::copy_n(from, count, to);
  std::fill(to + count, to + kPartialSums, Element{0});
}

// Rows of x in the order in which a body wants them. With an f32 weight: as they are. bf16 weights
// are widened in pairs, as 32-bit words whose halves are two columns: of each 32 columns those with
// even numbers come first, and zeros behind the last ones.
class OrderedRows {
 public:
  OrderedRows(const FewRows& product, const float*) : first_(product.x), stride_(product.in) {}
  OrderedRows(const FewRows& product, const uint16_t*)
      : stride_((product.in + kPartialSums - 1) / kPartialSums * kPartialSums) {
    copy_.take(product.rows * stride_);
    for (int64_t row = 0; row < product.rows; ++row) {
      order(copy_.data() + row * stride_, product.x + row * product.in, product.in);
    }
    first_ = copy_.data();
  }
  const float* row(int64_t index) const { return first_ + index * stride_; }
  int64_t stride() const { return stride_; }

 private:
  static void order(float* to, const float* from, int64_t count) {
    constexpr int64_t half = kPartialSums / 2;
    for (int64_t c = 0; c < count; c += kPartialSums, to += kPartialSums) {
      float rest[kPartialSums];
      const float* block = from + c;
      if (count - c < kPartialSums) load_rest(rest, block, count - c), block = rest;
      for (int64_t i = 0; i < half; ++i) {
        to[i] = block[2 * i];
        to[half + i] = block[2 * i + 1];
      }
    }
  }

  const float* first_;
  int64_t stride_;
  WideCopy copy_;
};

// One group of rows against columns [begin, end) of the weight.
template <typename Element>
using RowGroup = void (*)(const FewRows& product, const Element* weight, const OrderedRows& x,
                          int64_t row, int64_t begin, int64_t end);

// groups[n - 1] serves n rows at a time. The columns go in blocks, so that the weight comes from
// memory for the first group only and from the cache for the others.
template <typename Element>
void run_few_rows(const FewRows& product, const Element* weight, const RowGroup<Element>* groups,
                  int64_t most) {
  const OrderedRows x(product, weight);
  for (int64_t begin = product.begin; begin < product.end; begin += kFewRowsColumns) {
    const int64_t end = std::min(product.end, begin + kFewRowsColumns);
    for (int64_t row = 0; row < product.rows; row += most) {
      groups[std::min(most, product.rows - row) - 1](product, weight, x, row, begin, end);
    }
  }
}

}  // namespace llm::cpu_ref
