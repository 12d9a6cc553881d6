// Inside of Matmul: what the library handed out. The only file that includes the library's header,
// for matmul.cpp and matmul_algorithms.cpp.
#pragma once

#include <cublasLt.h>

#include <optional>

#include "cuda/matmul.h"

namespace llm::cuda {

// Throws Error{device}, naming the call and the product, unless `status` is success.
void check(cublasStatus_t status, const char* call, const MatmulShape& shape);

struct Matmul::Handles {
  cublasLtHandle_t library = nullptr;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
  cudaDataType_t input{}, output{};
  cublasComputeType_t compute{};
  cublasLtMatmulAlgo_t algorithm{};
  // What the pointers in the descriptor are now.
  mutable void* bias = nullptr;
  mutable void* auxiliary = nullptr;

  ~Handles() {
    if (d != nullptr) cublasLtMatrixLayoutDestroy(d);
    if (b != nullptr) cublasLtMatrixLayoutDestroy(b);
    if (a != nullptr) cublasLtMatrixLayoutDestroy(a);
    if (product != nullptr) cublasLtMatmulDescDestroy(product);
  }

  template <typename T>
  cublasStatus_t set(cublasLtMatmulDescAttributes_t attribute, const T& value) const {
    return cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value);
  }

  // The algorithm of these numbers if it can be used here with so much workspace.
  std::optional<cublasLtMatmulAlgo_t> build(const MatmulAlgorithm& wanted,
                                            size_t workspace_bytes) const;
  bool has_kernel(int64_t id) const;
};

}  // namespace llm::cuda
