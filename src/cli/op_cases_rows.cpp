// Rows scaled each by its own number, columns cut off, pooling.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/op_cases.h"

namespace llm {
namespace {

OpCase scale_rows_case(DType dtype, int64_t rows, int64_t C) {
  OpCase each{"scale_rows", dtype, sizes_text({rows, C}), {}, tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor y = tensors.changed(tensors.random("y", dtype, {rows, C}));
    const Tensor factors = tensors.random("factors", DType::f32, {rows});
    return [=, &backend = tensors.backend()] { backend.scale_rows(y, factors); };
  };
  return each;
}

OpCase zero_other_columns_case(int64_t rows, int64_t C, int64_t begin, int64_t width) {
  OpCase each{"zero_other_columns",
              DType::f32,
              fmt::format("{}, [{}, {})", sizes_text({rows, C}), begin, begin + width),
              {},
              kExact};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.changed(tensors.random("x", DType::f32, {rows, C}));
    return [=, &backend = tensors.backend()] { backend.zero_other_columns(x, begin, width); };
  };
  return each;
}

struct PoolSizes {
  int64_t batch, length, channels;
};

// Ranges of one row, of none, of all of them and of what lies between, in turns.
struct PoolRanges {
  PoolRanges(OpTensors& tensors, const PoolSizes& sizes, int64_t rows) {
    std::vector<int32_t> first, last;
    for (int64_t b = 0; b < sizes.batch; ++b) {
      const int64_t kind = rows > 0 ? 4 : b % 4;
      const int64_t T = sizes.length, at = (b * 7 + 3) % T;
      const int64_t from = kind == 0 ? at : kind == 1 ? at / 2 : 0;
      const int64_t to = kind == 0   ? at + 1
                         : kind == 1 ? at + 1
                         : kind == 2 ? T
                         : kind == 3 ? 0
                                     : rows;
      first.push_back(static_cast<int32_t>(from));
      last.push_back(static_cast<int32_t>(to));
    }
    begin = tensors.integers("begin", {sizes.batch}, first);
    end = tensors.integers("end", {sizes.batch}, last);
  }
  Tensor begin, end;
};

std::string pool_text(const PoolSizes& sizes) {
  return sizes_text({sizes.batch, sizes.length, sizes.channels});
}

// rows: in each range; 0: several kinds.
OpCase pool_forward_case(DType dtype, const PoolSizes& sizes, int64_t rows) {
  OpCase each{"pool_forward", dtype, pool_text(sizes), {}, tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.random("x", dtype, {sizes.batch, sizes.length, sizes.channels});
    const PoolRanges ranges(tensors, sizes, rows);
    const Tensor y = tensors.output("y", dtype, {sizes.batch, sizes.channels});
    if (rows > 0)
      tensors.set_traffic(sizes.batch * (rows + 1) * sizes.channels * dtype_bytes(dtype));
    return
        [=, &backend = tensors.backend()] { backend.pool_forward(y, x, ranges.begin, ranges.end); };
  };
  return each;
}

OpCase pool_backward_case(DType dtype, const PoolSizes& sizes, int64_t rows) {
  OpCase each{"pool_backward", dtype, pool_text(sizes), {}, tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor dy = tensors.random("dy", dtype, {sizes.batch, sizes.channels});
    const PoolRanges ranges(tensors, sizes, rows);
    const Tensor dx = tensors.output("dx", dtype, {sizes.batch, sizes.length, sizes.channels});
    return [=, &backend = tensors.backend()] {
      backend.pool_backward(dx, dy, ranges.begin, ranges.end);
    };
  };
  return each;
}

}  // namespace

OpCases row_cases() {
  OpCases cases;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const auto& [rows, C] :
         {std::pair<int64_t, int64_t>{1, 1}, {7, 31}, {33, 128}, {8, 768}}) {
      cases.push_back(scale_rows_case(dtype, rows, C));
    }
    for (const PoolSizes& sizes :
         {PoolSizes{1, 1, 1}, {4, 5, 7}, {5, 33, 31}, {8, 64, 96}, {3, 257, 129}, {9, 120, 768}}) {
      cases.push_back(pool_forward_case(dtype, sizes, 0));
      cases.push_back(pool_backward_case(dtype, sizes, 0));
    }
  }
  cases.push_back(zero_other_columns_case(1, 1, 0, 1));
  cases.push_back(zero_other_columns_case(5, 31, 0, 0));
  cases.push_back(zero_other_columns_case(16, 93, 31, 31));
  cases.push_back(zero_other_columns_case(16, 2304, 1536, 768));
  cases.push_back(zero_other_columns_case(8, 96, 33, 30));
  return cases;
}

OpCases row_benchmarks(const OpSizes& sizes, DType dtype) {
  const int64_t length = std::min<int64_t>(sizes.rows, 1024);
  const PoolSizes pool{sizes.rows / length, length, sizes.channels};
  return {scale_rows_case(dtype, sizes.rows, sizes.channels),
          zero_other_columns_case(sizes.rows, sizes.channels, 0, sizes.channels / 2),
          pool_forward_case(dtype, pool, length), pool_backward_case(dtype, pool, length)};
}

}  // namespace llm
