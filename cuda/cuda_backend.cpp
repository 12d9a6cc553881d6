// Matrix products and attention on a GPU, and the choices among their algorithms; the other ops are
// in memory_bound_ops.cpp.
#include "cuda/cuda_backend.h"

#include <bit>

#include "backend/checks.h"
#include "base/log.h"
#include "cuda/attention_decode.h"
#include "cuda/attention_ops.h"
#include "cuda/decode_ops.h"
#include "cuda/linear.h"
#include "cuda/memory_bound_ops.h"
#include "cuda/nccl_comm.h"

namespace llm::cuda {
namespace {

constexpr int64_t kMatmulWorkspace = int64_t{32} << 20;  // what cublasLt wants on Hopper

float* f32_or_null(const Tensor& tensor) { return tensor ? tensor.f32() : nullptr; }

class CudaBackend final : public MemoryBoundOps {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : MemoryBoundOps(options),
        tf32_(options.tf32),
        plan_({{"gpu", gpu_name()}}),
        workspace_(allocate(kMatmulWorkspace, "matrix products")),
        products_(plan_, compute(), workspace_->data(), static_cast<size_t>(kMatmulWorkspace)),
        attention_(plan_, compute(), attention_policy(options.attention), is_hopper()),
        decode_(*this, is_hopper(), compute()) {
    if (options.plan_folder.empty()) return;
    plan_path_ = fs::path(options.plan_folder) /
                 fmt::format("plan-{}{}.json", options.attention, options.tf32 ? "-tf32" : "");
    if (!options.retune) load_cached_plan();
  }
  ~CudaBackend() override { save_plan(); }

  int64_t own_memory() const override {
    return workspace_->bytes() + reduce_scratch_bytes() + decode_.own_memory();
  }

  // --- Scratch memory and choices

  int64_t scratch_bytes(const std::string& op, Tensor first, Tensor second) const override {
    if (op == "linear_forward" || op == "linear_backward") {
      return LinearProducts::scratch_bytes(first.rows(), second.dim(1), second.dim(0));
    }
    if (op == "attention_forward") return attention_.forward_scratch(first, second);
    if (op == "attention_backward") return attention_.backward_scratch(first, second, false);
    if (op == "attention_backward dropout") return attention_.backward_scratch(first, second, true);
    return memory_bound_scratch(op, first);
  }
  void set_tuning(bool on) override {
    products_.set_tuning(on);
    attention_.set_tuning(on);
    if (!on) save_plan();
  }
  std::string plan() const override { return plan_.to_json(); }
  void load_plan(const std::string& text, const std::string& where) override {
    plan_.from_json(text, where);
    plan_.lock();
  }

  // --- Linear

  void linear_forward(Tensor y, Tensor x, const Weight& weight, Tensor bias) override {
    const Shape shape = check_linear("linear_forward", y, x, weight);
    check_optional_size("linear_forward", "bias", bias, shape.out);
    check_alike("linear_forward", {x, y, bias});
    run("linear_forward", y, [&] {
      products_.forward(y.data, nullptr, x.data, weight.data.data, bias.data, /*gelu=*/false,
                        precision(x), shape.rows, shape.in, shape.out);
    });
  }
  void linear_gelu_forward(Tensor y, Tensor pre, Tensor x, const Weight& weight,
                           Tensor bias) override {
    const char* op = "linear_gelu_forward";
    const Shape shape = check_linear(op, y, x, weight);
    check_optional_size(op, "bias", bias, shape.out);
    check_optional_size(op, "pre", pre, shape.rows * shape.out);
    check_alike(op, {x, y, bias, pre});
    run(op, y, [&] {
      products_.forward(y.data, pre.data, x.data, weight.data.data, bias.data, /*gelu=*/true,
                        precision(x), shape.rows, shape.in, shape.out);
    });
  }
  void linear_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x,
                       const Weight& weight, bool accumulate) override {
    const char* op = "linear_backward";
    const Shape shape = check_linear_backward(op, dweight, dy, x, weight);
    check_optional_size(op, "dx", dx, shape.rows * shape.in);
    check_alike(op, {dy, dx});
    if (dx) {
      run("linear_backward dx", dy, [&] {
        products_.backward_input(dx.data, nullptr, dy.data, weight.data.data, nullptr,
                                 precision(dy), shape.rows, shape.in, shape.out, accumulate,
                                 linear_scratch(shape));
      });
    }
    backward_weight(op, shape, dweight, dbias, dy, x);
  }
  void linear_backward_gelu(Tensor dpre, Tensor dweight, Tensor dbias, Tensor dpre_bias, Tensor dy,
                            Tensor x, Tensor pre, const Weight& weight) override {
    const char* op = "linear_backward_gelu";
    const Shape shape = check_linear_backward(op, dweight, dy, x, weight);
    check_matrix(op, "dpre", dpre, shape.rows, shape.in);
    check_matrix(op, "pre", pre, shape.rows, shape.in);
    check_optional(op, "dpre_bias", dpre_bias, DType::f32, shape.in);
    check_alike(op, {dy, dpre, pre});
    // First the weight: dpre may take the place of x.
    backward_weight(op, shape, dweight, dbias, dy, x);
    run("linear_backward_gelu dpre", dy, [&] {
      products_.backward_input(dpre.data, f32_or_null(dpre_bias), dy.data, weight.data.data,
                               pre.data, precision(dy), shape.rows, shape.in, shape.out,
                               /*accumulate=*/false, linear_scratch(shape));
    });
  }
  // --- Attention

  void attention_forward(Tensor out, Tensor lse, Tensor q, Tensor k, Tensor v,
                         const AttentionOptions& options) override {
    void* memory = scratch(attention_.forward_scratch(q, k));
    run("attention_forward", q, [&] { attention_.forward(out, lse, q, k, v, options, memory); });
  }
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor out, Tensor lse,
                          Tensor q, Tensor k, Tensor v, const AttentionOptions& options) override {
    void* memory = scratch(attention_.backward_scratch(q, k, options.dropout.rate > 0));
    run("attention_backward", q,
        [&] { attention_.backward(dq, dk, dv, dout, out, lse, q, k, v, options, memory); });
  }
  void attention_decode(Tensor out, Tensor q, Tensor key_cache, Tensor value_cache,
                        Tensor block_table, Tensor lengths, float scale) override {
    const char* op = "attention_decode";
    LLM_ASSERT(q.rank == 4, "{}: q is {}", op, q.describe());
    const int64_t B = q.dim(0), T = q.dim(1), H = q.dim(2), D = q.dim(3);
    check_alike(op, {out, q});
    check_cache_shapes(op, key_cache, value_cache, block_table, lengths, B);
    check_heads(op, "q", q, B, T, H, key_cache.dim(3));
    check_heads(op, "out", out, B, T, H, D);
    LLM_ASSERT(H % key_cache.dim(2) == 0, "{}: {} heads, cache {}", op, H, key_cache.describe());
    run(op, q, [&] {
      cuda::attention_decode(heads_of(out), heads_of(q), element_of(q.dtype),
                             paged(key_cache, block_table), paged(value_cache, block_table),
                             lengths.i32(), B, T, H, scale, compute());
    });
  }
  void cache_append(Tensor key_cache, Tensor value_cache, Tensor k, Tensor v, Tensor block_table,
                    Tensor lengths) override {
    const char* op = "cache_append";
    const int64_t B = k.dim(0), T = k.dim(1), KV = key_cache.dim(2), D = key_cache.dim(3);
    check_alike(op, {k, v});
    check_heads(op, "k", k, B, T, KV, D);
    check_heads(op, "v", v, B, T, KV, D);
    check_cache_shapes(op, key_cache, value_cache, block_table, lengths, B);
    run(op, k, [&] {
      cuda::cache_append(paged(key_cache, block_table), paged(value_cache, block_table),
                         heads_of(k), heads_of(v), element_of(k.dtype), lengths.i32(), B, T,
                         compute());
    });
  }
  // --- Decoding

  int64_t decode_sequences(const DecodeModel& model) const override {
    return decode_.sequences(model);
  }
  void transformer_decode(Tensor logits, Tensor tokens, Tensor positions, Tensor block_table,
                          Tensor lengths, const DecodeModel& model) override {
    if (decode_.sequences(model) == 0) {
      return Backend::transformer_decode(logits, tokens, positions, block_table, lengths, model);
    }
    const bool after_sampling = last_op() == "sample_tokens";
    run("transformer_decode", logits, [&] {
      decode_.run(logits, tokens, positions, block_table, lengths, model, after_sampling);
    });
  }
  void sample_tokens(const SampledSequences& sequences, Tensor logits, int64_t vocab,
                     const SamplingOptions& options) override {
    run("sample_tokens", logits, [&] { decode_.sample(sequences, logits, vocab, options); });
  }

 private:
  struct Shape {
    int64_t rows, in, out;
  };

  static PagedCache paged(const Tensor& cache, const Tensor& table) {
    const auto size = static_cast<uint32_t>(cache.dim(1));
    return {cache.data,
            element_of(cache.dtype),
            static_cast<int>(size),
            static_cast<int>(cache.dim(2)),
            static_cast<int>(cache.dim(3)),
            std::has_single_bit(size) ? std::countr_zero(size) : -1,
            table.i32(),
            static_cast<int>(table.dim(1))};
  }
  static Shape check_linear(const char* op, const Tensor& y, const Tensor& x,
                            const Weight& weight) {
    LLM_ASSERT(!weight.scale, "{}: scaled weights have no CUDA twin yet", op);
    const Shape shape{x.rows(), x.columns(), y.columns()};
    check_matrix(op, "x", x, shape.rows, shape.in);
    check_matrix(op, "y", y, shape.rows, shape.out);
    check_matrix(op, "weight", weight.data, shape.out, shape.in);
    check_alike(op, {x, y, weight.data});
    return shape;
  }
  // x is needed for the gradient of the weight only.
  static Shape check_linear_backward(const char* op, const Tensor& dweight, const Tensor& dy,
                                     const Tensor& x, const Weight& weight) {
    if (dweight) return check_linear(op, dy, x, weight);
    LLM_ASSERT(!weight.scale, "{}: scaled weights have no CUDA twin yet", op);
    const Shape shape{dy.rows(), weight.data.columns(), dy.columns()};
    check_matrix(op, "dy", dy, shape.rows, shape.out);
    check_matrix(op, "weight", weight.data, shape.out, shape.in);
    check_alike(op, {dy, weight.data});
    return shape;
  }

  void backward_weight(const char* op, const Shape& shape, const Tensor& dweight,
                       const Tensor& dbias, const Tensor& dy, const Tensor& x) {
    check_optional(op, "dweight", dweight, DType::f32, shape.out * shape.in);
    check_optional(op, "dbias", dbias, DType::f32, shape.out);
    if (dweight) {
      run("linear_backward dweight", dy, [&] {
        products_.backward_weight(dweight.f32(), f32_or_null(dbias), dy.data, x.data, precision(x),
                                  shape.rows, shape.in, shape.out, linear_scratch(shape));
      });
    } else if (dbias) {
      bias_backward(dbias, dy);
    }
  }
  Precision precision(const Tensor& x) const {
    return x.dtype == DType::bf16 ? Precision::bf16 : tf32_ ? Precision::tf32 : Precision::f32;
  }
  void* linear_scratch(const Shape& shape) {
    return scratch(LinearProducts::scratch_bytes(shape.rows, shape.in, shape.out));
  }
  std::string gpu_name() const { return name().substr(name().find(' ') + 1); }
  bool is_hopper() const {
    int major = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device_),
          "asking for the compute capability");
    return major == 9;
  }
  // Saved choices are a convenience: what is wrong with them costs the time to choose again.
  void load_cached_plan() {
    try {
      plan_.load(plan_path_);
    } catch (const Error& error) {
      log_warning(fmt::format("{}; choosing anew", error.what()));
    }
  }
  void save_plan() {
    if (plan_path_.empty() || !plan_.changed() || plan_.locked()) return;
    try {
      plan_.save(plan_path_);
    } catch (const std::exception& error) {
      log_warning(fmt::format("the choice of algorithms is not kept: {}", error.what()));
    }
  }

  const bool tf32_;
  TuningPlan plan_;
  fs::path plan_path_;
  std::unique_ptr<DeviceMemory> workspace_;
  LinearProducts products_;
  AttentionOps attention_;
  DecodeOps decode_;
};

}  // namespace
}  // namespace llm::cuda

namespace llm {

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

bool nccl_available(std::string& reason) { return cuda::nccl_available(reason); }

std::unique_ptr<Comm> make_nccl_comm(Backend& backend, double timeout_seconds) {
  auto& device = dynamic_cast<cuda::CudaDevice&>(backend);
  return cuda::make_nccl_comm(
      backend, {device.stream_of(Queue::compute), device.stream_of(Queue::communication)},
      timeout_seconds);
}

}  // namespace llm
