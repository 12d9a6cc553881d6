#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "cuda/matmul_handles.h"

namespace llm::cuda {
namespace {

struct EpilogueEntry {
  const char* name;
  cublasLtEpilogue_t value;
};
// In the order of Epilogue.
constexpr EpilogueEntry kEpilogues[] = {
    {"none", CUBLASLT_EPILOGUE_DEFAULT},
    {"bias", CUBLASLT_EPILOGUE_BIAS},
    {"gelu", CUBLASLT_EPILOGUE_GELU},
    {"gelu_bias", CUBLASLT_EPILOGUE_GELU_BIAS},
    {"gelu_aux", CUBLASLT_EPILOGUE_GELU_AUX},
    {"gelu_aux_bias", CUBLASLT_EPILOGUE_GELU_AUX_BIAS},
    {"dgelu", CUBLASLT_EPILOGUE_DGELU},
    {"dgelu_bias_gradient", CUBLASLT_EPILOGUE_DGELU_BGRAD},
    {"bias_gradient", CUBLASLT_EPILOGUE_BGRADB},
};

cudaDataType_t data_type(Element element) {
  switch (element) {
    case Element::f32:
      return CUDA_R_32F;
    case Element::bf16:
      return CUDA_R_16BF;
    case Element::f16:
      return CUDA_R_16F;
  }
  return CUDA_R_32F;
}

std::string shape_text(const MatmulShape& shape) {
  return fmt::format("matrix product {} x {} x {}, {} to {}{}, epilogue {}", shape.m, shape.n,
                     shape.k, shape.input == Element::f32 ? (shape.tf32 ? "tf32" : "f32") : "bf16",
                     shape.output == Element::f32 ? "f32" : "bf16",
                     shape.accumulate ? " accumulated" : "", epilogue_name(shape.epilogue));
}

bool uses_auxiliary(Epilogue epilogue) {
  return epilogue == Epilogue::gelu_aux || epilogue == Epilogue::gelu_aux_bias ||
         epilogue == Epilogue::dgelu || epilogue == Epilogue::dgelu_bias_gradient;
}
bool makes_bias_gradient(Epilogue epilogue) {
  return epilogue == Epilogue::bias_gradient || epilogue == Epilogue::dgelu_bias_gradient;
}
bool uses_bias(Epilogue epilogue) {
  return epilogue == Epilogue::bias || epilogue == Epilogue::gelu_bias ||
         epilogue == Epilogue::gelu_aux_bias || makes_bias_gradient(epilogue);
}

}  // namespace

void check(cublasStatus_t status, const char* call, const MatmulShape& shape) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorKind::device, shape_text(shape),
              fmt::format("{} failed: {}", call, cublasLtGetStatusName(status)));
}

const char* epilogue_name(Epilogue epilogue) { return kEpilogues[static_cast<int>(epilogue)].name; }

std::optional<Epilogue> epilogue_named(const std::string& name) {
  for (size_t i = 0; i < std::size(kEpilogues); ++i) {
    if (name == kEpilogues[i].name) return static_cast<Epilogue>(i);
  }
  return std::nullopt;
}

MatmulLibrary::MatmulLibrary(cudaStream_t stream, void* workspace, size_t workspace_bytes)
    : stream_(stream), workspace_(workspace), workspace_bytes_(workspace_bytes) {
  cublasLtHandle_t handle = nullptr;
  const cublasStatus_t status = cublasLtCreate(&handle);
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw Error(ErrorKind::device, "cublasLt",
                fmt::format("does not start: {}", cublasLtGetStatusName(status)));
  }
  handle_ = handle;
}

MatmulLibrary::~MatmulLibrary() { cublasLtDestroy(static_cast<cublasLtHandle_t>(handle_)); }

std::string MatmulLibrary::version() { return std::to_string(cublasLtGetVersion()); }

// --- One product: its descriptors

Matmul::Matmul(const MatmulLibrary& library, const MatmulShape& shape)
    : library_(library), shape_(shape), handles_(std::make_unique<Handles>()) {
  Handles& handles = *handles_;
  handles.library = static_cast<cublasLtHandle_t>(library.handle_);
  handles.input = data_type(shape.input);
  handles.output = data_type(shape.output);
  handles.compute = shape.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  check(cublasLtMatmulDescCreate(&handles.product, handles.compute, CUDA_R_32F),
        "cublasLtMatmulDescCreate", shape);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check(handles.set(attribute, value), "cublasLtMatmulDescSetAttribute", shape);
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, kEpilogues[static_cast<int>(shape.epilogue)].value);
  // The library's guesses depend on the alignment of these; launch() sets the true ones.
  handles.bias = handles.auxiliary = static_cast<char*>(nullptr) + shape.alignment;
  if (uses_bias(shape.epilogue)) {
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, handles.bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
        makes_bias_gradient(shape.epilogue) ? CUDA_R_32F : handles.output);
  }
  if (uses_auxiliary(shape.epilogue)) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, handles.auxiliary);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, shape.m);
  }
  const auto layout = [&](cublasLtMatrixLayout_t* to, cudaDataType_t type, int64_t rows,
                          int64_t columns) {
    check(cublasLtMatrixLayoutCreate(to, type, rows, columns, rows), "cublasLtMatrixLayoutCreate",
          shape);
  };
  layout(&handles.a, handles.input, shape.transpose_a ? shape.k : shape.m,
         shape.transpose_a ? shape.m : shape.k);
  layout(&handles.b, handles.input, shape.transpose_b ? shape.n : shape.k,
         shape.transpose_b ? shape.k : shape.n);
  layout(&handles.d, handles.output, shape.m, shape.n);
}

Matmul::~Matmul() = default;

void Matmul::launch(const MatmulPointers& pointers) const {
  const Handles& handles = *handles_;
  // Only what the epilogue uses: the library refuses a pointer that it has no use for.
  if (uses_bias(shape_.epilogue) && pointers.bias != handles.bias) {
    check(handles.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, pointers.bias),
          "cublasLtMatmulDescSetAttribute", shape_);
    handles.bias = pointers.bias;
  }
  if (uses_auxiliary(shape_.epilogue) && pointers.auxiliary != handles.auxiliary) {
    check(handles.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, pointers.auxiliary),
          "cublasLtMatmulDescSetAttribute", shape_);
    handles.auxiliary = pointers.auxiliary;
  }
  const float one = 1, beta = shape_.accumulate ? 1 : 0;
  check(cublasLtMatmul(handles.library, handles.product, &one, pointers.a, handles.a, pointers.b,
                       handles.b, &beta, pointers.d, handles.d, pointers.d, handles.d,
                       &handles.algorithm, library_.workspace_, library_.workspace_bytes_,
                       library_.stream_),
        "cublasLtMatmul", shape_);
}

}  // namespace llm::cuda
