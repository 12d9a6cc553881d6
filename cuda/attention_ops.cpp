#include "cuda/attention_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "backend/checks.h"
#include "cuda/attention_hopper.h"
#include "cuda/attention_mma.h"
#include "cuda/attention_plain.h"
#include "cuda/cuda_check.h"
#include "cuda/memory_bound_ops.h"

namespace llm::cuda {
namespace {

constexpr std::array kKernelNames = {"hopper", "cudnn", "mma", "plain"};

Mask mask_of(MaskKind kind) {
  switch (kind) {
    case MaskKind::causal:
      return Mask::causal;
    case MaskKind::full:
      return Mask::full;
    case MaskKind::window:
      return Mask::window;
  }
  return Mask::full;
}

AttentionProblem shape_of(const Tensor& q, const Tensor& k) {
  AttentionProblem problem{};
  problem.B = q.dim(0), problem.Tq = q.dim(1), problem.H = q.dim(2), problem.D = q.dim(3);
  problem.Tk = k.dim(1), problem.KV = k.dim(2);
  problem.scale = 1;
  return problem;
}

AttentionProblem problem_of(const char* op, const Tensor& q, const Tensor& k, const Tensor& v,
                            const AttentionOptions& options) {
  check_attention(op, q, k, v, options);
  AttentionProblem problem = shape_of(q, k);
  problem.mask = mask_of(options.mask);
  problem.window = options.window;
  problem.scale = options.scale;
  if (options.dropout.rate > 0) {
    problem.dropout_rate = options.dropout.rate;
    problem.dropout_seed = options.dropout.seed;
    problem.dropout_site = options.dropout.site;
    problem.sample_ids = options.dropout.sample_ids.i64();
  }
  if (options.query_offsets) {
    problem.sequences = options.query_offsets.size() - 1;
    problem.query_offsets = options.query_offsets.i32();
    problem.key_offsets = options.key_offsets.i32();
  }
  return problem;
}

std::string key_of(const char* op, const AttentionProblem& problem) {
  return fmt::format("{} B{} H{} KV{} Tq{} Tk{} D{} mask{}", op, problem.B, problem.H, problem.KV,
                     problem.Tq, problem.Tk, problem.D, static_cast<int>(problem.mask));
}

}  // namespace

Heads heads_of(const Tensor& tensor) {
  return {tensor.data, tensor.stride[0], tensor.stride[1], tensor.stride[2]};
}

AttentionPolicy attention_policy(const std::string& name) {
  LLM_ASSERT(name == "auto" || name == "own" || name == "cudnn", "{}", name);
  return name == "own"     ? AttentionPolicy::own
         : name == "cudnn" ? AttentionPolicy::cudnn
                           : AttentionPolicy::automatic;
}

AttentionOps::AttentionOps(TuningPlan& plan, cudaStream_t stream, AttentionPolicy policy,
                           bool hopper)
    : plan_(plan), stream_(stream), policy_(policy), hopper_(hopper) {
  if (policy == AttentionPolicy::own) return;
  std::string reason;
  cudnn_ = CudnnAttention::make(stream, reason);
  if (cudnn_) {
    plan_.add_identity("cudnn", cudnn_->version());
  } else if (policy == AttentionPolicy::cudnn) {
    throw Error(ErrorKind::device, "--attention cudnn", reason, "--attention own needs no cuDNN");
  }
}

std::vector<AttentionOps::Kernel> AttentionOps::able_forward(const AttentionForward& tensors,
                                                             const AttentionProblem& problem,
                                                             DType dtype) const {
  std::vector<Kernel> able;
  const bool fast = dtype == DType::bf16 && rows_aligned(tensors.out) && rows_aligned(tensors.q) &&
                    rows_aligned(tensors.k) && rows_aligned(tensors.v);
  if (fast && cudnn_ && cudnn_->supports_forward(tensors, problem)) able.push_back(Kernel::cudnn);
  if (policy_ == AttentionPolicy::cudnn && !able.empty()) return able;
  if (fast && hopper_ && attention_hopper_forward_supports(problem)) {
    able.insert(able.begin(), Kernel::hopper);
  }
  if (fast && attention_mma_supports(problem)) able.push_back(Kernel::mma);
  if (able.empty()) able.push_back(Kernel::plain);
  return able;
}

std::vector<AttentionOps::Kernel> AttentionOps::able_backward(const AttentionBackward& tensors,
                                                              const AttentionProblem& problem,
                                                              DType dtype) const {
  std::vector<Kernel> able;
  bool fast = dtype == DType::bf16;
  for (const Heads& heads : {tensors.dq, tensors.dk, tensors.dv, tensors.dout, tensors.out,
                             tensors.q, tensors.k, tensors.v}) {
    fast = fast && rows_aligned(heads);
  }
  if (fast && cudnn_ && cudnn_->supports_backward(tensors, problem)) able.push_back(Kernel::cudnn);
  if (policy_ == AttentionPolicy::cudnn && !able.empty()) return able;
  if (fast && hopper_ && attention_hopper_backward_supports(problem)) {
    able.insert(able.begin(), Kernel::hopper);
  }
  if (fast && attention_mma_supports(problem)) able.push_back(Kernel::mma);
  if (able.empty()) able.push_back(Kernel::plain);
  return able;
}

template <typename Run>
double AttentionOps::seconds_of(const Run& run) {
  constexpr int kRounds = 5, kCalls = 8;
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "timing attention");
  check(cudaEventCreate(&end), "timing attention");
  float best = std::numeric_limits<float>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    check(cudaEventRecord(begin, stream_), "timing attention");
    for (int call = 0; call < kCalls; ++call) run();
    check(cudaEventRecord(end, stream_), "timing attention");
    check(cudaEventSynchronize(end), "timing attention");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "timing attention");
    if (round > 0) best = std::min(best, milliseconds);  // the first warms up
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return best / 1e3 / kCalls;
}

template <typename Run>
AttentionOps::Kernel AttentionOps::choose(const std::string& key, const std::vector<Kernel>& able,
                                          const Run& run) {
  if (able.size() == 1) return able.front();
  // A choice with times was measured; one without is a guess, which tuning replaces.
  const bool measure = tuning_ && !plan_.locked();
  if (const Json* choice = plan_.find(key); choice && (choice->size() > 1 || !measure)) {
    const JsonObject object(*choice, key);
    const std::string name = object.text("kernel");
    for (Kernel kernel : able) {
      if (kKernelNames[static_cast<size_t>(kernel)] == name) return kernel;
    }
    if (plan_.locked()) {
      throw Error(ErrorKind::device, key,
                  fmt::format("the saved choice \"{}\" cannot be used", name),
                  "--retune chooses anew");
    }
  }
  Kernel best = able.front();
  Json choice = Json::object();
  if (measure) {
    double least = std::numeric_limits<double>::infinity();
    for (Kernel kernel : able) {
      const double seconds = seconds_of([&] { run(kernel); });
      choice[fmt::format("{} us", kKernelNames[static_cast<size_t>(kernel)])] = seconds * 1e6;
      if (seconds < least) least = seconds, best = kernel;
    }
  }
  choice["kernel"] = kKernelNames[static_cast<size_t>(best)];
  plan_.set(key, choice, measure);
  return best;
}

int64_t AttentionOps::forward_scratch(const Tensor& q, const Tensor& k) const {
  return cudnn_ && q.dtype == DType::bf16 ? cudnn_->forward_workspace(shape_of(q, k)) : 0;
}

int64_t AttentionOps::backward_scratch(const Tensor& q, const Tensor& k, bool dropout) const {
  AttentionProblem problem = shape_of(q, k);
  problem.dropout_rate = dropout ? 0.5f : 0;  // any
  int64_t bytes = attention_plain_backward_scratch(problem);
  if (q.dtype != DType::bf16) return bytes;
  if (attention_mma_supports(problem)) {
    bytes = std::max(bytes, attention_mma_backward_scratch(problem));
  }
  if (hopper_ && attention_hopper_backward_supports(problem)) {
    bytes = std::max(bytes, attention_hopper_backward_scratch(problem));
  }
  if (cudnn_ && !dropout) bytes = std::max(bytes, cudnn_->backward_workspace(problem));
  return bytes;
}

void AttentionOps::forward(Tensor out, Tensor lse, Tensor q, Tensor k, Tensor v,
                           const AttentionOptions& options, void* scratch) {
  const char* op = "attention_forward";
  check_alike(op, {out, q, k, v});
  const AttentionProblem problem = problem_of(op, q, k, v, options);
  check_heads(op, "out", out, problem.B, problem.Tq, problem.H, problem.D);
  check_optional(op, "lse", lse, DType::f32, problem.B * problem.H * problem.Tq);
  const AttentionForward tensors{heads_of(out), lse ? lse.f32() : nullptr, heads_of(q), heads_of(k),
                                 heads_of(v)};
  const auto run = [&](Kernel kernel) {
    switch (kernel) {
      case Kernel::hopper:
        return attention_hopper_forward(tensors, problem, stream_);
      case Kernel::cudnn:
        return cudnn_->forward(tensors, problem, scratch);
      case Kernel::mma:
        return attention_mma_forward(tensors, problem, stream_);
      case Kernel::plain:
        return attention_plain_forward(tensors, problem, element_of(q.dtype), stream_);
    }
  };
  run(choose(key_of(op, problem), able_forward(tensors, problem, q.dtype), run));
}

void AttentionOps::backward(Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor out, Tensor lse,
                            Tensor q, Tensor k, Tensor v, const AttentionOptions& options,
                            void* scratch) {
  const char* op = "attention_backward";
  check_alike(op, {dq, dk, dv, dout, out, q, k, v});
  const AttentionProblem problem = problem_of(op, q, k, v, options);
  for (const auto& [name, tensor] : {std::pair("dq", dq), {"dout", dout}, {"out", out}}) {
    check_heads(op, name, tensor, problem.B, problem.Tq, problem.H, problem.D);
  }
  for (const auto& [name, tensor] : {std::pair("dk", dk), {"dv", dv}}) {
    check_heads(op, name, tensor, problem.B, problem.Tk, problem.KV, problem.D);
  }
  check_vector(op, "lse", lse, DType::f32, problem.B * problem.H * problem.Tq);
  const AttentionBackward tensors{heads_of(dq),   heads_of(dk),  heads_of(dv),
                                  heads_of(dout), heads_of(out), lse.f32(),
                                  heads_of(q),    heads_of(k),   heads_of(v)};
  const auto run = [&](Kernel kernel) {
    switch (kernel) {
      case Kernel::hopper:
        return attention_hopper_backward(tensors, problem, scratch, stream_);
      case Kernel::cudnn:
        return cudnn_->backward(tensors, problem, scratch);
      case Kernel::mma:
        return attention_mma_backward(tensors, problem, scratch, stream_);
      case Kernel::plain:
        return attention_plain_backward(tensors, problem, element_of(q.dtype), scratch, stream_);
    }
  };
  run(choose(key_of(op, problem), able_backward(tensors, problem, q.dtype), run));
}

}  // namespace llm::cuda
