#include "cli/op_timing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace llm {
namespace {

// Several times the largest cache: 50 MB on an H100, 256 MB of L3 on a large server.
constexpr int64_t kDeviceBytes = 256 << 20, kHostBytes = 128 << 20;
constexpr int64_t kMostCopies = 64;
constexpr int kFewestRounds = 3, kMostRounds = 50;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The best of several calls.
double best_seconds(Backend& backend, const std::function<void()>& call, int fewest,
                    double budget) {
  double best = INFINITY, total = 0;
  for (int i = 0; i < fewest || (total < budget && i < kMostRounds); ++i) {
    const auto begin = backend.record(Queue::compute);
    call();
    const auto end = backend.record(Queue::compute);
    const double seconds = backend.seconds_between(*begin, *end);
    best = std::min(best, seconds);
    total += seconds;
  }
  return std::max(best, 1e-9);
}

double copy_bytes_per_second(Backend& backend) {
  const int64_t count = (backend.is_host() ? kHostBytes : 2 * kDeviceBytes) / 4;
  OpTensors tensors(backend, 1);
  const Tensor x = tensors.random("x", DType::f32, {count});
  const Tensor y = tensors.output("y", DType::f32, {count});
  const double seconds = best_seconds(
      backend, [&] { backend.convert(y, x); }, 6, 0.2);
  return static_cast<double>(tensors.traffic()) / seconds;
}

double product_flops_per_second(Backend& backend, DType dtype) {
  const int64_t size = backend.is_host() ? 1024 : dtype == DType::bf16 ? 8192 : 4096;
  OpTensors tensors(backend, 1);
  const Tensor x = tensors.random("x", dtype, {size, size});
  Weight weight;
  weight.data = tensors.random("weight", dtype, {size, size});
  const Tensor y = tensors.output("y", dtype, {size, size});
  const auto call = [&] { backend.linear_forward(y, x, weight, {}); };
  backend.set_tuning(true);
  call();
  backend.set_tuning(false);
  return 2 * std::pow(static_cast<double>(size), 3) / best_seconds(backend, call, 6, 0.5);
}

}  // namespace

Ceilings measure_ceilings(Backend& backend) {
  Ceilings ceilings;
  ceilings.bytes_per_second = copy_bytes_per_second(backend);
  ceilings.f32_flops = product_flops_per_second(backend, DType::f32);
  // The CPU multiplies bf16 tensors in f32.
  ceilings.bf16_flops =
      backend.is_host() ? ceilings.f32_flops : product_flops_per_second(backend, DType::bf16);
  return ceilings;
}

OpTiming time_op(const OpCase& each, Backend& backend, double budget) {
  std::vector<OpTensors> tensors;
  std::vector<std::function<void()>> calls;
  const auto add_call = [&] {
    tensors.emplace_back(backend, tensors.size());
    calls.push_back(each.prepare(tensors.back()));
  };
  add_call();
  backend.set_tuning(true);
  calls.front()();
  backend.set_tuning(false);
  const double alone = best_seconds(backend, calls.front(), 2, 0);
  const int64_t enough = backend.is_host() ? kHostBytes : kDeviceBytes;
  const int64_t bytes = std::max<int64_t>(tensors.front().bytes(), 1);
  const auto affordable = static_cast<int64_t>(std::min(0.5 * budget / alone, 1e6));
  while (std::ssize(calls) < std::min({enough / bytes + 1, affordable, kMostCopies})) add_call();
  const std::function<void()> round = [&] {
    for (const auto& call : calls) call();
  };
  round();
  // Recorded, so that starting the kernels takes no part in the time.
  const std::unique_ptr<CapturedWork> recorded = backend.capture(round);
  const auto seconds_of_round = [&] {
    const auto begin = backend.record(Queue::compute);
    recorded ? backend.replay(*recorded) : round();
    const auto end = backend.record(Queue::compute);
    return backend.seconds_between(*begin, *end) / static_cast<double>(calls.size());
  };
  const double first = std::max(seconds_of_round(), 1e-9) * static_cast<double>(calls.size());
  const double rounds = std::clamp<double>(budget / first, kFewestRounds, kMostRounds);
  std::vector<double> seconds(static_cast<size_t>(rounds));
  for (double& each_round : seconds) each_round = seconds_of_round();
  backend.synchronize();

  OpTiming timing;
  timing.seconds = std::max(median(seconds), 1e-9);
  timing.bytes = static_cast<double>(tensors.front().traffic());
  timing.flops = each.flops;
  return timing;
}

double roofline_share(const OpTiming& timing, const Ceilings& ceilings, DType dtype) {
  return std::max(timing.bytes / ceilings.bytes_per_second, timing.flops / ceilings.flops(dtype)) /
         timing.seconds;
}

std::string time_text(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.2f} ms", seconds * 1e3);
  return fmt::format("{:.2f} s", seconds);
}

}  // namespace llm
