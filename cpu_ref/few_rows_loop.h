// The loops that the bodies of few_rows.h share, around what they do with one row of the weight.
#pragma once

#include <algorithm>

#include "cpu_ref/few_rows.h"

namespace llm::cpu_ref {

inline constexpr int64_t kPartialSums = 32;

// The last columns of a row, fewer than kPartialSums, with zeros behind them.
template <typename Element>
inline void load_rest(float* to, const Element* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = widen(from[i]);
  std::fill(to + count, to + kPartialSums, 0.0f);
}

// One group of rows against columns [begin, end) of the weight.
template <typename Element>
using RowGroup = void (*)(const FewRows& product, const Element* weight, int64_t row, int64_t begin,
                          int64_t end);

// groups[n - 1] serves n rows at a time. The columns go in blocks, so that the weight comes from
// memory for the first group only and from the cache for the others.
template <typename Element>
void run_few_rows(const FewRows& product, const Element* weight, const RowGroup<Element>* groups,
                  int64_t most) {
  for (int64_t begin = product.begin; begin < product.end; begin += kFewRowsColumns) {
    const int64_t end = std::min(product.end, begin + kFewRowsColumns);
    for (int64_t row = 0; row < product.rows; row += most) {
      groups[std::min(most, product.rows - row) - 1](product, weight, row, begin, end);
    }
  }
}

}  // namespace llm::cpu_ref
