// The graph API of cuDNN 9 through its header-only frontend. A graph is described, compiled to a
// plan once per shape and strides, and kept; running it hands over one pointer per tensor.
//
// cuDNN's tensors are (B, heads, T, D) with any strides, so ours pass as they are. Its statistics
// are the natural logarithm of the sum of exponentials of the scaled scores: our lse.
#include "cuda/cudnn_attention.h"

#ifndef LLM_HAVE_CUDNN

namespace llm::cuda {

std::unique_ptr<CudnnAttention> CudnnAttention::make(cudaStream_t, std::string& reason, bool) {
  reason = "this build has no cuDNN";
  return nullptr;
}

}  // namespace llm::cuda

#else

#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <cudnn_frontend.h>
#pragma GCC diagnostic pop
#include <dlfcn.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <map>
#include <vector>

#include "cuda/cuda_check.h"

// The frontend takes the library's functions from here.
void* cudnn_frontend::cudnn_dlhandle = nullptr;

namespace llm::cuda {
namespace {

namespace graph = cudnn_frontend::graph;
using cudnn_frontend::error_t;
using Tensor = std::shared_ptr<graph::Tensor_attributes>;

constexpr size_t kOldestVersion = 90600;  // causal masks of any length, aligned to the last query
constexpr int64_t kLargestHead = 128;
constexpr int64_t kMostElements = INT32_MAX;

// Tensors are passed in the order of these numbers.
enum Slot : int64_t { kQ = 1, kK, kV, kOut, kLse, kDout, kDq, kDk, kDv };

// What a plan was made for.
using PlanKey = std::array<int64_t, 33>;

struct Plan {
  graph::Graph graph;
  bool usable = false;
  std::string problem;  // why it is not usable
  int64_t workspace = 0;
};

// Loads the library and makes a handle; null and the reason if that fails.
cudnnHandle_t open_library(cudaStream_t stream, std::string& reason) {
  void*& library = cudnn_frontend::cudnn_dlhandle;
  if (!library) library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    reason = dlerror();
    return nullptr;
  }
  // The frontend loads a CUDA runtime of its own, and would take an older one if there are two.
  static const std::string runtime = fmt::format("libcudart.so.{}", CUDART_VERSION / 1000);
  setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", runtime.c_str(), 0);
  int device = 0;
  (void)cudnn_frontend::detail::cuda_get_device(&device);  // throws if it is not there
  if (cudnn_frontend::detail::get_backend_version() < kOldestVersion) {
    reason = fmt::format("cuDNN {} is here, 9.6 or later is needed",
                         cudnn_frontend::detail::get_backend_version_string());
    return nullptr;
  }
  cudnnHandle_t handle = nullptr;
  const cudnnStatus_t status = cudnn_frontend::detail::create_handle(&handle);
  if (status != CUDNN_STATUS_SUCCESS) {
    reason = std::string("cuDNN: ") + cudnn_frontend::detail::get_error_string(status);
    return nullptr;
  }
  if (cudnn_frontend::detail::set_stream(handle, stream) != CUDNN_STATUS_SUCCESS) {
    cudnn_frontend::detail::destroy_handle(handle);
    reason = "cuDNN does not take the stream";
    return nullptr;
  }
  return handle;
}

// While a stream is being recorded, code may not be loaded to the device: except on purpose, as
// here, where nothing that is recorded depends on it.
class WhileRecording {
 public:
  WhileRecording() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~WhileRecording() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  WhileRecording(const WhileRecording&) = delete;
  WhileRecording& operator=(const WhileRecording&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

class Cudnn final : public CudnnAttention {
 public:
  Cudnn(cudnnHandle_t handle, bool repeatable) : handle_(handle), repeatable_(repeatable) {}
  ~Cudnn() override { cudnn_frontend::detail::destroy_handle(handle_); }
  std::string version() const override {
    return cudnn_frontend::detail::get_backend_version_string();
  }
  bool supports_forward(const AttentionForward& tensors, const AttentionProblem& problem) override;
  bool supports_backward(const AttentionBackward& tensors,
                         const AttentionProblem& problem) override;
  int64_t forward_workspace(const AttentionProblem& problem) override;
  int64_t backward_workspace(const AttentionProblem& problem) override;
  void forward(const AttentionForward& tensors, const AttentionProblem& problem,
               void* workspace) override;
  void backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                void* workspace) override;

 private:
  Plan& forward_plan(const AttentionForward& tensors, const AttentionProblem& problem);
  Plan& backward_plan(const AttentionBackward& tensors, const AttentionProblem& problem);
  template <typename Describe>
  Plan& plan(const PlanKey& key, const Describe& describe);
  void compile(Plan& plan) const;
  void run(const char* op, Plan& plan, const AttentionProblem& problem, void** pointers, int count,
           void* workspace) const;

  cudnnHandle_t handle_;
  bool repeatable_;
  std::map<PlanKey, Plan> plans_;
};

// Rows aligned to 16 bytes, and nothing beyond what 32 bits can count, where cuDNN is not tested.
bool suits(const Heads& heads, const AttentionProblem& problem) {
  return reinterpret_cast<uintptr_t>(heads.data) % 16 == 0 && heads.batch % 8 == 0 &&
         heads.row % 8 == 0 && heads.head % 8 == 0 && heads.batch <= kMostElements / problem.B;
}

// What this class is for; the library is asked about the rest.
bool suits(const AttentionProblem& problem) {
  if (problem.mask == Mask::window || problem.dropout_rate > 0 || problem.query_offsets) {
    return false;
  }
  if (problem.B <= 0 || problem.Tq <= 0 || problem.Tk <= 0 || problem.KV <= 0) return false;
  if (problem.D <= 0 || problem.D % 8 != 0 || problem.D > kLargestHead) return false;
  if (problem.H <= 0 || problem.H % problem.KV != 0) return false;
  // The repeatable backward pass keeps all scores.
  if (problem.Tq > kMostElements / problem.Tk / problem.H / problem.B) return false;
  // Queries that see no key.
  return problem.mask == Mask::full || problem.Tq <= problem.Tk;
}

template <size_t count>
PlanKey key_of(int64_t kind, const AttentionProblem& problem,
               const std::array<Heads, count>& heads) {
  static_assert(9 + 3 * count <= std::tuple_size_v<PlanKey>);
  PlanKey key{kind,
              problem.B,
              problem.Tq,
              problem.Tk,
              problem.H,
              problem.KV,
              problem.D,
              static_cast<int64_t>(problem.mask),
              std::bit_cast<int32_t>(problem.scale)};
  size_t next = 9;
  for (const Heads& each : heads) {
    for (int64_t stride : {each.batch, each.row, each.head}) key[next++] = stride;
  }
  return key;
}

graph::Tensor_attributes heads_like(const char* name, Slot slot, const Heads& heads,
                                    std::vector<int64_t> shape) {
  graph::Tensor_attributes tensor;
  tensor.set_name(name).set_uid(slot).set_data_type(cudnn_frontend::DataType_t::BFLOAT16);
  tensor.set_dim(std::move(shape)).set_stride({heads.batch, heads.head, heads.row, 1});
  return tensor;
}
graph::Tensor_attributes query_like(const char* name, Slot slot, const Heads& heads,
                                    const AttentionProblem& problem) {
  return heads_like(name, slot, heads, {problem.B, problem.H, problem.Tq, problem.D});
}
graph::Tensor_attributes key_like(const char* name, Slot slot, const Heads& heads,
                                  const AttentionProblem& problem) {
  return heads_like(name, slot, heads, {problem.B, problem.KV, problem.Tk, problem.D});
}
graph::Tensor_attributes lse_like(const AttentionProblem& problem) {
  graph::Tensor_attributes tensor;
  tensor.set_name("lse").set_uid(kLse).set_data_type(cudnn_frontend::DataType_t::FLOAT);
  tensor.set_dim({problem.B, problem.H, problem.Tq, 1})
      .set_stride({problem.H * problem.Tq, problem.Tq, 1, 1});
  return tensor;
}

void set_output(const Tensor& tensor, graph::Tensor_attributes like) {
  tensor->set_output(true).set_uid(like.get_uid()).set_data_type(like.get_data_type());
  tensor->set_dim(like.get_dim()).set_stride(like.get_stride());
}

template <typename Attributes>
void set_mask(Attributes& attributes, const AttentionProblem& problem) {
  attributes.set_attn_scale(problem.scale);
  if (problem.mask != Mask::causal) return;
  attributes.set_diagonal_band_right_bound(0);
  attributes.set_diagonal_alignment(problem.Tq == problem.Tk
                                        ? cudnn_frontend::DiagonalAlignment_t::TOP_LEFT
                                        : cudnn_frontend::DiagonalAlignment_t::BOTTOM_RIGHT);
}

void describe_forward(graph::Graph& graph, const AttentionForward& tensors,
                      const AttentionProblem& problem) {
  const Tensor q = graph.tensor(query_like("q", kQ, tensors.q, problem));
  const Tensor k = graph.tensor(key_like("k", kK, tensors.k, problem));
  const Tensor v = graph.tensor(key_like("v", kV, tensors.v, problem));
  graph::SDPA_attributes attributes;
  attributes.set_name("attention_forward").set_generate_stats(tensors.lse != nullptr);
  set_mask(attributes, problem);
  const auto [out, lse] = graph.sdpa(q, k, v, attributes);
  set_output(out, query_like("out", kOut, tensors.out, problem));
  if (tensors.lse) set_output(lse, lse_like(problem));
}

void describe_backward(graph::Graph& graph, const AttentionBackward& tensors,
                       const AttentionProblem& problem, bool repeatable) {
  const Tensor q = graph.tensor(query_like("q", kQ, tensors.q, problem));
  const Tensor k = graph.tensor(key_like("k", kK, tensors.k, problem));
  const Tensor v = graph.tensor(key_like("v", kV, tensors.v, problem));
  const Tensor out = graph.tensor(query_like("out", kOut, tensors.out, problem));
  const Tensor dout = graph.tensor(query_like("dout", kDout, tensors.dout, problem));
  const Tensor lse = graph.tensor(lse_like(problem));
  graph::SDPA_backward_attributes attributes;
  attributes.set_name("attention_backward").set_deterministic_algorithm(repeatable);
  set_mask(attributes, problem);
  const auto [dq, dk, dv] = graph.sdpa_backward(q, k, v, out, dout, lse, attributes);
  set_output(dq, query_like("dq", kDq, tensors.dq, problem));
  set_output(dk, key_like("dk", kDk, tensors.dk, problem));
  set_output(dv, key_like("dv", kDv, tensors.dv, problem));
}

void Cudnn::compile(Plan& plan) const {
  const auto failed = [&](error_t error) {
    if (error.is_bad()) plan.problem = error.get_message();
    return error.is_bad();
  };
  const WhileRecording relaxed;
  if (failed(plan.graph.validate()) || failed(plan.graph.build_operation_graph(handle_)) ||
      failed(plan.graph.create_execution_plans({cudnn_frontend::HeurMode_t::A})) ||
      failed(plan.graph.check_support()) ||
      failed(plan.graph.build_plans(cudnn_frontend::BuildPlanPolicy_t::HEURISTICS_CHOICE)) ||
      failed(plan.graph.get_workspace_size(plan.workspace))) {
    return;
  }
  plan.usable = true;
}

template <typename Describe>
Plan& Cudnn::plan(const PlanKey& key, const Describe& describe) {
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  Plan& plan = plans_[key];
  plan.graph.set_io_data_type(cudnn_frontend::DataType_t::BFLOAT16)
      .set_intermediate_data_type(cudnn_frontend::DataType_t::FLOAT)
      .set_compute_data_type(cudnn_frontend::DataType_t::FLOAT);
  try {
    describe(plan.graph);
    compile(plan);
  } catch (const std::exception& error) {
    plan.problem = error.what();
  }
  return plan;
}

Plan& Cudnn::forward_plan(const AttentionForward& tensors, const AttentionProblem& problem) {
  const PlanKey key =
      key_of<4>(tensors.lse ? 1 : 0, problem, {tensors.out, tensors.q, tensors.k, tensors.v});
  return plan(key, [&](graph::Graph& graph) { describe_forward(graph, tensors, problem); });
}

Plan& Cudnn::backward_plan(const AttentionBackward& tensors, const AttentionProblem& problem) {
  const PlanKey key = key_of<8>(2, problem,
                                {tensors.dq, tensors.dk, tensors.dv, tensors.dout, tensors.out,
                                 tensors.q, tensors.k, tensors.v});
  return plan(
      key, [&](graph::Graph& graph) { describe_backward(graph, tensors, problem, repeatable_); });
}

bool Cudnn::supports_forward(const AttentionForward& tensors, const AttentionProblem& problem) {
  if (!suits(problem)) return false;
  for (const Heads& heads : {tensors.out, tensors.q, tensors.k, tensors.v}) {
    if (!suits(heads, problem)) return false;
  }
  const Plan& plan = forward_plan(tensors, problem);
  return plan.usable && plan.workspace <= forward_workspace(problem);
}

bool Cudnn::supports_backward(const AttentionBackward& tensors, const AttentionProblem& problem) {
  if (!suits(problem)) return false;
  for (const Heads& heads : {tensors.dq, tensors.dk, tensors.dv, tensors.dout, tensors.out,
                             tensors.q, tensors.k, tensors.v}) {
    if (!suits(heads, problem)) return false;
  }
  const Plan& plan = backward_plan(tensors, problem);
  return plan.usable && plan.workspace <= backward_workspace(problem);
}

// The problem as a model has it: q, k and v beside each other in one tensor, so that this is the
// plan that will be used. Tensors are given by their strides only.
AttentionProblem usual_problem(const AttentionProblem& problem) {
  AttentionProblem usual{};
  usual.B = problem.B, usual.Tq = problem.Tq, usual.Tk = problem.Tk;
  usual.H = problem.H, usual.KV = problem.KV, usual.D = problem.D;
  usual.mask = problem.Tq <= problem.Tk ? Mask::causal : Mask::full;
  usual.scale = 1 / std::sqrt(static_cast<float>(problem.D));
  return usual;
}
Heads packed_heads(const AttentionProblem& problem, int64_t T) {
  const int64_t row = (problem.H + 2 * problem.KV) * problem.D;
  return {nullptr, T * row, row, problem.D};
}
Heads dense_heads(const AttentionProblem& problem) {
  const int64_t row = problem.H * problem.D;
  return {nullptr, problem.Tq * row, row, problem.D};
}

int64_t Cudnn::forward_workspace(const AttentionProblem& problem) {
  const AttentionProblem usual = usual_problem(problem);
  if (!suits(usual)) return 0;
  float some_lse = 0;
  const AttentionForward tensors{dense_heads(usual), &some_lse, packed_heads(usual, usual.Tq),
                                 packed_heads(usual, usual.Tk), packed_heads(usual, usual.Tk)};
  return forward_plan(tensors, usual).workspace;
}

int64_t Cudnn::backward_workspace(const AttentionProblem& problem) {
  const AttentionProblem usual = usual_problem(problem);
  if (!suits(usual)) return 0;
  const Heads q = packed_heads(usual, usual.Tq), k = packed_heads(usual, usual.Tk);
  const Heads out = dense_heads(usual);
  return backward_plan({q, k, k, out, out, nullptr, q, k, k}, usual).workspace;
}

void Cudnn::run(const char* op, Plan& plan, const AttentionProblem& problem, void** pointers,
                int count, void* workspace) const {
  const auto describe = [&] {
    return fmt::format("{} by cuDNN {} of B {} H {} KV {} Tq {} Tk {} D {}", op, version(),
                       problem.B, problem.H, problem.KV, problem.Tq, problem.Tk, problem.D);
  };
  LLM_ASSERT(plan.usable, "{}: {}", describe(), plan.problem);
  error_t error = plan.graph.execute(handle_, pointers, count, workspace);
  if (error.is_bad()) throw Error(ErrorKind::device, describe(), error.get_message());
}

void Cudnn::forward(const AttentionForward& tensors, const AttentionProblem& problem,
                    void* workspace) {
  void* pointers[] = {tensors.q.data, tensors.k.data, tensors.v.data, tensors.out.data,
                      tensors.lse};
  run("attention_forward", forward_plan(tensors, problem), problem, pointers, tensors.lse ? 5 : 4,
      workspace);
}

void Cudnn::backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                     void* workspace) {
  void* pointers[] = {tensors.q.data,
                      tensors.k.data,
                      tensors.v.data,
                      tensors.out.data,
                      const_cast<float*>(tensors.lse),
                      tensors.dout.data,
                      tensors.dq.data,
                      tensors.dk.data,
                      tensors.dv.data};
  run("attention_backward", backward_plan(tensors, problem), problem, pointers, 9, workspace);
}

}  // namespace

std::unique_ptr<CudnnAttention> CudnnAttention::make(cudaStream_t stream, std::string& reason,
                                                     bool repeatable) {
  try {
    const cudnnHandle_t handle = open_library(stream, reason);
    if (!handle) return nullptr;
    return std::make_unique<Cudnn>(handle, repeatable);
  } catch (const std::exception& error) {
    reason = error.what();
    return nullptr;
  }
}

}  // namespace llm::cuda

#endif  // LLM_HAVE_CUDNN
