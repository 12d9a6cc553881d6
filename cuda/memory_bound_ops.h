// The ops whose time is that of moving their bytes: all but matrix products and attention. Each
// checks shapes and types and calls its launcher; see backend.h for what they do.
#pragma once

#include <memory>
#include <string>

#include "cuda/cuda_device.h"
#include "cuda/launch.h"

namespace llm::cuda {

// Asserts that it is one of f32, bf16, f16.
Element element_of(DType dtype);

class MemoryBoundOps : public CudaDevice {
 public:
  explicit MemoryBoundOps(const CudaOptions& options);

  void fill(Tensor y, double value) override;
  void convert(Tensor y, Tensor x) override;
  void add(Tensor y, Tensor a, Tensor b) override;
  void scale(Tensor y, Tensor factor) override;
  void scale_rows(Tensor y, Tensor factors) override;
  void zero_other_columns(Tensor x, int64_t begin, int64_t width) override;
  void pool_forward(Tensor y, Tensor x, Tensor begin, Tensor end) override;
  void pool_backward(Tensor dx, Tensor dy, Tensor begin, Tensor end) override;
  void embedding_forward(Tensor y, Tensor tokens, Tensor positions, Tensor token_table,
                         Tensor position_table) override;
  void embedding_backward(Tensor dtoken_table, Tensor dposition_table, Tensor dy, Tensor tokens,
                          Tensor positions) override;
  void layernorm_forward(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight, Tensor bias,
                         float epsilon) override;
  void residual_layernorm_forward(Tensor sum, Tensor y, Tensor mean, Tensor rstd, Tensor a,
                                  Tensor b, Tensor weight, Tensor bias, float epsilon) override;
  void layernorm_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dx_sum, Tensor dy,
                          Tensor x, Tensor mean, Tensor rstd, Tensor weight,
                          bool accumulate) override;
  void gelu_forward(Tensor y, Tensor x) override;
  void gelu_backward(Tensor dx, Tensor dy, Tensor x) override;
  void dropout(Tensor y, Tensor x, const Dropout& dropout) override;
  void bias_backward(Tensor dbias, Tensor dy) override;
  void cross_entropy_forward(Tensor losses, Tensor logits, Tensor targets, int64_t vocab) override;
  void cross_entropy_backward(Tensor dlogits, Tensor logits, Tensor targets, int64_t vocab,
                              Tensor gradient_scale) override;
  void cross_entropy_forward_backward(Tensor losses, Tensor logits, Tensor targets, int64_t vocab,
                                      Tensor gradient_scale) override;
  void accumulate_sum(Tensor out, Tensor x, Tensor factor) override;
  void squared_norm(Tensor out, Tensor x) override;
  void prepare_update(const UpdateState& state, Tensor squared, Tensor loss, Tensor loss_limit,
                      float max_norm) override;
  void adamw_update(Tensor params, Tensor low, Tensor m, Tensor v, Tensor grads, Tensor chunk_decay,
                    const UpdateState& state, const AdamWOptions& options) override;

 protected:
  // Scratch bytes of the ops of this class.
  int64_t reduce_scratch_bytes() const { return reduce_scratch_->bytes(); }
  static int64_t memory_bound_scratch(const std::string& op, const Tensor& first);

 private:
  void normalize(const char* op, Tensor sum, Tensor y, Tensor mean, Tensor rstd, Tensor a, Tensor b,
                 Tensor weight, Tensor bias, float epsilon);
  void cross_entropy(const char* op, const Tensor& losses, const Tensor& dlogits,
                     const Tensor& logits, const Tensor& targets, int64_t vocab,
                     const Tensor& gradient_scale);

  std::unique_ptr<DeviceMemory> reduce_scratch_;
};

}  // namespace llm::cuda
