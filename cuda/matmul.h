// One matrix product of cublasLt, and the algorithms it can be computed with. matmul.cpp is the
// only file that knows the library; what is known here is its column-major world:
//   D (m, n) = op(A) op(B) (+ D), then an epilogue;  A (m, k), B (k, n), transposed or not
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cuda/launch.h"

namespace llm::cuda {

// What happens to the sum before it is written, in f32.
enum class Epilogue : uint8_t {
  none,
  bias,       // D = sum + bias (m) of the type of D
  gelu,       // D = gelu(sum)
  gelu_bias,  // D = gelu(sum + bias)
  gelu_aux,   // the same, and `auxiliary` (m, n) = what gelu was taken of
  gelu_aux_bias,
  dgelu,                // D = sum * gelu'(auxiliary)
  dgelu_bias_gradient,  // and bias (m) f32 = row sums of D
  bias_gradient,        // bias (n) f32 = column sums of op(B)
};
const char* epilogue_name(Epilogue epilogue);
std::optional<Epilogue> epilogue_named(const std::string& name);

struct MatmulShape {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  Element input, output;  // A and B; D
  bool tf32;              // f32 inputs are rounded to tf32
  bool accumulate;        // D += instead of D =
  Epilogue epilogue;
  int alignment;  // every pointer is a multiple of this many bytes, at most 16
};

struct MatmulPointers {
  void* d;
  const void* a;
  const void* b;
  void* bias = nullptr;
  void* auxiliary = nullptr;
};

// How the library computes a product: its names for kernel, tile and so on. Plain numbers, so that
// it can be stored, read back and checked.
struct MatmulAlgorithm {
  static constexpr int kNumbers = 9;
  static constexpr std::array<const char*, kNumbers> kNames = {
      "id", "tile", "splits", "reduction", "swizzle", "custom", "stages", "inner", "cluster"};
  std::array<int64_t, kNumbers> numbers{};
  bool operator==(const MatmulAlgorithm&) const = default;
  std::string text() const;  // "id 66 tile 23 ..." without what is 0
};

// The library on the current device. Not copied; outlives its products.
class MatmulLibrary {
 public:
  // workspace: aligned to 256 bytes, not owned. All products of the stream share it.
  MatmulLibrary(cudaStream_t stream, void* workspace, size_t workspace_bytes);
  ~MatmulLibrary();
  MatmulLibrary(const MatmulLibrary&) = delete;
  MatmulLibrary& operator=(const MatmulLibrary&) = delete;

  static std::string version();
  cudaStream_t stream() const { return stream_; }
  void* workspace() const { return workspace_; }

 private:
  friend class Matmul;
  void* handle_ = nullptr;
  cudaStream_t stream_;
  void* workspace_;
  size_t workspace_bytes_;
};

class Matmul {
 public:
  Matmul(const MatmulLibrary& library, const MatmulShape& shape);
  ~Matmul();
  Matmul(const Matmul&) = delete;
  Matmul& operator=(const Matmul&) = delete;

  const MatmulShape& shape() const { return shape_; }
  // The library's guesses, best first, at most so many; none where it has no kernel for the shape.
  // Only algorithms whose sums are made in a fixed order and in f32.
  std::vector<MatmulAlgorithm> proposed(int most) const;
  // The algorithms that can be used here and differ from `start` in one thing.
  enum class Vary { tile, cluster, option, splits };
  std::vector<MatmulAlgorithm> variants(const MatmulAlgorithm& start, Vary what) const;

  // Prepares launches. False: the library does not know the algorithm or cannot use it here.
  bool choose(const MatmulAlgorithm& algorithm);
  void launch(const MatmulPointers& pointers) const;

 private:
  struct Handles;
  const MatmulLibrary& library_;
  MatmulShape shape_;
  std::unique_ptr<Handles> handles_;
};

}  // namespace llm::cuda
