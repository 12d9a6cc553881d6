#include "cli/step_breakdown.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace llm {
namespace {

enum class Part { products, attention, norms, loss, embedding, optimizer, other };
constexpr std::array kPartNames = {"matrix products", "attention", "norms",    "loss",
                                   "embedding",       "optimizer", "other ops"};

Part part_of(std::string_view op) {
  if (op.find("linear") == 0 || op.find("bias") == 0 || op.find("gelu") == 0) {
    return Part::products;
  }
  if (op.find("attention") == 0) return Part::attention;
  if (op.find("layernorm") != std::string_view::npos) return Part::norms;
  if (op.find("cross_entropy") == 0 || op == "accumulate_sum") return Part::loss;
  if (op.find("embedding") == 0) return Part::embedding;
  if (op == "adamw_update" || op == "squared_norm" || op == "prepare_update") {
    return Part::optimizer;
  }
  return Part::other;
}

// What a part must compute and move in a step at the least.
struct Work {
  double flop = 0, bytes = 0;
};

Work work_of(Part part, const TrainOptions& options) {
  const ModelConfig& model = options.model;
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const double rows = number(options.total_batch_tokens), C = number(model.channels);
  const double layers = number(model.layers), vocab = number(model.vocab_size);
  const double size = number(dtype_bytes(options.compute_dtype()));
  const double parameters = number(parameter_count(model));
  switch (part) {
    case Part::products: {
      const double qkv = C * number((model.heads + 2 * model.kv_heads) * model.head_size());
      const double block = qkv + C * C + 2 * C * number(model.hidden);
      return {6 * rows * (layers * block + vocab * C), 0};
    }
    case Part::attention:  // causal: half of all pairs; backward two and a half times forward
      return {3.5 * 2 * layers * rows * number(options.length) * C, 0};
    case Part::norms:  // forward: two read, two written; backward: three read, one written
      return {0, size * rows * C * (2 * layers + 1) * 8};
    case Part::loss:  // logits read and overwritten by their gradients
      return {0, size * rows * vocab * 2};
    case Part::optimizer:  // norm: gradients; AdamW: four read, three and the rounded copy written
      return {0, parameters * (4 + 16 + 12 + (size == 2 ? 2 : 0))};
    default:
      return {};
  }
}

}  // namespace

Json print_breakdown(const std::vector<OpTime>& times, const TrainOptions& options, double seconds,
                     const Ceilings& ceilings) {
  std::array<double, kPartNames.size()> parts{};
  double sum = 0;
  for (const OpTime& time : times) {
    parts[static_cast<size_t>(part_of(time.op))] += time.seconds;
    sum += time.seconds;
  }
  const double peak = ceilings.flops(options.compute_dtype());
  Json json = Json::object();
  fmt::print("ceilings: copy {:.2f} TB/s, product {:.0f} TFLOP/s\n",
             ceilings.bytes_per_second / 1e12, peak / 1e12);
  fmt::print("{:<18} {:>10} {:>7}   {}\n", "part of the step", "ms", "share", "of its ceiling");
  for (size_t i = 0; i < parts.size(); ++i) {
    const Work work = work_of(static_cast<Part>(i), options);
    const double least = work.flop / peak + work.bytes / ceilings.bytes_per_second;
    const std::string of_ceiling =
        least > 0 && parts[i] > 0
            ? fmt::format("{:.0f} %  ({:.2f} {})", 100 * least / parts[i],
                          (work.flop > 0 ? work.flop : work.bytes) / parts[i] / 1e12,
                          work.flop > 0 ? "TFLOP/s" : "TB/s")
            : "";
    fmt::print("{:<18} {:>10.3f} {:>6.1f} %   {}\n", kPartNames[i], parts[i] * 1e3,
               100 * parts[i] / seconds, of_ceiling);
    json[kPartNames[i]] = {{"seconds", parts[i]},
                           {"share_of_ceiling", parts[i] > 0 ? least / parts[i] : 0}};
  }
  // Negative where ops overlap in a recorded step, or ran slower one by one.
  fmt::print("{:<18} {:>10.3f} {:>6.1f} %\n", "gaps", (seconds - sum) * 1e3,
             100 * (seconds - sum) / seconds);
  json["gaps"] = {{"seconds", seconds - sum}};
  std::vector<OpTime> sorted = times;
  std::sort(sorted.begin(), sorted.end(),
            [](const OpTime& a, const OpTime& b) { return a.seconds > b.seconds; });
  fmt::print("\n{:<34} {:<24} {:>6} {:>10} {:>10} {:>7}\n", "op", "shape", "calls", "us each", "ms",
             "share");
  for (const OpTime& time : sorted) {
    if (time.seconds < 1e-3 * seconds) continue;
    fmt::print("{:<34} {:<24} {:>6} {:>10.1f} {:>10.3f} {:>6.1f} %\n", time.op, time.shape,
               time.calls, time.seconds / static_cast<double>(time.calls) * 1e6, time.seconds * 1e3,
               100 * time.seconds / seconds);
  }
  return json;
}

}  // namespace llm
