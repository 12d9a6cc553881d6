#include "cli/op_cases.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace llm {
namespace {

OpCases in_order(const std::vector<OpCases>& kinds) {
  OpCases all;
  for (const std::string& op : op_names()) {
    for (const OpCases& kind : kinds) {
      std::copy_if(kind.begin(), kind.end(), std::back_inserter(all),
                   [&](const OpCase& each) { return each.op == op; });
    }
  }
  return all;
}

}  // namespace

const std::vector<std::string>& op_names() {
  static const std::vector<std::string> names = {"fill",
                                                 "convert",
                                                 "add",
                                                 "scale",
                                                 "scale_rows",
                                                 "zero_other_columns",
                                                 "pool_forward",
                                                 "pool_backward",
                                                 "embedding_forward",
                                                 "embedding_backward",
                                                 "layernorm_forward",
                                                 "layernorm_backward",
                                                 "residual_layernorm_forward",
                                                 "linear_forward",
                                                 "linear_backward",
                                                 "linear_gelu_forward",
                                                 "linear_backward_gelu",
                                                 "gelu_forward",
                                                 "gelu_backward",
                                                 "bias_backward",
                                                 "attention_forward",
                                                 "attention_backward",
                                                 "attention_decode",
                                                 "cache_append",
                                                 "transformer_decode",
                                                 "sample_tokens",
                                                 "dropout",
                                                 "cross_entropy_forward",
                                                 "cross_entropy_backward",
                                                 "cross_entropy_forward_backward",
                                                 "accumulate_sum",
                                                 "squared_norm",
                                                 "prepare_update",
                                                 "adamw_update"};
  return names;
}

std::vector<std::string> select_ops(const std::vector<std::string>& given) {
  if (given.empty()) return op_names();
  const auto means = [](const std::string& word, const std::string& op) {
    return op == word || op.starts_with(word + "_");
  };
  for (const std::string& word : given) {
    if (std::none_of(op_names().begin(), op_names().end(),
                     [&](const std::string& op) { return means(word, op); })) {
      fail_usage("OP", fmt::format("\"{}\" is no op", word),
                 fmt::format("ops: {}", fmt::join(op_names(), ", ")));
    }
  }
  std::vector<std::string> selected;
  for (const std::string& op : op_names()) {
    // A full name means this op alone, although "linear_backward_gelu" begins like another.
    const auto meant = [&](const std::string& word) {
      const bool full = std::find(op_names().begin(), op_names().end(), word) != op_names().end();
      return full ? op == word : means(word, op);
    };
    if (std::any_of(given.begin(), given.end(), meant)) selected.push_back(op);
  }
  return selected;
}

OpCases op_cases() {
  return in_order({elementwise_cases(), row_cases(), layer_cases(), linear_cases(),
                   attention_cases(), decode_cases(), transformer_cases(), sampling_cases(),
                   loss_cases(), optimizer_cases()});
}

OpCases op_benchmarks(const OpSizes& sizes, DType dtype) {
  return in_order({elementwise_benchmarks(sizes, dtype), row_benchmarks(sizes, dtype),
                   layer_benchmarks(sizes, dtype), linear_benchmarks(sizes, dtype),
                   attention_benchmarks(sizes, dtype), decode_benchmarks(sizes, dtype),
                   transformer_benchmarks(sizes, dtype), sampling_benchmarks(sizes, dtype),
                   loss_benchmarks(sizes, dtype), optimizer_benchmarks(sizes, dtype)});
}

std::string sizes_text(const Shape& shape) { return fmt::format("{}", fmt::join(shape, " x ")); }

}  // namespace llm
