#include "support/op_check.h"

namespace llm::test {
namespace {

struct EmbeddingCase {
  int64_t B, T, C, vocab;
  DType dtype;
  bool positions;  // given, or counted from 0
  std::string name() const {
    return fmt::format("{} B {} T {} C {} V {}{}", dtype_name(dtype), B, T, C, vocab,
                       positions ? " positions" : "");
  }
};

std::vector<EmbeddingCase> embedding_grid() {
  std::vector<EmbeddingCase> cases;
  const int64_t shapes[][4] = {
      {1, 1, 1, 1}, {1, 5, 7, 3}, {3, 4, 17, 11}, {2, 31, 33, 5}, {12, 64, 128, 65}};
  for (const auto& [B, T, C, vocab] : shapes) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      cases.push_back({B, T, C, vocab, dtype, false});
      cases.push_back({B, T, C, vocab, dtype, true});
    }
  }
  return cases;
}

// Plain and fast sum in the same order.
Bounds embedding_bounds(const EmbeddingCase& each) {
  return each.dtype == DType::f32 ? Bounds{1e-7, 2e-7, 1e-7, 1e-6} : kBf16Bounds;
}

// A GPU adds the rows of a token up in another order, here up to a hundred of size 1: partial sums
// of up to 30, rounded by 2e-6 each.
Bounds embedding_gpu_bounds(const EmbeddingCase& each) {
  return each.dtype == DType::f32 ? Bounds{3e-7, 1e-6, 2e-5, 3e-6} : gpu_bounds(kBf16Bounds);
}

// Some tokens often, and each sequence starts at another position.
Tensor tokens_of(Workbench& bench, const EmbeddingCase& each) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < each.B * each.T; ++i) {
    ids.push_back(static_cast<int32_t>(i * i * 7 % each.vocab));
  }
  return bench.integers("tokens", {each.B, each.T}, ids);
}
Tensor positions_of(Workbench& bench, const EmbeddingCase& each) {
  if (!each.positions) return {};
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < each.B * each.T; ++i) {
    ids.push_back(static_cast<int32_t>(i % each.T + i / each.T));
  }
  return bench.integers("positions", {each.B, each.T}, ids);
}

Results embedding_forward(Backend& backend, const EmbeddingCase& each) {
  Workbench bench(backend, each.name());
  const Tensor tokens = tokens_of(bench, each), positions = positions_of(bench, each);
  const Tensor table = bench.random("token_table", each.dtype, {each.vocab, each.C});
  const Tensor places = bench.random("position_table", each.dtype, {each.T + each.B, each.C});
  const Shape shape{each.B, each.T, each.C};
  backend.embedding_forward(bench.output("y", each.dtype, shape), tokens, positions, table, places);
  backend.embedding_forward(bench.output("y without positions", each.dtype, shape), tokens, {},
                            table, {});
  return bench.finish();
}

Results embedding_backward(Backend& backend, const EmbeddingCase& each) {
  Workbench bench(backend, each.name());
  const Tensor tokens = tokens_of(bench, each), positions = positions_of(bench, each);
  const Tensor dy = bench.random("dy", each.dtype, {each.B, each.T, each.C});
  const auto gradient = [&](const char* name, int64_t rows) {
    return bench.changed(bench.random(name, DType::f32, {rows, each.C}));
  };
  backend.embedding_backward(gradient("dtoken_table", each.vocab),
                             gradient("dposition_table", each.T + each.B), dy, tokens, positions);
  backend.embedding_backward({}, gradient("only positions", each.T + each.B), dy, tokens,
                             positions);
  backend.embedding_backward(gradient("only tokens", each.vocab), {}, dy, tokens, positions);
  return bench.finish();
}

TEST(Embedding, GoldenValues) {
  const Golden golden("ops_embedding", "sum");
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "golden");
    const Tensor tokens = golden.integer_input(bench, "tokens");
    backend->embedding_forward(bench.output("y", DType::f32, golden.shape("y")), tokens, {},
                               golden.input(bench, "token_table"),
                               golden.input(bench, "position_table"));
    const auto zeros = [&](const char* name) {
      const std::vector<double> none(golden.values(name).size());
      return bench.changed(bench.input(name, DType::f32, golden.shape(name), none));
    };
    backend->embedding_backward(zeros("dtoken_table"), zeros("dposition_table"),
                                golden.input(bench, "dy"), tokens, {});
    const Results results = bench.finish();
    for (const char* tensor : {"y", "dtoken_table", "dposition_table"}) {
      golden.expect(label, results, tensor, {1e-7, 2e-7, 1e-6, 1e-6});
    }
  }
}

TEST(Embedding, ForwardAsThePlainLoops) {
  check_cases<EmbeddingCase>(embedding_grid(), embedding_forward, embedding_bounds);
}
TEST(Embedding, BackwardAsThePlainLoops) {
  check_cases<EmbeddingCase>(embedding_grid(), embedding_backward, embedding_bounds, kRepeats,
                             embedding_gpu_bounds);
}

TEST(Embedding, BackwardAgainstCentralDifferences) {
  const EmbeddingCase each{2, 3, 4, 5, DType::f32, true};
  const auto dy = random_values(each.name(), "dy", 24);
  // The loss is the sum of dy times the looked-up rows.
  const auto loss = [&](std::span<const double> table) {
    double sum = 0;
    for (size_t row = 0; row < 6; ++row) {
      const size_t token = row * row * 7 % 5;
      for (size_t c = 0; c < 4; ++c) sum += dy[row * 4 + c] * table[token * 4 + c];
    }
    return sum;
  };
  auto expected = central_differences(random_values("any", "table", 20), loss);
  const auto old = random_values(each.name(), "dtoken_table", 20);
  for (size_t i = 0; i < 20; ++i) expected[i] += old[i];
  for (const auto& [label, backend] : all_backends()) {
    const Results results = embedding_backward(*backend, each);
    expect_close(label, result_named(results, "dtoken_table").values, expected, 4, kF32Bounds);
  }
}

TEST(EmbeddingDeathTest, RefusesTokensBeyondTheTable) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Workbench bench(plain_backend(), "beyond");
  const std::vector<int32_t> ids = {0, 3};
  const Tensor tokens = bench.integers("tokens", {1, 2}, ids);
  const Tensor table = bench.random("table", DType::f32, {3, 4});
  const Tensor y = bench.output("y", DType::f32, {1, 2, 4});
  EXPECT_DEATH(bench.backend().embedding_forward(y, tokens, {}, table, {}), "token 3 of 3");
}

}  // namespace
}  // namespace llm::test
