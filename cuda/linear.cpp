#include "cuda/linear.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "cuda/bias.h"
#include "cuda/gelu.h"
#include "cuda/linear_call.h"
#include "cuda/matmul_plain.h"

namespace llm::cuda {
namespace {

// Scratch: first a bias gradient of the epilogue, which does not add to what is there, then what
// the kernels take that do.
constexpr int64_t kScratchAlignment = 256;
int64_t gradient_bytes(int64_t columns) {
  return (columns * 4 + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
}

bool has_gelu(Epilogue epilogue) {
  return epilogue == Epilogue::gelu || epilogue == Epilogue::gelu_bias ||
         epilogue == Epilogue::gelu_aux || epilogue == Epilogue::gelu_aux_bias;
}
bool has_bias(Epilogue epilogue) {
  return epilogue == Epilogue::bias || epilogue == Epilogue::gelu_bias ||
         epilogue == Epilogue::gelu_aux_bias;
}

}  // namespace

// --- The operations

void LinearProducts::forward(void* y, void* pre, const void* x, const void* weight,
                             const void* bias, bool gelu, Precision precision, int64_t rows,
                             int64_t in, int64_t out) {
  LLM_ASSERT(gelu || pre == nullptr);
  run({.operation = Operation::forward,
       .precision = precision,
       .rows = rows,
       .in = in,
       .out = out,
       .d = y,
       .a = weight,
       .b = x,
       .bias = bias,
       .pre = pre,
       .gelu = gelu});
}

void LinearProducts::backward_input(void* dx, float* dpre_bias, const void* dy, const void* weight,
                                    const void* pre, Precision precision, int64_t rows, int64_t in,
                                    int64_t out, bool accumulate, void* scratch) {
  LLM_ASSERT(pre != nullptr ? !accumulate : dpre_bias == nullptr);
  run({.operation = Operation::backward_input,
       .precision = precision,
       .rows = rows,
       .in = in,
       .out = out,
       .d = dx,
       .a = weight,
       .b = dy,
       .bias_gradient = dpre_bias,
       .pre = const_cast<void*>(pre),
       .gelu = pre != nullptr,
       .accumulate = accumulate,
       .scratch = scratch});
}

void LinearProducts::backward_weight(float* dweight, float* dbias, const void* dy, const void* x,
                                     Precision precision, int64_t rows, int64_t in, int64_t out,
                                     void* scratch) {
  run({.operation = Operation::backward_weight,
       .precision = precision,
       .rows = rows,
       .in = in,
       .out = out,
       .d = dweight,
       .a = x,
       .b = dy,
       .bias_gradient = dbias,
       .accumulate = true,
       .scratch = scratch});
}

int64_t LinearProducts::scratch_bytes(int64_t rows, int64_t in, int64_t out) {
  const int64_t widest = std::max(in, out);
  return gradient_bytes(widest) +
         std::max({bias_backward_scratch(rows, out), bias_backward_scratch(rows, in),
                   bias_backward_scratch(1, widest), gelu_backward_bias_scratch(rows, in)});
}

LinearProducts::LinearProducts(TuningPlan& plan, cudaStream_t stream, void* workspace,
                               size_t workspace_bytes)
    : plan_(plan), library_(stream, workspace, workspace_bytes), stream_(stream) {
  plan.add_identity("cublasLt", MatmulLibrary::version());
}

LinearProducts::~LinearProducts() = default;

// --- A call: its key, its product, and what the product leaves to other kernels

LinearProducts::Key LinearProducts::key_of(const Call& call) {
  const uintptr_t bits = reinterpret_cast<uintptr_t>(call.d) | reinterpret_cast<uintptr_t>(call.a) |
                         reinterpret_cast<uintptr_t>(call.b) |
                         reinterpret_cast<uintptr_t>(call.bias) |
                         reinterpret_cast<uintptr_t>(call.pre) | 16;
  return {.operation = call.operation,
          .precision = call.precision,
          .alignment = static_cast<uint8_t>(bits & -bits),
          .bias = call.bias != nullptr || call.bias_gradient != nullptr,
          .gelu = call.gelu,
          .pre = call.pre != nullptr,
          .accumulate = call.accumulate,
          .rows = call.rows,
          .in = call.in,
          .out = call.out};
}

size_t LinearProducts::KeyHash::operator()(const Key& key) const {
  uint64_t hash = static_cast<uint64_t>(key.operation) | static_cast<uint64_t>(key.precision) << 8 |
                  uint64_t{key.alignment} << 16 | uint64_t{key.bias} << 24 |
                  uint64_t{key.gelu} << 25 | uint64_t{key.pre} << 26 |
                  uint64_t{key.accumulate} << 27;
  for (const int64_t size : {key.rows, key.in, key.out}) {
    hash = (hash ^ static_cast<uint64_t>(size)) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
  }
  return hash;
}

void LinearProducts::run(const Call& call) {
  if (call.rows == 0) return;
  const Key key = key_of(call);
  auto found = products_.find(key);
  if (found == products_.end() || (tuning_ && !found->second.measured)) {
    found = products_.insert_or_assign(key, choose(key, call)).first;
  }
  launch(found->second, call);
}

void LinearProducts::launch(const Product& product, const Call& call) {
  launch_matmul(product, call);
  switch (call.operation) {
    case Operation::forward:
      return finish_forward(product, call);
    case Operation::backward_input:
      return finish_backward_input(product, call);
    case Operation::backward_weight:
      return finish_backward_weight(product, call);
  }
}

void LinearProducts::launch_matmul(const Product& product, const Call& call) {
  // What GELU is taken of goes to pre, or for want of that to y, where GELU changes it in place.
  const bool to_pre =
      call.operation == Operation::forward && call.pre != nullptr && !has_gelu(product.epilogue);
  void* d = to_pre ? call.pre : call.d;
  if (product.matmul == nullptr) {
    const MatmulShape shape = shape_of(key_of(call), Epilogue::none);
    matmul_plain(d, call.b, call.a, shape.input, shape.output, shape.n, shape.m, shape.k,
                 shape.transpose_b, shape.transpose_a, shape.accumulate, stream_);
    return;
  }
  MatmulPointers pointers = {.d = d, .a = call.a, .b = call.b};
  pointers.auxiliary = call.pre;
  pointers.bias = call.bias_gradient != nullptr ? call.scratch : const_cast<void*>(call.bias);
  product.matmul->launch(pointers);
}

void LinearProducts::finish_forward(const Product& product, const Call& call) {
  const bool gelu_follows = call.gelu && !has_gelu(product.epilogue);
  void* sum = gelu_follows && call.pre != nullptr ? call.pre : call.d;
  if (call.bias != nullptr && !has_bias(product.epilogue)) {
    add_bias(sum, call.bias, call.element(), call.rows, call.out, stream_);
  }
  if (gelu_follows) gelu_forward(call.d, sum, call.element(), call.rows * call.out, stream_);
}

void LinearProducts::finish_backward_input(const Product& product, const Call& call) {
  if (!call.gelu) return;
  const int64_t rows = call.rows, columns = call.in;
  char* rest = static_cast<char*>(call.scratch) + gradient_bytes(columns);
  if (product.epilogue == Epilogue::none && call.bias_gradient != nullptr) {
    gelu_backward_bias(call.d, call.bias_gradient, call.d, call.pre, call.element(), rows, columns,
                       rest, stream_);
  } else if (product.epilogue == Epilogue::none) {
    gelu_backward(call.d, call.d, call.pre, call.element(), rows * columns, stream_);
  } else if (product.epilogue == Epilogue::dgelu_bias_gradient) {
    bias_backward(call.bias_gradient, call.scratch, Element::f32, 1, columns, rest, stream_);
  } else if (call.bias_gradient != nullptr) {
    bias_backward(call.bias_gradient, call.d, call.element(), rows, columns, rest, stream_);
  }
}

void LinearProducts::finish_backward_weight(const Product& product, const Call& call) {
  if (call.bias_gradient == nullptr) return;
  char* rest = static_cast<char*>(call.scratch) + gradient_bytes(call.out);
  if (product.epilogue == Epilogue::bias_gradient) {
    bias_backward(call.bias_gradient, call.scratch, Element::f32, 1, call.out, rest, stream_);
  } else {
    bias_backward(call.bias_gradient, call.b, call.element(), call.rows, call.out, rest, stream_);
  }
}

}  // namespace llm::cuda
