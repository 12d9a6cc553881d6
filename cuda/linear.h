// Matrix products of the linear layer by cublasLt, with bias and GELU in the product's epilogue or
// in kernels of their own, whichever is faster. Shapes and rounding points: backend.h and
// cpu_ref/linear.h. Where GELU is part of the epilogue it is taken of the sum before that is
// rounded, which in bf16 differs from the definition by less than the rounding does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/tuning_plan.h"
#include "cuda/launch.h"
#include "cuda/matmul.h"

namespace llm::cuda {

// f32, tf32: tensors are f32, tf32 rounds the factors. bf16: tensors are bf16, sums f32. Gradients
// of parameters are f32.
enum class Precision : uint8_t { f32, tf32, bf16 };

// Products take pointers of any alignment that their elements allow, though 16 bytes are much
// faster; with bias, GELU or bias gradients they are aligned as launch.h says, for the kernels that
// may follow. Calls queue work and return; once a product is chosen they can be recorded in a
// graph.
class LinearProducts {
 public:
  // workspace: device memory for the library, aligned to 256 bytes, not owned. More than 32 MiB
  // lets it split long sums. Adds the library's version to the plan's identity.
  LinearProducts(TuningPlan& plan, cudaStream_t stream, void* workspace, size_t workspace_bytes);
  ~LinearProducts();
  LinearProducts(const LinearProducts&) = delete;
  LinearProducts& operator=(const LinearProducts&) = delete;

  // y = x weight^T (+ bias). With gelu: pre = that, y = gelu(pre).
  //   y, pre: (rows, out), pre may be null   x: (rows, in)   weight: (out, in)   bias: (out) or
  //   null
  void forward(void* y, void* pre, const void* x, const void* weight, const void* bias, bool gelu,
               Precision precision, int64_t rows, int64_t in, int64_t out);
  // dx = dy weight, or += with accumulate. With pre: dx = (dy weight) * gelu'(pre), never
  // accumulated, and dpre_bias += column sums of dx.
  //   dx, pre: (rows, in), pre may be null   dpre_bias: (in) f32 or null   dy: (rows, out)
  void backward_input(void* dx, float* dpre_bias, const void* dy, const void* weight,
                      const void* pre, Precision precision, int64_t rows, int64_t in, int64_t out,
                      bool accumulate, void* scratch);
  // dweight += dy^T x; dbias += column sums of dy.   dweight: (out, in) f32   dbias: (out) f32 or
  // null
  void backward_weight(float* dweight, float* dbias, const void* dy, const void* x,
                       Precision precision, int64_t rows, int64_t in, int64_t out, void* scratch);
  // Bytes behind `scratch`, aligned to 256.
  static int64_t scratch_bytes(int64_t rows, int64_t in, int64_t out);

  // A product whose kind and shape has no choice in the plan gets one at its first call. While
  // tuning (and unless the plan is locked) by timing the candidates on the call's tensors: inputs
  // stay as they are, outputs end as if they had been zero before. Otherwise it is the library's
  // first guess, which a later call while tuning may replace. A choice in a locked plan that cannot
  // be used here throws Error{device}.
  void set_tuning(bool on);

 private:
  enum class Operation : uint8_t { forward, backward_input, backward_weight };
  struct Call;
  struct Search;
  struct Key {
    Operation operation;
    Precision precision;
    uint8_t alignment;  // of all pointers together: 16, 8, 4 or 2
    bool bias, gelu, pre, accumulate;
    int64_t rows, in, out;
    bool operator==(const Key&) const = default;
    std::string text() const;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  // A product as it can be launched. No matmul: our plain kernel.
  struct Product {
    Epilogue epilogue = Epilogue::none;
    std::unique_ptr<Matmul> matmul;
    bool measured = false;
  };

  static Key key_of(const Call& call);
  static MatmulShape shape_of(const Key& key, Epilogue epilogue);
  static std::vector<Epilogue> epilogues_of(const Key& key);

  void run(const Call& call);
  void launch(const Product& product, const Call& call);
  void launch_matmul(const Product& product, const Call& call);
  void finish_forward(const Product& product, const Call& call);
  void finish_backward_input(const Product& product, const Call& call);
  void finish_backward_weight(const Product& product, const Call& call);

  // linear_choice.cpp
  Product choose(const Key& key, const Call& call);
  Product from_plan(const Key& key, const Json& choice) const;
  Product first_guess(const Key& key);
  Product fastest(const Key& key, const Call& call);
  bool is_repeatable(const Product& product, const Call& call);
  void clear_sums(const Call& call);

  TuningPlan& plan_;
  MatmulLibrary library_;
  cudaStream_t stream_;
  bool tuning_ = false;
  std::unordered_map<Key, Product, KeyHash> products_;
};

}  // namespace llm::cuda
