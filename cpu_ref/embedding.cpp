#include "cpu_ref/embedding.h"

#include "cpu_ref/threads.h"

namespace llm::cpu_ref {

namespace {

template <typename Element>
void forward(float* y, const int32_t* tokens, const int32_t* positions, const Element* token_table,
             const Element* position_table, int64_t rows, int64_t length, int64_t channels,
             Threads threads) {
  parallel_ranges(rows, threads, rows_per_thread(channels), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Element* token = token_table + tokens[row] * channels;
      const int64_t at = positions ? positions[row] : row % length;
      const Element* position = position_table ? position_table + at * channels : nullptr;
      for (int64_t c = 0; c < channels; ++c) {
        y[row * channels + c] = widen(token[c]) + (position ? widen(position[c]) : 0.0f);
      }
    }
  });
}

}  // namespace

void embedding_forward(float* y, const int32_t* tokens, const int32_t* positions,
                       StoredRows token_table, StoredRows position_table, int64_t rows,
                       int64_t length, int64_t channels, Threads threads) {
  if (token_table.dtype == DType::bf16) {
    forward(y, tokens, positions, token_table.bf16(), position_table.bf16(), rows, length, channels,
            threads);
  } else {
    forward(y, tokens, positions, token_table.f32(), position_table.f32(), rows, length, channels,
            threads);
  }
}

// A thread owns columns of the tables: no two threads write the same element, and each element is
// summed in the order of the rows.
void embedding_backward(float* dtoken_table, float* dposition_table, const float* dy,
                        const int32_t* tokens, const int32_t* positions, int64_t rows,
                        int64_t length, int64_t channels, Threads threads) {
  parallel_ranges(channels, threads, rows_per_thread(rows), [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = positions ? positions[row] : row % length;
      for (int64_t c = begin; c < end; ++c) {
        const float g = dy[row * channels + c];
        if (dtoken_table) dtoken_table[tokens[row] * channels + c] += g;
        if (dposition_table) dposition_table[at * channels + c] += g;
      }
    }
  });
}

}  // namespace llm::cpu_ref
