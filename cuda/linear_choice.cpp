// How LinearProducts chooses: the candidates of a product, timing them, and the plan.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "base/error.h"
#include "cuda/checksum.h"
#include "cuda/contest.h"
#include "cuda/cuda_check.h"
#include "cuda/linear_call.h"

namespace llm::cuda {
namespace {

constexpr int kMostProposed = 16;  // per epilogue
constexpr int kRepeats = 4;
// How long a search from one candidate may go on: so long and so many launches.
constexpr double kSearchSeconds = 0.2;
constexpr double kSearchLaunches = 30;
constexpr double kWorthSearching = 20e-6;  // seconds of the best launch
constexpr double kHopeless = 1.2;          // against the best: no search from there

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return "f32";
    case Precision::tf32:
      return "tf32";
    case Precision::bf16:
      return "bf16";
  }
  return "";
}

Json to_choice(const Matmul* matmul, Epilogue epilogue, const MatmulAlgorithm& algorithm,
               double seconds) {
  Json choice;
  choice["kernel"] = matmul != nullptr ? "cublasLt" : "plain";
  choice["epilogue"] = epilogue_name(epilogue);
  if (matmul != nullptr) {
    for (int i = 0; i < MatmulAlgorithm::kNumbers; ++i) {
      choice[MatmulAlgorithm::kNames[i]] = algorithm.numbers[i];
    }
  }
  if (seconds > 0) choice["microseconds"] = std::round(seconds * 1e8) / 100;
  return choice;
}

}  // namespace

std::string LinearProducts::Key::text() const {
  static constexpr const char* kNames[] = {"linear forward", "linear backward input",
                                           "linear backward weight"};
  std::string text = fmt::format("{} {}x{}x{} {}", kNames[static_cast<int>(operation)], rows, in,
                                 out, precision_name(precision));
  if (bias) text += operation == Operation::forward ? " bias" : " bias gradient";
  if (gelu) text += " gelu";
  if (operation == Operation::forward && pre) text += " kept";
  if (operation == Operation::backward_input && accumulate) text += " accumulated";
  if (alignment < 16) text += fmt::format(" aligned to {}", alignment);
  return text;
}

MatmulShape LinearProducts::shape_of(const Key& key, Epilogue epilogue) {
  const Call call = {.operation = key.operation,
                     .precision = key.precision,
                     .rows = key.rows,
                     .in = key.in,
                     .out = key.out,
                     .d = nullptr,
                     .a = nullptr,
                     .b = nullptr};
  return {.m = call.m(),
          .n = call.n(),
          .k = call.k(),
          .transpose_a = key.operation == Operation::forward,
          .transpose_b = key.operation == Operation::backward_weight,
          .input = call.element(),
          .output = call.d_element(),
          .tf32 = key.precision == Precision::tf32,
          .accumulate = key.accumulate,
          .epilogue = epilogue,
          .alignment = key.alignment};
}

// The most fused first, the last resort last.
std::vector<Epilogue> LinearProducts::epilogues_of(const Key& key) {
  std::vector<Epilogue> epilogues;
  // The library takes `pre` in an epilogue only with rows of a multiple of 8 elements.
  const bool fits = key.alignment == 16 && shape_of(key, Epilogue::none).m % 8 == 0;
  // Its GELU is off by up to 5e-6: nothing beside bf16 and tf32, but f32 can do better.
  const bool fuse_gelu = key.gelu && key.precision != Precision::f32;
  if (key.operation == Operation::forward) {
    if (fuse_gelu && !key.pre) {
      epilogues.push_back(key.bias ? Epilogue::gelu_bias : Epilogue::gelu);
    } else if (fuse_gelu && fits) {
      epilogues.push_back(key.bias ? Epilogue::gelu_aux_bias : Epilogue::gelu_aux);
    }
    if (key.bias) epilogues.push_back(Epilogue::bias);
  } else if (key.operation == Operation::backward_input && fuse_gelu && fits) {
    if (key.bias) epilogues.push_back(Epilogue::dgelu_bias_gradient);
    epilogues.push_back(Epilogue::dgelu);
  } else if (key.operation == Operation::backward_weight && key.bias) {
    epilogues.push_back(Epilogue::bias_gradient);
  }
  epilogues.push_back(Epilogue::none);
  return epilogues;
}

void LinearProducts::set_tuning(bool on) { tuning_ = on; }

LinearProducts::Product LinearProducts::choose(const Key& key, const Call& call) {
  const bool measure = tuning_ && !plan_.locked();
  if (const Json* choice = plan_.find(key.text())) {
    try {
      Product product = from_plan(key, *choice);
      product.measured |= plan_.locked();  // or never will be
      if (product.measured || !measure) return product;
    } catch (const Error&) {
      // What a cache says is only advice.
      if (plan_.locked()) throw;
    }
  }
  Product product = measure ? fastest(key, call) : first_guess(key);
  product.measured = measure || plan_.locked();
  return product;
}

LinearProducts::Product LinearProducts::from_plan(const Key& key, const Json& choice) const {
  const JsonObject object(choice, fmt::format("tuning plan: {}", key.text()));
  const std::vector<Epilogue> possible = epilogues_of(key);
  const auto epilogue = epilogue_named(object.text("epilogue"));
  if (!epilogue || std::find(possible.begin(), possible.end(), *epilogue) == possible.end()) {
    object.fail("epilogue", "is none that this product can have");
  }
  Product product;
  product.epilogue = *epilogue;
  product.measured = object.number("microseconds", 0, 1e12, 0) > 0;
  const std::string kernel = object.text("kernel");
  if (kernel == "plain" && *epilogue == Epilogue::none) return product;
  if (kernel != "cublasLt") object.fail("kernel", "is neither cublasLt nor plain");
  MatmulAlgorithm algorithm;
  for (int i = 0; i < MatmulAlgorithm::kNumbers; ++i) {
    algorithm.numbers[i] = object.integer(MatmulAlgorithm::kNames[i], 0, UINT32_MAX);
  }
  product.matmul = std::make_unique<Matmul>(library_, shape_of(key, *epilogue));
  if (!product.matmul->choose(algorithm)) {
    throw Error(ErrorKind::device, object.where(),
                fmt::format("the algorithm ({}) cannot be used here", algorithm.text()),
                "use --retune to choose anew");
  }
  return product;
}

LinearProducts::Product LinearProducts::first_guess(const Key& key) {
  Product product;
  MatmulAlgorithm algorithm;
  for (const Epilogue epilogue : epilogues_of(key)) {
    auto matmul = std::make_unique<Matmul>(library_, shape_of(key, epilogue));
    const auto proposed = matmul->proposed(kMostProposed);
    if (proposed.empty() || !matmul->choose(proposed[0])) continue;
    algorithm = proposed[0];
    product.epilogue = epilogue;
    product.matmul = std::move(matmul);
    break;
  }
  plan_.set(key.text(), to_choice(product.matmul.get(), product.epilogue, algorithm, 0),
            /*measured=*/false);
  return product;
}

// The candidates of one product while they compete.
struct LinearProducts::Search {
  struct Candidate {
    Product product;
    MatmulAlgorithm algorithm;
  };

  LinearProducts& products;
  const Key& key;
  const Call& call;
  Contest contest;
  std::deque<Candidate> candidates;  // whose addresses stay, as launches refer to them

  void enter(Epilogue epilogue, const MatmulAlgorithm& algorithm) {
    const auto is_same = [&](const Candidate& other) {
      return other.product.epilogue == epilogue && other.algorithm == algorithm;
    };
    if (std::any_of(candidates.begin(), candidates.end(), is_same)) return;
    Product product = {epilogue,
                       std::make_unique<Matmul>(products.library_, shape_of(key, epilogue)), true};
    if (!product.matmul->choose(algorithm)) return;
    candidates.push_back({std::move(product), algorithm});
    contest.enter(
        [this, &candidate = candidates.back()] { products.launch(candidate.product, call); });
  }

  void enter_proposed() {
    for (const Epilogue epilogue : epilogues_of(key)) {
      // A bias in the epilogue costs nothing: do without only where there is no such kernel.
      const bool resort = epilogue == Epilogue::none && key.operation == Operation::forward;
      if (resort && !candidates.empty()) continue;
      const Matmul source(products.library_, shape_of(key, epilogue));
      for (const auto& algorithm : source.proposed(kMostProposed)) enter(epilogue, algorithm);
    }
  }

  // The quickest with this epilogue, at first look; null where none is quick enough to go on from.
  const Candidate* quickest(Epilogue epilogue) const {
    const Candidate* best = nullptr;
    double best_seconds = kHopeless * contest.best_seconds();
    for (size_t i = 0; i < candidates.size(); ++i) {
      const auto seconds = contest.seconds(i);
      if (candidates[i].product.epilogue != epilogue || !seconds) continue;
      if (*seconds > best_seconds) continue;
      best = &candidates[i];
      best_seconds = *seconds;
    }
    return best;
  }

  // From the quickest on, one thing after the other is varied: the library's guesses miss some
  // shapes by several percent, and do not know about power.
  void enter_variants(Epilogue epilogue) {
    using Vary = Matmul::Vary;
    const auto start = std::chrono::steady_clock::now();
    const double limit = kSearchSeconds + kSearchLaunches * contest.best_seconds();
    for (const Vary what : {Vary::tile, Vary::option, Vary::cluster, Vary::splits, Vary::tile}) {
      const Candidate* from = quickest(epilogue);
      if (from == nullptr) return;
      for (const auto& algorithm : from->product.matmul->variants(from->algorithm, what)) {
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
        if (spent.count() > limit) return;
        enter(epilogue, algorithm);
      }
    }
  }
};

LinearProducts::Product LinearProducts::fastest(const Key& key, const Call& call) {
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream_, &capturing), "cudaStreamIsCapturing");
  LLM_ASSERT(capturing == cudaStreamCaptureStatusNone, "timing {} while recording", key.text());
  Search search = {*this, key, call, Contest(stream_), {}};
  search.enter_proposed();
  if (search.contest.best_seconds() > kWorthSearching) {
    for (const Epilogue epilogue : epilogues_of(key)) search.enter_variants(epilogue);
  }
  const auto winner = search.contest.decide(
      [&](size_t i) { return is_repeatable(search.candidates[i].product, call); });
  clear_sums(call);
  Product product;
  product.measured = true;
  MatmulAlgorithm algorithm;
  if (winner) {
    product = std::move(search.candidates[winner->number].product);
    algorithm = search.candidates[winner->number].algorithm;
  }
  // Our own kernel has no rival where it is needed, and counts as measured.
  plan_.set(key.text(), to_choice(product.matmul.get(), product.epilogue, algorithm,
                                  winner ? winner->seconds : 1e-6));
  return product;
}

// Zeroes what calls add to.
void LinearProducts::clear_sums(const Call& call) {
  const int64_t d_bytes = call.m() * call.n() * (call.d_element() == Element::f32 ? 4 : 2);
  if (call.accumulate) {
    check(cudaMemsetAsync(call.d, 0, d_bytes, stream_), "cudaMemsetAsync");
  }
  if (call.bias_gradient != nullptr) {
    const int64_t columns = call.operation == Operation::backward_weight ? call.out : call.in;
    check(cudaMemsetAsync(call.bias_gradient, 0, columns * 4, stream_), "cudaMemsetAsync");
  }
}

bool LinearProducts::is_repeatable(const Product& product, const Call& call) {
  const int64_t d_elements = call.m() * call.n();
  const int64_t d_bytes = d_elements * (call.d_element() == Element::f32 ? 4 : 2);
  // The library is done with its workspace when the checksum follows it in the stream.
  auto* sum = static_cast<uint64_t*>(library_.workspace());
  uint64_t first = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    clear_sums(call);
    launch(product, call);
    check(cudaMemsetAsync(sum, 0, sizeof *sum, stream_), "cudaMemsetAsync");
    add_checksum(sum, call.d, d_bytes, stream_);
    if (call.operation == Operation::forward && call.pre != nullptr) {
      add_checksum(sum, call.pre, d_bytes, stream_);
    }
    if (call.bias_gradient != nullptr) {
      const int64_t columns = call.operation == Operation::backward_weight ? call.out : call.in;
      add_checksum(sum, call.bias_gradient, columns * 4, stream_);
    }
    uint64_t now = 0;
    check(cudaMemcpyAsync(&now, sum, sizeof now, cudaMemcpyDeviceToHost, stream_),
          "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), "checking that a product is repeatable");
    if (repeat == 0) first = now;
    if (now != first) return false;
  }
  return true;
}

}  // namespace llm::cuda
